import { type Handlers, WithBytes } from "./command.ts";

/** The authenticators of people: `sallyport user totp`. */
export const totp: Handlers = {
  "user.totp": async ({ session, caller, params }) =>
    new WithBytes({ user: params.name }, await session.enrolments.begin(caller, params.name)),
  "user.totp.prove": async ({ session, caller, params }) => {
    await session.enrolments.prove(caller, params.name, params.code);
    return { user: params.name, enrolled: true };
  },
  "user.totp.remove": async ({ session, caller, params }) => {
    await session.enrolments.remove(caller, params.name);
    return { user: params.name, enrolled: false };
  },
};
