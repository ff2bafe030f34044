import { pruneLinks } from "../store/links.ts";
import { pruneOutbox } from "../store/outbox.ts";
import { pruneOutput } from "../store/runs.ts";
import type { Store } from "../store/store.ts";
import type { Tx } from "../store/tx.ts";
import { giveUpOld } from "./outbox.ts";

const EVERY_MS = 600_000;
const DAY_MS = 86_400_000;
/** Until sallyport.yaml has `retention`: what a run printed, what was posted of it, and link codes that nobody used. */
const KEEP_MS = { output: 90 * DAY_MS, posts: 7 * DAY_MS, links: DAY_MS } as const;

/** Forgets what nobody needs any more; the log keeps that it happened. Returns what ends it. */
export function keepHouse(store: Store, failed: (error: unknown) => void): () => void {
  const clean = () => {
    store.mutate(prune).catch(failed);
  };
  clean();
  const timer = setInterval(clean, EVERY_MS);
  timer.unref();
  return () => clearInterval(timer);
}

export async function prune(tx: Tx): Promise<void> {
  tx.unlogged("old output, posts and link codes");
  await pruneOutput(tx, tx.now - KEEP_MS.output);
  await giveUpOld(tx);
  await pruneOutbox(tx, tx.now - KEEP_MS.posts);
  await pruneLinks(tx, tx.now - KEEP_MS.links);
}
