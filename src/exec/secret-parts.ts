import { isUtf8 } from "node:buffer";
import { isSecretInside } from "../core/secret-value.ts";

/** How deep a value is looked into: a line of a field of a JSON text in a field of a JSON text. */
const DEPTH = 4;

/**
 * The values inside a secret that are secrets too: its lines, the texts and long numbers of a JSON value, a URL's user and
 * password, what stands after NAME= or name: in a line. Those that are too short or too common to be looked for are left
 * out (`isSecretInside`). The value itself is not among them.
 */
export function partsInside(value: Buffer): Buffer[] {
  // What is no text has no lines.
  if (!isUtf8(value)) return [];
  const found = new Set<string>();
  const text = value.toString("utf8").replace(/[\r\n]+$/, "");
  look(text, found, DEPTH);
  found.delete(text);
  return [...found].map((part) => Buffer.from(part)).filter(isSecretInside);
}

function look(text: string, found: Set<string>, depth: number): void {
  if (depth === 0) return;
  const add = (part: string): void => {
    if (found.has(part)) return;
    found.add(part);
    look(part, found, depth - 1);
  };
  const fields = fieldsOf(text);
  if (fields !== null) {
    fields.forEach(add);
    return;
  }
  const lines = text.split(/\r\n|\n|\r/);
  if (lines.length > 1) {
    for (const line of lines) add(line.trim());
    return;
  }
  for (const part of [...userOf(text), ...assigned(text)]) add(part);
}

/** User and password of a URL (RFC 3986, 3.2.1), as they stand there and decoded. */
function userOf(text: string): string[] {
  const user = /[a-z][a-z0-9+.-]*:\/\/([^\s/?#]*)@/i.exec(text)?.[1];
  if (user === undefined) return [];
  const colon = user.indexOf(":");
  const parts = colon < 0 ? [user] : [user.slice(0, colon), user.slice(colon + 1)];
  return parts.flatMap((part) => [part, decoded(part)]);
}

/** NAME=value as in an environment file, name: value as in YAML or a header, user:password; without the quotes around it. */
function assigned(text: string): string[] {
  const value = /^\s*(?:export\s+)?["']?[A-Za-z_][\w.-]{0,99}["']?\s*[=:]\s*(?!\/\/)(.+)$/
    .exec(text)?.[1]
    ?.trim();
  if (value === undefined) return [];
  const bare = /^(["'])(.*)\1[;,]?$/.exec(value)?.[2];
  return bare === undefined ? [value] : [value, bare];
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Every text, and every number of six digits or more, of a JSON object or array; null for anything else. */
function fieldsOf(text: string): string[] | null {
  if (!/^\s*[[{]/.test(text)) return null;
  let whole: unknown;
  try {
    whole = JSON.parse(text);
  } catch {
    return null;
  }
  const fields: string[] = [];
  const open: unknown[] = [whole];
  while (open.length > 0) {
    const value = open.pop();
    if (typeof value === "string") fields.push(value);
    else if (typeof value === "number") fields.push(String(value));
    else if (value !== null && typeof value === "object")
      for (const item of Object.values(value)) open.push(item);
  }
  return fields;
}
