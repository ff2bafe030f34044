import { expiringSecrets, type SecretRow, setWarned } from "../store/secrets.ts";
import type { Store } from "../store/store.ts";
import type { Reader } from "../store/tx.ts";

const DAY_MS = 86_400_000;
const EVERY_MS = 3_600_000;
/** How long before its date a secret counts as expiring. */
export const WARN_DAYS = 14;

export type Expiring = { secret: string; expires: string; days: number };

/** What expires within two weeks or has expired, the first to expire first. `days` is negative afterwards. */
export async function expiring(reader: Reader, now: number): Promise<(Expiring & { namespace: string })[]> {
  const rows = await expiringSecrets(reader, now + WARN_DAYS * DAY_MS);
  return rows.map((row) => ({ namespace: row.namespace, ...told(row, now) }));
}

function told({ namespace, name, expires }: SecretRow, now: number): Expiring {
  const at = expires ?? 0;
  return {
    secret: `${namespace}/${name}`,
    expires: dateText(at),
    days: Math.floor((at - now) / DAY_MS),
  };
}

/** YYYY-MM-DD, in UTC */
export const dateText = (ms: number): string => new Date(ms).toISOString().slice(0, 10);

/** An event a day for each secret that expires. Returns what ends it. */
export function watchExpiry(store: Pick<Store, "mutate">, failed: (error: unknown) => void): () => void {
  const warn = () => void warnExpiring(store).catch(failed);
  warn();
  const timer = setInterval(warn, EVERY_MS);
  timer.unref();
  return () => clearInterval(timer);
}

export function warnExpiring(store: Pick<Store, "mutate">): Promise<void> {
  return store.mutate(async (tx) => {
    tx.unlogged("nothing expires");
    for (const row of await expiringSecrets(tx, tx.now + WARN_DAYS * DAY_MS)) {
      if (row.warned !== null && row.warned > tx.now - DAY_MS) continue;
      await setWarned(tx, row);
      const { expires, days } = told(row, tx.now);
      tx.log({
        type: "secret.expiring",
        outcome: "unknown",
        actor: { kind: "system" },
        namespace: row.namespace,
        data: { secret: row.name, expires, days },
      });
    }
  });
}
