import { MORE, refused, type Verdict } from "./verdict.ts";

/** Records and hello together. What real clients send has some hundred bytes, with a post-quantum key share below 2 KiB. */
export const HELLO_BYTES = 16 * 1024;
const RECORDS = 64;
const RECORD_HEADER = 5;
const RECORD_MAX = 16 * 1024;
const HANDSHAKE = 22;
const CLIENT_HELLO = 1;
const TLS_1_2 = 0x0303;
const SERVER_NAME = 0;
const ENCRYPTED_CLIENT_HELLO = 0xfe0d;

/** `sni`: lower-case, null where the client named none. `ech`: another hello is hidden in this one (RFC 9849), or looks so. */
export type Hello = { readonly sni: string | null; readonly ech: boolean };

const NOT_TLS = "what was sent is not TLS, and nothing leaves in plain text";
const BROKEN = "the TLS ClientHello is malformed";

/** Reads a TLS ClientHello (RFC 8446 sections 4.1.2 and 5.1), whole or cut into records. */
export function readClientHello(bytes: Buffer): Verdict<Hello> {
  const fragments: Buffer[] = [];
  let at = 0;
  let have = 0;
  for (let records = 0; ; records++) {
    if (at < bytes.length && bytes[at] !== HANDSHAKE) return refused(at === 0 ? NOT_TLS : BROKEN);
    if (at + 1 < bytes.length && bytes[at + 1] !== 3) return refused(at === 0 ? NOT_TLS : BROKEN);
    if (records === RECORDS) return refused(`the TLS ClientHello is cut into more than ${RECORDS} records`);
    if (bytes.length - at < RECORD_HEADER) return MORE;
    const length = bytes.readUInt16BE(at + 3);
    // An empty fragment of a handshake message is forbidden (RFC 8446 section 5.1).
    if (length === 0 || length > RECORD_MAX) return refused(BROKEN);
    if (at + RECORD_HEADER + length > HELLO_BYTES) return refused(TOO_LONG);
    const fragment = bytes.subarray(at + RECORD_HEADER, at + RECORD_HEADER + length);
    fragments.push(fragment);
    have += fragment.length;
    const early = badStart(fragments, have);
    if (early !== null) return early;
    if (fragment.length < length) return MORE;
    at += RECORD_HEADER + length;
    const message = messageIn(fragments, have);
    if (message === "more") continue;
    return message === null ? refused(BROKEN) : readBody(message);
  }
}

const TOO_LONG = `the TLS ClientHello is longer than ${HELLO_BYTES} bytes`;

/** What the message's own header already says, as soon as it is there. */
function badStart(fragments: readonly Buffer[], have: number): Verdict<never> | null {
  const head = fragments.length === 1 ? fragments[0]! : Buffer.concat(fragments);
  if (have >= 1 && head[0] !== CLIENT_HELLO) return refused(BROKEN);
  if (have >= 4 && head.readUIntBE(1, 3) + 4 > HELLO_BYTES) return refused(TOO_LONG);
  return null;
}

/** The hello's body. Null where its last record holds more than the hello: it ends before keys change, nothing shares its record. */
function messageIn(fragments: readonly Buffer[], have: number): Buffer | "more" | null {
  if (have < 4) return "more";
  const all = Buffer.concat(fragments);
  const length = all.readUIntBE(1, 3);
  if (have < 4 + length) return "more";
  return have === 4 + length ? all.subarray(4) : null;
}

class Short extends Error {}

class Reader {
  readonly #bytes: Buffer;
  #at = 0;
  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }
  get left(): number {
    return this.#bytes.length - this.#at;
  }
  take(size: number): Buffer {
    if (size > this.left) throw new Short();
    this.#at += size;
    return this.#bytes.subarray(this.#at - size, this.#at);
  }
  u8(): number {
    return this.take(1)[0]!;
  }
  u16(): number {
    return this.take(2).readUInt16BE();
  }
}

function readBody(body: Buffer): Verdict<Hello> {
  try {
    const r = new Reader(body);
    if (r.u16() < TLS_1_2) return refused("the client offers no TLS of version 1.2 or later");
    r.take(32);
    if (r.take(r.u8()).length > 32) return refused(BROKEN);
    const suites = r.take(r.u16());
    if (suites.length < 2 || suites.length % 2 !== 0) return refused(BROKEN);
    if (r.take(r.u8()).length < 1) return refused(BROKEN);
    if (r.left === 0) return { state: "ok", sni: null, ech: false };
    const extensions = new Reader(r.take(r.u16()));
    return r.left > 0 ? refused(BROKEN) : readExtensions(extensions);
  } catch (error) {
    if (error instanceof Short) return refused(BROKEN);
    throw error;
  }
}

function readExtensions(r: Reader): Verdict<Hello> {
  const seen = new Set<number>();
  let sni: string | null = null;
  while (r.left > 0) {
    const type = r.u16();
    const data = r.take(r.u16());
    // Twice is forbidden (RFC 8446 section 4.2); one server might read the first name, another the last.
    if (seen.has(type)) return refused(BROKEN);
    seen.add(type);
    if (type !== SERVER_NAME) continue;
    sni = readServerName(new Reader(data));
    if (sni === null) return refused("the TLS ClientHello's server name is malformed, or there are two");
  }
  return { state: "ok", sni, ech: seen.has(ENCRYPTED_CLIENT_HELLO) };
}

/** RFC 6066 section 3: a list of exactly one name, of the one type there is. */
function readServerName(r: Reader): string | null {
  const list = new Reader(r.take(r.u16()));
  if (r.left > 0 || list.u8() !== 0) return null;
  const name = list.take(list.u16()).toString("latin1");
  if (list.left > 0 || !/^[A-Za-z0-9._-]{1,253}$/.test(name)) return null;
  return name.toLowerCase();
}

/** The first bytes of the server's answer: a TLS handshake or alert record, version 3.x. */
export function readServerStart(bytes: Buffer): Verdict {
  if (bytes.length >= 1 && bytes[0] !== HANDSHAKE && bytes[0] !== 21)
    return refused("the server's answer is not TLS");
  if (bytes.length < 2) return MORE;
  return bytes[1] === 3 ? { state: "ok" } : refused("the server's answer is not TLS");
}
