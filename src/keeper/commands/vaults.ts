import type { Handlers } from "./command.ts";

const APPLIANCE = { kind: "appliance" } as const;

export const vaults: Handlers = {
  "vault.login": async ({ session, caller, params, parts }) => {
    await session.access.demand(caller, "administer", APPLIANCE);
    const { vault, roleId, wrapped } = params;
    await session.vaults.login(vault, { roleId, secretId: parts[0]!, wrapped }, caller.actor);
    return { vault };
  },
  "vault.logout": async ({ session, caller, params }) => {
    await session.access.demand(caller, "administer", APPLIANCE);
    await session.vaults.logout(params.vault, caller.actor);
    return { vault: params.vault };
  },
  "vault.list": async ({ session, caller }) => {
    await session.access.demand(caller, "administer", APPLIANCE);
    return { vaults: await session.vaults.list() };
  },
  "vault.check": async ({ session, caller, params }) => {
    await session.access.demand(caller, "administer", APPLIANCE);
    const { version, value } = await session.vaults.fetch(params, { actor: caller.actor });
    value.wipe();
    return { ...params, version };
  },
};
