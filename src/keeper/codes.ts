import { SallyportError } from "../core/errors.ts";
import type { Caller } from "./callers.ts";

/** One-time codes of an authenticator. */
export class Codes {
  async check(_caller: Caller, _code: string, _purpose: "confirm" | "approve", _run: string): Promise<void> {
    throw new SallyportError("denied", "No one-time code is enrolled for you.");
  }
}
