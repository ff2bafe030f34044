import { readFileSync } from "node:fs";

type Obj = Record<string, unknown>;

/** A sample of what the real Slack sends; the values are invented. */
export function sample(name: string): Obj {
  return JSON.parse(readFileSync(new URL(`payloads/${name}.json`, import.meta.url), "utf8")) as Obj;
}

function kind(value: unknown): string {
  return value === null ? "null" : Array.isArray(value) ? "array" : typeof value;
}

/** Where `real` and `ours` differ in keys or types: one line a difference. Keys in `loose` may be missing or extra. */
export function differences(real: unknown, ours: unknown, loose: string[] = [], at = ""): string[] {
  if (kind(real) !== kind(ours)) return [`${at}: ${kind(real)} in Slack, ${kind(ours)} here`];
  if (Array.isArray(real)) {
    const mine = ours as unknown[];
    return real.length > 0 && mine.length > 0 ? differences(real[0], mine[0], loose, `${at}/0`) : [];
  }
  if (kind(real) !== "object") return [];
  const out: string[] = [];
  const theirs = real as Obj;
  const mine = ours as Obj;
  for (const key of new Set([...Object.keys(theirs), ...Object.keys(mine)])) {
    if (loose.includes(key)) continue;
    if (!(key in mine)) out.push(`${at}/${key}: missing here`);
    else if (!(key in theirs)) out.push(`${at}/${key}: not in Slack's`);
    else out.push(...differences(theirs[key], mine[key], loose, `${at}/${key}`));
  }
  return out;
}
