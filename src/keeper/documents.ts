import { argsText, checkArgs } from "../core/args.ts";
import type { Manifest } from "../core/manifest.ts";
import { isFinal } from "../core/run.ts";
import { cleanText } from "../core/text.ts";
import type { Block, Document } from "../wire/document.ts";
import type { Shown as Output } from "./run-output.ts";
import type { RunView } from "./run-types.ts";

/** Documents for Slack. Pure; every text is literal and the renderer escapes it. */
/** More output than that has messages of its own. */
export const INLINE_BYTES = 2400;

export type Shown = { document: Document; parts: Buffer[] };

const STATE_WORDS: Readonly<Record<string, string>> = {
  requested: "was requested",
  waiting: "waits",
  denied: "was denied",
  expired: "expired",
  queued: "waits for its turn",
  running: "is running",
  succeeded: "succeeded",
  failed: "failed",
  timed_out: "was stopped at its time limit",
  canceled: "was canceled",
  lost: "was lost",
};

const STATE_SIGNS: Readonly<Record<string, string>> = {
  succeeded: "✔",
  failed: "✘",
  timed_out: "⏱",
  canceled: "■",
  lost: "?",
  waiting: "⏸",
  denied: "✘",
  expired: "⏱",
  queued: "…",
  running: "▶",
};

export function say(text: string, ...more: Block[]): Document {
  const summary = (text.split("\n")[0] ?? "").slice(0, 300);
  return { summary, blocks: [{ kind: "text", text: text.slice(0, 8000) }, ...more] };
}

/** State, or state and result, of one run: the message that `/ops run` is answered with. */
export function runDocument(
  view: RunView,
  output: Output,
  o: { progress?: string | undefined; longOutput?: string } = {},
): Shown {
  const { row } = view;
  const title =
    `${STATE_SIGNS[row.state] ?? ""} ${row.namespace}/${row.op} ${STATE_WORDS[row.state] ?? row.state}`.trim();
  const rows: [string, string][] = [["Run", row.id]];
  const args = argumentsOf(view);
  if (args !== "") rows.push(["Arguments", args.slice(0, 1500)]);
  if (view.requester !== "") rows.push(["By", view.requester]);
  if (row.exit !== null) rows.push(["Exit", String(row.exit)]);
  if (row.signal !== null) rows.push(["Signal", row.signal]);
  if (row.durationMs !== null) rows.push(["Duration", duration(row.durationMs)]);
  const blocks: Block[] = [
    { kind: "text", text: title },
    { kind: "fields", rows },
  ];
  if (row.reason !== null) blocks.push({ kind: "note", text: row.reason.slice(0, 1500) });
  const refused = refusedCalls(row.usage);
  if (refused !== "") blocks.push({ kind: "note", text: `The sandbox refused: ${refused}`.slice(0, 1500) });
  // The Op's own words stand in a frame, on one line: notes are sallyport's, and none may be taken for one.
  if (o.progress !== undefined)
    blocks.push({ kind: "code", text: `Progress: ${cleanText(o.progress).slice(0, 1500)}` });
  const parts: Buffer[] = [];
  if (output.bytes > 0 && output.bytes <= INLINE_BYTES) {
    parts.push(Buffer.concat(output.chunks.map((chunk) => chunk.bytes)));
    blocks.push({ kind: "output", part: 0, truncated: row.truncated });
  } else if (output.bytes > 0) {
    const text = isFinal(row.state)
      ? `${output.bytes} bytes of output, ${o.longOutput ?? "in the thread"}; on the host: sallyport runs show ${row.id}`
      : `${output.bytes} bytes of output so far.`;
    blocks.push({ kind: "note", text });
  }
  if (row.truncated) blocks.push({ kind: "note", text: cutNote(view) });
  if (row.state === "running" || row.state === "queued" || row.state === "waiting") {
    blocks.push({
      kind: "buttons",
      buttons: [{ id: "cancel", label: "Cancel", value: row.id, style: "danger" }],
    });
  }
  return { document: { summary: `${title} (${row.id})`.slice(0, 300), blocks }, parts };
}

/** What stands above a thread: how the run is or ended, and that the rest is below. */
export function headDocument(view: RunView, o: { progress?: string | undefined } = {}): Shown {
  const { document, parts } = runDocument(view, { chunks: [], bytes: 0 }, o);
  const below: Block = { kind: "note", text: "Output and result: in the thread." };
  return { document: { ...document, blocks: [...document.blocks, below] }, parts };
}

export function cutNote({ manifest }: RunView): string {
  return `The output was cut at the Op's bound of ${size(manifest.limits.outputBytes)}.`;
}

function size(bytes: number): string {
  if (bytes % 1024 ** 2 === 0) return `${bytes / 1024 ** 2} MiB`;
  return bytes % 1024 === 0 ? `${bytes / 1024} KiB` : `${bytes} bytes`;
}

export function argumentsOf({ manifest, row }: RunView): string {
  try {
    return argsText(checkArgs(manifest, JSON.parse(row.args) as Record<string, unknown>));
  } catch {
    return "";
  }
}

function refusedCalls(usage: string | null): string {
  if (usage === null) return "";
  const { denied = [] } = JSON.parse(usage) as { denied?: { call: string; count: number }[] };
  return denied.map((d) => (d.count > 1 ? `${d.call} (${d.count} times)` : d.call)).join(", ");
}

export function duration(ms: number): string {
  if (ms < 1000) return `${ms} ms`;
  const seconds = ms / 1000;
  return seconds < 60
    ? `${seconds.toFixed(1)} s`
    : `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}

/** How an Op is called and what it takes. `resources`: as the gate names them, "name:mode". */
export function opDocument(
  manifest: Manifest,
  version: number,
  digest: string,
  resources: readonly string[] = [],
): Document {
  const items = manifest.inputs.map((input) => ({
    title: `--${input.name}${input.required ? "" : " (optional)"}`,
    detail: inputText(input),
  }));
  const blocks: Block[] = [
    { kind: "text", text: `${manifest.op}: ${manifest.summary}` },
    {
      kind: "fields",
      rows: [
        ["Version", `${version}`],
        ["Digest", digest],
        ["Confirmation", manifest.confirm],
        ["Time limit", duration(manifest.limits.timeMs)],
        ...(resources.length === 0
          ? []
          : [["Given of the host", resources.join(", ").slice(0, 1500)] as [string, string]]),
      ],
    },
  ];
  if (items.length > 0) blocks.push({ kind: "list", items: items.slice(0, 60) });
  blocks.push({
    kind: "code",
    text: `/ops run ${manifest.op}${manifest.inputs
      .filter((i) => i.required)
      .map((i) => ` --${i.name} …`)
      .join("")}`,
  });
  return { summary: `${manifest.op}: ${manifest.summary}`.slice(0, 300), blocks };
}

function inputText(input: Manifest["inputs"][number]): string {
  const said: string[] = [input.type];
  if (input.type === "string" && input.enum !== undefined) said.push(`one of ${input.enum.join(", ")}`);
  if (input.type === "integer" || input.type === "number") {
    if (input.minimum !== undefined) said.push(`at least ${input.minimum}`);
    if (input.maximum !== undefined) said.push(`at most ${input.maximum}`);
  }
  if (input.default !== undefined) said.push(`default ${String(input.default)}`);
  if (input.description !== undefined) said.push(input.description);
  return said.join(", ").slice(0, 1500);
}
