/** What the next answer to a Web API method, a response_url or an upload does instead of its duty. */
export type ApiFault =
  | { error: string }
  | { status: number; body?: string; retryAfter?: number }
  | { delayMs: number }
  | { hang: true }
  | { resetBefore: true }
  | { lostAfterEffect: true }
  | { garbage: true };

export type SocketFault =
  | "dropHello"
  | "stallUpgrade"
  | "refuseUpgrade"
  | "stallAfterUpgrade"
  | "duplicate"
  | "refreshDuring"
  | "loseAck";

/** Counts down how often each fault is still to happen. */
export class FaultPlan {
  readonly #api: { method: string; fault: ApiFault; left: number }[] = [];
  readonly #socket = new Map<SocketFault, number>();
  refuseStatus = 503;

  planApi(method: string, fault: ApiFault, times: number): void {
    this.#api.push({ method, fault, left: times });
  }

  takeApi(method: string): ApiFault | undefined {
    const planned = this.#api.find((p) => p.left > 0 && (p.method === method || p.method === "*"));
    if (planned === undefined) return undefined;
    planned.left -= 1;
    return planned.fault;
  }

  plan(fault: SocketFault, times: number): void {
    this.#socket.set(fault, (this.#socket.get(fault) ?? 0) + times);
  }

  take(fault: SocketFault): boolean {
    const left = this.#socket.get(fault) ?? 0;
    if (left > 0) this.#socket.set(fault, left - 1);
    return left > 0;
  }

  clear(): void {
    this.#api.length = 0;
    this.#socket.clear();
  }
}
