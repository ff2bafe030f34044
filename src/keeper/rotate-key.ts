import { dropKey, presentKey, retiredKeys } from "../store/data-keys.ts";
import { reseal, sealedUnder } from "../store/secrets.ts";
import type { Store } from "../store/store.ts";
import type { Caller } from "./callers.ts";
import type { Secrets } from "./secrets.ts";

/** Values a transaction: 1 MiB at most, so that whatever else is written waits little. */
const PAGE = 16;

/**
 * A new data key for a namespace, and every value of it sealed anew under that key. Runs go on meanwhile: each row says which
 * key opens it. A kill at any instant leaves each value under the one key or the other; `finishRotations` goes on from there.
 * Returns how many values were sealed anew.
 */
export async function rotateKey(
  store: Pick<Store, "mutate" | "read">,
  secrets: Secrets,
  { namespace, caller }: { namespace: string; caller: Caller },
): Promise<number> {
  await store.mutate((tx) => secrets.newKey(tx, namespace, caller));
  return finishRotations(store, secrets, namespace);
}

/** Empties and removes the keys that were retired, of one namespace or of all. */
export async function finishRotations(
  store: Pick<Store, "mutate" | "read">,
  secrets: Secrets,
  namespace?: string,
): Promise<number> {
  let moved = 0;
  for (const { id, namespace: of } of await retiredKeys(store.read, namespace))
    for (let last = -1; last !== 0; moved += last) last = await movePage(store, secrets, id, of);
  return moved;
}

function movePage(
  store: Pick<Store, "mutate">,
  secrets: Secrets,
  key: string,
  namespace: string,
): Promise<number> {
  return store.mutate(async (tx) => {
    const rows = await sealedUnder(tx, key, PAGE);
    const to = await presentKey(tx, namespace);
    if (rows.length > 0 && to !== undefined) {
      tx.unlogged("values sealed anew under the key that an entry tells of");
      for (const row of rows) await reseal(tx, await secrets.reseal(tx, row, to));
      return rows.length;
    }
    if (await dropKey(tx, key))
      tx.log({
        type: "secret.key_removed",
        outcome: "success",
        actor: { kind: "system" },
        namespace,
        data: { key },
      });
    return 0;
  });
}
