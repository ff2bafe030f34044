import { codeAt, stepAt } from "../../src/core/totp.ts";
import { type Caller, hostCaller } from "../../src/keeper/callers.ts";
import { queryLog } from "../../src/store/log-query.ts";
import type { Store } from "../../src/store/store.ts";
import { setTotp } from "../../src/store/totp.ts";
import { addHostAccount, addUser } from "../../src/store/users.ts";

export const SECRETS = { erin: Buffer.alloc(20, "erin"), frank: Buffer.alloc(20, "frank") } as const;
/** An hour of no meaning, at the start of a step. */
export const START = 1_800_000_000_000;
export const STEP = 30_000;

/** The code that an authenticator with that secret shows, some steps from then. */
export const codeOf = (name: keyof typeof SECRETS, at: number, steps = 0): string =>
  codeAt(SECRETS[name], stepAt(at) + steps);

/** A user with a host account and, where asked for, an authenticator that no code of was taken yet. */
export async function person(store: Store, name: keyof typeof SECRETS, enrolled = true): Promise<Caller> {
  const uid = name === "erin" ? 1001 : 1002;
  await store.mutate(async (tx) => {
    tx.unlogged("test");
    const user = await addUser(tx, { name });
    await addHostAccount(tx, { uid, login: name, userId: user.id });
    if (enrolled) await setTotp(tx, { user, secret: SECRETS[name], step: 0 });
  });
  return hostCaller(store.read, { uid, loginUid: null });
}

export async function entries(store: Store, type: string): Promise<Record<string, unknown>[]> {
  const rows = await queryLog(store.read, { type, order: "asc", limit: 1000 });
  return rows.map((row) => JSON.parse(row.entry.toString("utf8")) as Record<string, unknown>);
}
