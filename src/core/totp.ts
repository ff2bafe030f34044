import { timingSafeEqual } from "node:crypto";
import { HOTP, Secret, TOTP } from "otpauth";

/** What every authenticator app takes: SHA-1, 6 digits, steps of 30 s counted from 1970 [RFC 6238]. */
const STEP_SECONDS = 30;
const DIGITS = 6;
const ALGORITHM = "SHA1";
/** The phone's clock may be off, and typing takes time: one step either way [RFC 6238 section 5.2]. */
const WINDOW = 1;
/** Bytes: as long as the hash [RFC 4226 section 4, R6]. */
export const SECRET_BYTES = 20;

export const stepAt = (ms: number): number => Math.floor(ms / 1000 / STEP_SECONDS);
/** When the step begins, ms since 1970. */
export const startOf = (step: number): number => step * STEP_SECONDS * 1000;
/** The latest step whose code is taken at this one. */
export const lastTaken = (step: number): number => step + WINDOW;

/** The six digits of what was typed, with or without the gap that apps show; null for anything else. */
export function digitsOf(typed: string): string | null {
  const digits = typed.slice(0, 40).replaceAll(" ", "");
  return /^[0-9]{6}$/.test(digits) ? digits : null;
}

/** The step around `step` whose code this is, the latest where two are alike; null: none. Tells nothing by its duration. */
export function matchingStep(secret: Uint8Array, digits: string, step: number): number | null {
  let found: number | null = null;
  for (let counter = Math.max(0, step - WINDOW); counter <= step + WINDOW; counter++) {
    const right = Buffer.from(codeAt(secret, counter), "latin1");
    const given = Buffer.from(digits, "latin1");
    if (right.length === given.length && timingSafeEqual(right, given)) found = counter;
  }
  return found;
}

export function codeAt(secret: Uint8Array, step: number): string {
  return HOTP.generate({ secret: keyOf(secret), algorithm: ALGORITHM, digits: DIGITS, counter: step });
}

/** What the authenticator is given: otpauth:// as a QR code shows it, and the secret in base32 for typing. Both are secret. */
export function enrolmentText(
  secret: Uint8Array,
  o: { issuer: string; label: string },
): { uri: string; base32: string } {
  const key = keyOf(secret);
  const totp = new TOTP({ ...o, secret: key, algorithm: ALGORITHM, digits: DIGITS, period: STEP_SECONDS });
  const uri = new URL(totp.toString());
  // What every app takes for granted only makes the QR code larger than a terminal.
  for (const name of ["algorithm", "digits", "period"]) uri.searchParams.delete(name);
  return { uri: uri.href, base32: key.base32 };
}

function keyOf(secret: Uint8Array): Secret {
  return new Secret({ buffer: new Uint8Array(secret).buffer });
}
