import { MORE, refused, type Verdict } from "./verdict.ts";

/** RFC 4253 section 4.2: 255 bytes, CR LF included. */
const LINE_BYTES = 255;
/** What a server may say before its identification. */
const SERVER_LINES = 32;
const IDENTIFICATION = /^SSH-2\.0-[\x21-\x2c\x2e-\x7e]{1,240}( [\x20-\x7e]*)?$/;
const START = "SSH-2.0-";

/** The client's identification: the very first line. */
export function readClientBanner(bytes: Buffer): Verdict {
  const start = bytes.subarray(0, START.length).toString("latin1");
  if (!START.startsWith(start)) return refused("what was sent is not SSH 2.0, and nothing else may go there");
  const line = lineAt(bytes, 0);
  if (line === "more") return MORE;
  return line !== null && IDENTIFICATION.test(line.text)
    ? { state: "ok" }
    : refused("the client's SSH identification is malformed");
}

/** The server's, after whatever lines it greets with. */
export function readServerBanner(bytes: Buffer): Verdict {
  let at = 0;
  for (let lines = 0; lines < SERVER_LINES; lines++) {
    const line = lineAt(bytes, at);
    if (line === "more") return MORE;
    if (line === null) return refused("the server's answer is not SSH 2.0");
    if (line.text.startsWith("SSH-"))
      return IDENTIFICATION.test(line.text) ? { state: "ok" } : refused("the server's answer is not SSH 2.0");
    at = line.end;
  }
  return refused("the server's answer is not SSH 2.0");
}

/** One line without its end, which some implementations write as LF alone. Null: too long, or not text. */
function lineAt(bytes: Buffer, at: number): { text: string; end: number } | "more" | null {
  const end = bytes.indexOf(10, at);
  const length = (end < 0 ? bytes.length : end + 1) - at;
  if (length > LINE_BYTES) return null;
  if (end < 0) return bytes.indexOf(0, at) >= 0 ? null : "more";
  const text = bytes.toString("latin1", at, end).replace(/\r$/, "");
  return /[\0\r]/.test(text) ? null : { text, end: end + 1 };
}
