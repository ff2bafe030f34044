import { createHash, randomInt } from "node:crypto";
import { SallyportError } from "../core/errors.ts";
import type { SlackIdentity } from "../core/identity.ts";
import { addIdentity, removeIdentity } from "../store/identities.ts";
import { countWrongLink, createLink, type LinkRow, openLink, useLink } from "../store/links.ts";
import type { Store } from "../store/store.ts";
import { userByName } from "../store/users.ts";
import type { Access } from "./access.ts";
import { Attempts } from "./attempts.ts";
import { type Caller, slackActor } from "./callers.ts";

const ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
export const LINK_MINUTES = 10;

/** A Slack account asks to be linked: returns the code, which that person alone is shown. 40 random bits, few tries. */
export async function requestLink(store: Store, identity: SlackIdentity, now: number): Promise<string> {
  const digits = Array.from({ length: 8 }, () => ALPHABET[randomInt(ALPHABET.length)]).join("");
  await store.mutate(async (tx) => {
    await createLink(tx, {
      codeHash: hash(digits),
      identity,
      display: "",
      expires: now + LINK_MINUTES * 60_000,
    });
    tx.log({ type: "link.requested", outcome: "success", actor: slackActor(identity) });
  });
  return `${digits.slice(0, 4)}-${digits.slice(4)}`;
}

const attempts = new Attempts();

/**
 * What a code stands for. An admin's wrong code counts against every open one; any other person's only against that person,
 * who could burn everybody's otherwise. Throws `slow_down`.
 */
export async function showLink(
  { store, access }: { store: Store; access: Access },
  caller: Caller,
  code: string,
  now: number,
): Promise<LinkRow> {
  const isAdmin = access.may(caller, "administer", { kind: "appliance" });
  const wait = isAdmin ? 0 : attempts.wait(caller.id, now);
  if (wait > 0) throw new SallyportError("slow_down", `Try again in ${Math.ceil(wait / 1000)} s.`);
  const link = await openLink(store.read, hash(normal(code)), now);
  if (link !== undefined) return link;
  await store.mutate(async (tx) => {
    if (isAdmin) await countWrongLink(tx);
    else attempts.failed(caller.id, now);
    tx.log({
      type: "link.failed",
      outcome: "failure",
      actor: caller.actor,
      reason: "unknown, used or expired code",
    });
  });
  throw new SallyportError(
    "not_found",
    "No open link code is this one. Codes are valid 10 minutes, once; ask for a new one with /ops link",
  );
}

/** An admin links anybody; any other person only their own account, from their own host account. */
export async function confirmLink(
  o: { store: Store; access: Access; now: number },
  caller: Caller,
  code: string,
  userName: string,
): Promise<LinkRow> {
  await o.access.demand(caller, "link", { kind: "user", name: userName });
  const user = await userByName(o.store.read, userName);
  if (user === undefined)
    throw new SallyportError("not_found", `User ${userName}. Add it with: sallyport user add ${userName}`);
  const link = await showLink(o, caller, code, o.now);
  await o.store.mutate(async (tx) => {
    await useLink(tx, link.id);
    await addIdentity(tx, link.identity, user.id);
    tx.log({
      type: "link.confirmed",
      outcome: "success",
      actor: caller.actor,
      data: {
        user: user.id,
        team: link.identity.team,
        slackUser: link.identity.user,
        enterprise: link.identity.enterprise,
      },
    });
  });
  return link;
}

export async function unlink(
  store: Store,
  access: Access,
  caller: Caller,
  identity: SlackIdentity,
): Promise<void> {
  await access.demand(caller, "administer", { kind: "appliance" });
  await store.mutate(async (tx) => {
    if (!(await removeIdentity(tx, identity)))
      throw new SallyportError("not_found", "That Slack account is not linked.");
    tx.log({
      type: "link.removed",
      outcome: "success",
      actor: caller.actor,
      data: { team: identity.team, slackUser: identity.user, enterprise: identity.enterprise },
    });
  });
}

function normal(code: string): string {
  return code
    .toUpperCase()
    .replaceAll(/[^0-9A-Z]/g, "")
    .replaceAll("O", "0")
    .replaceAll(/[IL]/g, "1");
}

function hash(digits: string): Buffer {
  return createHash("sha256").update(`sallyport link code\n${digits}`).digest();
}
