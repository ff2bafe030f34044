import type { z } from "zod";

/**
 * One sentence from zod's first issue: the key as a person would point at it, and what would be right. Nothing
 * of zod's own wording passes, so that every sentence was written for this product.
 */
export function issueSentence(error: z.ZodError, input: unknown): string {
  const issue = error.issues[0];
  if (issue === undefined) return "It is not valid.";
  const where = pathText(issue.path);
  if (issue.code === "unrecognized_keys") {
    const key = JSON.stringify((issue.keys[0] ?? "").slice(0, 60));
    return where === "" ? `The key ${key} is not known.` : `${where}: the key ${key} is not known.`;
  }
  if (where === "") return `It ${issue.message}.`;
  if (issue.path.length > 0 && valueAt(input, issue.path) === undefined) {
    return `${where}: is missing; it ${issue.message}.`;
  }
  return `${where}: ${issue.message}.`;
}

function pathText(path: readonly PropertyKey[]): string {
  let text = "";
  for (const part of path) {
    const name = String(part).slice(0, 60);
    if (typeof part === "number") text += `[${part}]`;
    else text += (text === "" ? "" : ".") + (/^[\w-]+$/.test(name) ? name : JSON.stringify(name));
  }
  return text;
}

function valueAt(input: unknown, path: readonly PropertyKey[]): unknown {
  let value: unknown = input;
  for (const part of path) {
    if (typeof value !== "object" || value === null) return undefined;
    value = (value as Record<PropertyKey, unknown>)[part];
  }
  return value;
}
