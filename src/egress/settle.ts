import type { Socket } from "node:net";
import type { Verdict } from "./verdict.ts";

export type Settled<V> = { verdict: V | { state: "ended" }; held: Buffer };

/**
 * Reads until `judge` makes up its mind about all that came, or the time is over. Leaves the socket paused; `held` is what
 * was read, which goes nowhere by itself.
 */
export function settle<V extends Verdict>(
  socket: Socket,
  o: { judge: (bytes: Buffer) => V; held?: Buffer; ms: number },
): Promise<Settled<Exclude<V, { state: "more" }>>> {
  type Found = Exclude<V, { state: "more" }>;
  return new Promise((resolve) => {
    let held = o.held ?? Buffer.alloc(0);
    const done = (verdict: Found | { state: "ended" }) => {
      clearTimeout(timer);
      socket.pause();
      socket.off("data", take).off("end", ended).off("close", ended).off("error", ended);
      resolve({ verdict, held });
    };
    const look = (): boolean => {
      const verdict = o.judge(held);
      if (verdict.state !== "more") done(verdict as Found);
      return verdict.state !== "more";
    };
    const take = (chunk: Buffer) => {
      held = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
      look();
    };
    const ended = () => done({ state: "ended" });
    const timer = setTimeout(ended, o.ms);
    if (look()) return;
    if (socket.destroyed || socket.readableEnded) {
      ended();
      return;
    }
    socket.on("data", take).on("end", ended).on("close", ended).on("error", ended);
    socket.resume();
  });
}
