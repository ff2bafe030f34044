import { END, entropy, isPlaceholder, type ScanRule, START } from "./rule.ts";

/** How far behind a key's first line its content is looked for: some headers may stand between (RFC 1421, RFC 4880). */
const KEY_HEAD = 600;

/** Credentials that are told by their shape or by what they stand beside. */
export const SHAPES: readonly ScanRule[] = [
  {
    id: "private-key",
    what: "a private key (PEM, OpenSSH or PGP)",
    find: /-----BEGIN (?:[A-Z0-9]{2,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----/g,
    // A key, and not a text that tells of one: base64 follows, also in a JSON string.
    keep: (match, text) => {
      const from = match.index + match[0].length;
      const end = text.indexOf("-----", from);
      return /[A-Za-z0-9+/]{40}/.test(
        text.slice(from, Math.min(from + KEY_HEAD, end < 0 ? text.length : end)),
      );
    },
  },
  {
    id: "ssh2-private-key",
    what: "a private key (SSH2)",
    find: /---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----/g,
    keep: (match, text) => /[A-Za-z0-9+/]{40}/.test(text.slice(match.index, match.index + KEY_HEAD)),
  },
  {
    id: "putty-private-key",
    what: "a private key (PuTTY)",
    find: /PuTTY-User-Key-File-[23]: [a-z0-9-]{5,40}[\r\n]/g,
  },
  {
    id: "jwt",
    what: "a JSON Web Token",
    find: new RegExp(
      `${START}(eyJ[A-Za-z0-9_-]{10,1000})\\.eyJ[A-Za-z0-9_-]{10,4000}\\.[A-Za-z0-9_-]{20,1000}${END}`,
      "g",
    ),
    keep: (match) => isJoseHeader(match[1]!),
  },
  {
    id: "aws-secret-access-key",
    what: "an AWS secret access key",
    find: /aws_?secret_?(?:access_?)?key["']?[ \t]{0,8}(?::=|=>|=|:)[ \t]{0,8}["']?([A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])/gi,
    keep: (match) => !isPlaceholder(match[1]!) && entropy(match[1]!) >= 3.5,
  },
  {
    id: "url-password",
    what: "an address with a password in it",
    find: /:\/\/[^\s:/?#@"'`<>]{0,100}:([^\s:/?#@"'`<>]{3,200})@[A-Za-z0-9[]/g,
    keep: (match) => !isReference(match[1]!) && !isPlaceholder(match[1]!) && !isWord(match[1]!),
  },
  {
    id: "authorization-header",
    what: "an Authorization header",
    find: /Authorization["']?[ \t]{0,4}[:=,][ \t]{0,4}["']?(?:Basic|Bearer|Token)[ \t]{1,4}([A-Za-z0-9+/=._~-]{20,512})/gi,
    keep: (match) => !isPlaceholder(match[1]!) && entropy(match[1]!) >= 3.2,
  },
  {
    id: "named-entropy",
    what: "a random value beside a name that tells of a secret",
    find: /(?:passw(?:or)?d|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|auth[_-]?key|encryption[_-]?key|credentials?)[A-Za-z0-9_.-]{0,20}["']?[ \t]{0,8}(?::=|=>|=|:)[ \t]{0,8}["'`]?([A-Za-z0-9+/=_.~!@#%^&*-]{16,200})/gi,
    // A name before a bracket is a call or a list.
    keep: (match, text) => !"([".includes(text[match.index + match[0].length] ?? " ") && isRandom(match[1]!),
  },
];

/** RFC 7515: the first part is JSON with `alg`. */
function isJoseHeader(part: string): boolean {
  try {
    const header: unknown = JSON.parse(Buffer.from(part, "base64url").toString("utf8"));
    return typeof header === "object" && header !== null && "alg" in header;
  } catch {
    return false;
  }
}

/** A variable, a call, a format's place, a path: the value comes from elsewhere. */
const isReference = (text: string): boolean => /^[$%{&(]|[${}]|^[.~]{0,2}\/[a-z]/.test(text);

/** `user:password@` of documentation. */
const isWord = (text: string): boolean =>
  /^(?:pass(?:word|wd|phrase)?|pwd|secret|token|user(?:name)?|test|admin|root|postgres|guest)$/i.test(text);

const HEX = /^[0-9a-f]+$/i;
/** Names of things: words of letters alone or numbers alone, joined as in paths, packages and constants. */
const NAMES =
  /^(?:[A-Za-z]{1,20}[0-9]{0,4}[A-Za-z]{0,2}|[0-9]{1,8})(?:[._/+:@=-]{1,2}(?:[A-Za-z]{1,20}[0-9]{0,4}[A-Za-z]{0,2}|[0-9]{1,8})){0,40}$/;

/** Random enough for no person to have made it up, and no name, path or placeholder. */
function isRandom(value: string): boolean {
  if (isPlaceholder(value) || isReference(value) || /^(?:sha(?:1|256|384|512)|md5)[:=-]/i.test(value))
    return false;
  if (HEX.test(value)) return value.length >= 32 && entropy(value) >= 3;
  if (!/[0-9]/.test(value) || !/[A-Za-z]/.test(value)) return false;
  return !NAMES.test(value) && entropy(value) >= 3.5;
}
