import { getHeapStatistics, setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

type Collect = (options: { type: "major"; execution: "sync"; flavor: "last-resort" }) => void;

const LOOK_MS = 2000;
/** A role that does something now and then is below this part of a second; one at work is not disturbed. */
const IDLE = 0.02;
/** Less garbage than this part of the heap is not worth a collection. */
const GROWTH = 1.25;

/**
 * V8 collects when it needs room, so what a start or a burst of work left behind would stay for as long as a process
 * idles, and roles idle nearly always. This collects once after each such burst, when the event loop has had nothing to do.
 */
export function trimWhenIdle(lookMs: number = LOOK_MS): void {
  // The flag gives `gc` to contexts made from now on; this one stays without.
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as Collect;
  setFlagsFromString("--no-expose-gc");
  let kept = 0;
  let before = performance.eventLoopUtilization();
  const look = () => {
    const now = performance.eventLoopUtilization();
    const busy = performance.eventLoopUtilization(now, before).utilization;
    before = now;
    if (busy > IDLE || getHeapStatistics().used_heap_size < kept * GROWTH) return;
    // A plain collection frees objects but gives no page back. This takes some 50 ms for a heap of 15 MiB.
    collect({ type: "major", execution: "sync", flavor: "last-resort" });
    kept = getHeapStatistics().used_heap_size;
    before = performance.eventLoopUtilization();
  };
  setInterval(look, lookMs).unref();
}
