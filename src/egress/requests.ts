import { parseTarget } from "../core/manifest-shape.ts";
import { MORE, refused, type Verdict } from "./verdict.ts";

/** Where the Op wants to go. `host`: lower-case name, or an address without brackets. `rest`: what it sent right after. */
export type Wish = { readonly host: string; readonly port: number; readonly rest: Buffer };

export const HEAD_BYTES = 8 * 1024;
const METHOD_CHARS = 20;
const TOO_LONG = `the request's head is longer than ${HEAD_BYTES} bytes`;
const ONLY_CONNECT = "only CONNECT is answered: nothing leaves in plain text, so use https";
const MALFORMED = "the CONNECT request is malformed";

/**
 * One HTTP CONNECT request (RFC 9110 section 9.3.6, RFC 9112). Strict where readers differ, since what one of them takes
 * for another request is how requests are smuggled.
 */
export function readConnect(bytes: Buffer): Verdict<Wish> {
  const end = bytes.subarray(0, HEAD_BYTES).indexOf("\r\n\r\n");
  const head = bytes.toString("latin1", 0, end < 0 ? Math.min(bytes.length, HEAD_BYTES) : end);
  const [, method = "", after = ""] = /^([A-Z]*)([^A-Z]?)/.exec(head) ?? [];
  if (after === "" && method.length <= METHOD_CHARS) return MORE;
  if (after !== " " || method === "" || method.length > METHOD_CHARS) return refused(MALFORMED);
  if (method !== "CONNECT") return refused(ONLY_CONNECT);
  // A line ends with CR LF and nothing else; the last CR of a cut head may still find its LF.
  if (/\r(?!\n|$)|(?<!\r)\n|\0/.test(head)) return refused(MALFORMED);
  if (end < 0) return bytes.length >= HEAD_BYTES ? refused(TOO_LONG) : MORE;
  if (head.endsWith("\r")) return refused(MALFORMED);
  const [line = "", ...fields] = head.split("\r\n");
  const [, authority = ""] = /^CONNECT ([\x21-\x7e]{1,300}) HTTP\/1\.[01]$/.exec(line) ?? [];
  const wish = readAuthority(authority);
  if (wish === null) return refused(MALFORMED);
  const wrong = faultOf(fields, wish);
  return wrong === null ? { state: "ok", ...wish, rest: bytes.subarray(end + 4) } : refused(wrong);
}

function faultOf(fields: readonly string[], wish: Omit<Wish, "rest">): string | null {
  let hosts = 0;
  for (const field of fields) {
    // A name that is no token, space before the colon, or a folded line.
    const [, name, value] = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*$/.exec(field) ?? [];
    if (name === undefined || /[^\t\x20-\x7e\x80-\xff]/.test(value ?? "")) return MALFORMED;
    const is = name.toLowerCase();
    if (is === "content-length" || is === "transfer-encoding")
      return "a CONNECT request has no body, and this one announces one";
    if (is !== "host") continue;
    const said = readAuthority(value!) ?? readAuthority(`${value}:${wish.port}`);
    if (++hosts > 1 || said === null || said.host !== wish.host || said.port !== wish.port)
      return "the CONNECT request names two hosts";
  }
  return null;
}

function readAuthority(text: string): Omit<Wish, "rest"> | null {
  if (/[/@]/.test(text)) return null;
  const target = parseTarget(text.toLowerCase());
  return target === null ? null : { host: target.host, port: target.port };
}

export const SOCKS = { ok: 0, failed: 1, notAllowed: 2, unreachable: 4, command: 7, address: 8 } as const;

/** A SOCKS5 greeting (RFC 1928 section 3) that offers to go without a password. `size`: its bytes. */
export function readGreeting(bytes: Buffer): Verdict<{ readonly size: number }> {
  if (bytes.length >= 1 && bytes[0] !== 5) return refused("what was sent is not SOCKS5");
  const size = 2 + (bytes[1] ?? 0);
  if (bytes.length < 2 || bytes.length < size) return MORE;
  return bytes.subarray(2, size).includes(0)
    ? { state: "ok", size }
    : refused("the SOCKS5 client insists on a password; there is none");
}

/** A SOCKS5 request (RFC 1928 section 4), CONNECT only. A refusal's `code` is the reply's. */
export function readSocks(bytes: Buffer): Verdict<Wish> | { state: "refused"; reason: string; code: number } {
  const bad = (reason: string, code: number) => ({ ...refused(reason), code });
  if (bytes.length >= 1 && bytes[0] !== 5) return bad("the SOCKS5 request is malformed", SOCKS.failed);
  if (bytes.length >= 2 && bytes[1] !== 1)
    return bad("the SOCKS5 request is no CONNECT, and nothing else is answered", SOCKS.command);
  if (bytes.length >= 3 && bytes[2] !== 0) return bad("the SOCKS5 request is malformed", SOCKS.failed);
  if (bytes.length < 4) return MORE;
  const type = bytes[3];
  if (type !== 1 && type !== 3 && type !== 4)
    return bad("the SOCKS5 request has an address of an unknown kind", SOCKS.address);
  if (bytes.length < 5) return MORE;
  const from = type === 3 ? 5 : 4;
  const size = type === 1 ? 4 : type === 4 ? 16 : bytes[4]!;
  const at = from + size;
  if (bytes.length < at + 2) return MORE;
  const raw = bytes.subarray(from, at);
  const port = bytes.readUInt16BE(at);
  const host = type === 1 ? raw.join(".") : type === 4 ? `[${groups(raw)}]` : raw.toString("latin1");
  const wish = readAuthority(`${host}:${port}`);
  if (wish === null) return bad("the SOCKS5 request names no host that there can be", SOCKS.failed);
  return { state: "ok", ...wish, rest: bytes.subarray(at + 2) };
}

function groups(raw: Buffer): string {
  return Array.from({ length: 8 }, (_, i) => raw.readUInt16BE(2 * i).toString(16)).join(":");
}
