import { pruneLinks } from "../store/links.ts";
import { pruneOutbox } from "../store/outbox.ts";
import { pruneOutput } from "../store/runs.ts";
import type { Store } from "../store/store.ts";
import type { Tx } from "../store/tx.ts";
import { giveUpOld } from "./outbox.ts";
import { KEEP_MS } from "./post-failure.ts";

const EVERY_MS = 600_000;
const DAY_MS = 86_400_000;

type Chore = { keepMs: number; page: (tx: Tx, before: number) => Promise<number> };

/** Until sallyport.yaml has `retention`: what a run printed, what is owed or was posted of it, and link codes that nobody used. */
const CHORES: readonly Chore[] = [
  { keepMs: 90 * DAY_MS, page: pruneOutput },
  { keepMs: KEEP_MS, page: giveUpOld },
  { keepMs: 7 * DAY_MS, page: pruneOutbox },
  { keepMs: DAY_MS, page: pruneLinks },
];

/** Forgets what nobody needs any more; the log keeps that it happened. Returns what ends it. */
export function keepHouse(store: Pick<Store, "mutate">, failed: (error: unknown) => void): () => void {
  let ended = false;
  let cleaning = false;
  const clean = async () => {
    if (cleaning) return;
    cleaning = true;
    try {
      for (const chore of CHORES) while (!ended && (await prune(store, chore)) > 0);
    } finally {
      cleaning = false;
    }
  };
  void clean().catch(failed);
  const timer = setInterval(() => void clean().catch(failed), EVERY_MS);
  timer.unref();
  return () => {
    ended = true;
    clearInterval(timer);
  };
}

/** A page a mutation: after a long time without housekeeping there is much, and whatever else is written waits its turn. */
function prune(store: Pick<Store, "mutate">, { keepMs, page }: Chore): Promise<number> {
  return store.mutate((tx) => {
    tx.unlogged("old output, posts and link codes");
    return page(tx, tx.now - keepMs);
  });
}
