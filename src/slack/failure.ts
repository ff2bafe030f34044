import {
  WebAPIHTTPError,
  WebAPIPlatformError,
  WebAPIRateLimitedError,
  WebAPIRequestError,
} from "@slack/web-api";
import { isAuthError } from "../core/slack-errors.ts";

/**
 * What a failed call means for the caller. `unsent`: it can't have had an effect. `ambiguous`: it may have had one.
 * `text` never holds a token, a URL or what Slack answered, only names.
 */
export type Failure =
  | { kind: "platform"; error: string; text: string }
  | { kind: "auth"; error: string; text: string }
  | { kind: "rate"; afterMs: number; text: string }
  | { kind: "unsent"; text: string }
  | { kind: "ambiguous"; text: string };

/** Slack says of these that part of the work may have been done [docs.slack.dev, errors common to all methods]. */
const AMBIGUOUS = ["fatal_error", "internal_error", "request_timeout"];

const UNSENT = [
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "EACCES",
  "EPERM",
  "UND_ERR_CONNECT_TIMEOUT",
];
const TLS = /^(CERT_|ERR_TLS|ERR_SSL|UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO|HOSTNAME_MISMATCH)/;

export function failureOf(method: string, error: unknown): Failure {
  if (error instanceof WebAPIPlatformError)
    return platform(method, (error.data as { error?: unknown }).error);
  if (error instanceof WebAPIRateLimitedError) {
    const afterMs = Math.min(Math.max(error.retryAfter, 1), 300) * 1000;
    return { kind: "rate", afterMs, text: `${method}: rate limited for ${afterMs / 1000} s` };
  }
  if (error instanceof WebAPIHTTPError) {
    // 503 is the one status that says "not taken"; other 5xx may come from a proxy behind which it was.
    const kind = error.statusCode === 503 || error.statusCode < 500 ? "unsent" : "ambiguous";
    return { kind, text: `${method}: HTTP ${error.statusCode}` };
  }
  const code = codeOf(error instanceof WebAPIRequestError ? error.original : error);
  const unsent = UNSENT.includes(code) || TLS.test(code);
  return { kind: unsent ? "unsent" : "ambiguous", text: `${method}: ${code}` };
}

function platform(method: string, error: unknown): Failure {
  // What is no error name is no answer of Slack's API (a proxy's page): nothing is known of the effect.
  if (typeof error !== "string" || !/^[a-z][a-z0-9_]{1,60}$/.test(error)) {
    return { kind: "ambiguous", text: `${method}: unreadable answer` };
  }
  const text = `${method}: ${error}`;
  if (isAuthError(error)) return { kind: "auth", error, text };
  if (error === "ratelimited") return { kind: "rate", afterMs: 1000, text };
  if (error === "service_unavailable" || error === "team_added_to_org") return { kind: "unsent", text };
  return AMBIGUOUS.includes(error) ? { kind: "ambiguous", text } : { kind: "platform", error, text };
}

/** The innermost error code: fetch hides the system's error in causes. */
export function codeOf(error: unknown): string {
  let code = "";
  for (let e = error, depth = 0; e instanceof Error && depth < 6; e = e.cause, depth++) {
    const own = (e as { code?: unknown }).code;
    if (typeof own === "string" && /^[A-Z][A-Z0-9_]{2,60}$/.test(own)) code = own;
    else if (code === "" && (e.name === "TimeoutError" || e.name === "AbortError")) code = "timeout";
    if (e instanceof AggregateError && e.errors[0] instanceof Error) {
      const inner = (e.errors[0] as { code?: unknown }).code;
      if (typeof inner === "string") code = inner;
    }
  }
  return code || "no answer";
}
