import { Bucket } from "./backoff.ts";
import type { AlarmKind } from "./types.ts";

/** Passes alarms on; of a flood of one kind the first few and then one every ten seconds, with the number left out. */
export class Alarms {
  readonly #send: (kind: AlarmKind, detail: string) => void;
  readonly #kinds = new Map<AlarmKind, { bucket: Bucket; dropped: number }>();

  constructor(send: (kind: AlarmKind, detail: string) => void) {
    this.#send = send;
  }

  raise(kind: AlarmKind, detail: string, now = Date.now()): void {
    let entry = this.#kinds.get(kind);
    if (entry === undefined) {
      entry = { bucket: new Bucket(10, 0.1, now), dropped: 0 };
      this.#kinds.set(kind, entry);
    }
    if (entry.bucket.take(now) > 0) {
      entry.dropped++;
      return;
    }
    const more = entry.dropped > 0 ? ` (${entry.dropped} more like it before.)` : "";
    entry.dropped = 0;
    this.#send(kind, `${detail.slice(0, 440)}${more}`);
  }
}
