import { z } from "zod";
import { canonicalJson } from "../core/canonical.ts";
import { SallyportError } from "../core/errors.ts";
import type { Severity } from "./catalogue.ts";

export const ENTRY_BYTES = 32 * 1024;
export type Outcome = "success" | "failure" | "unknown" | "denied";
export type Scalar = string | number | boolean | null;
/** As the kernel tells it: `loginUid` is who logged in (/proc/PID/loginuid), null where nobody did. */
export type HostAccount = { uid: number; loginUid: number | null };
export type LoggedActor =
  | ({ kind: "user"; id: string } & Partial<HostAccount>)
  | { kind: "slack"; enterprise: string | null; team: string; user: string }
  | { kind: "host"; uid: number; loginUid: number | null }
  | { kind: "system" };

/** What an entry's bytes say. `time` is RFC 3339 in UTC with milliseconds. */
export type LogEntry = {
  v: 1;
  time: string;
  nonce: string;
  /** Of the catalogue; a string, because a newer program may have logged it. */
  type: string;
  outcome: Outcome;
  severity: Severity;
  actor: LoggedActor;
  run?: string;
  op?: string;
  namespace?: string;
  reason?: string;
  policy?: string;
  data?: Record<string, Scalar>;
};

const text = z.string();
const Actor = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("user"),
    id: text,
    uid: z.int().exactOptional(),
    loginUid: z.int().nullable().exactOptional(),
  }),
  z.strictObject({ kind: z.literal("slack"), enterprise: text.nullable(), team: text, user: text }),
  z.strictObject({ kind: z.literal("host"), uid: z.int(), loginUid: z.int().nullable() }),
  z.strictObject({ kind: z.literal("system") }),
]);

/** The type is any name: an older program must still be able to verify the log of a newer one. */
const Entry = z.strictObject({
  v: z.literal(1),
  time: z.iso.datetime({ precision: 3 }),
  nonce: z.string().regex(/^[A-Za-z0-9+/]{22}==$/),
  type: z.string().regex(/^[a-z_]+\.[a-z_]+$/),
  outcome: z.enum(["success", "failure", "unknown", "denied"]),
  severity: z.union([z.literal(1), z.literal(3), z.literal(4), z.literal(5)]),
  actor: Actor,
  run: text.exactOptional(),
  op: text.exactOptional(),
  namespace: text.exactOptional(),
  reason: text.exactOptional(),
  policy: text.exactOptional(),
  data: z.record(text, z.union([text, z.number(), z.boolean()])).exactOptional(),
});

const bad = (what: string, cause?: unknown): SallyportError =>
  new SallyportError("log_damaged", `An entry ${what}.`, { cause });

/** Reads an entry's bytes. Throws `log_damaged` when they are not canonical or no entry. */
export function parseEntry(bytes: Uint8Array): LogEntry {
  if (bytes.length > ENTRY_BYTES) throw bad(`has ${bytes.length} bytes`);
  let json: unknown;
  let source: string;
  try {
    source = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    json = JSON.parse(source);
  } catch (cause) {
    throw bad("is not JSON", cause);
  }
  const parsed = Entry.safeParse(json);
  if (!parsed.success)
    throw bad(`is malformed (${parsed.error.issues[0]?.path.join(".") ?? ""})`, parsed.error);
  if (canonicalJson(json) !== source) throw bad("is not in canonical form");
  return parsed.data;
}
