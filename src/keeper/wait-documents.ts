import { needText } from "../core/approvals.ts";
import { shortDigest } from "../core/digest.ts";
import { isAtLeast } from "../core/obligations.ts";
import type { Block, Document } from "../wire/document.ts";
import { argumentsOf, say } from "./documents.ts";
import type { RunView, WaitView } from "./run-types.ts";

const ARGS_CHARS = 1500;

/** What approvers are shown: what would run, for whom, and how far it is. Buttons while it waits. */
export function waitDocument(view: RunView, wait: WaitView): Document {
  const { row } = view;
  const name = `${row.namespace}/${row.op}`;
  const title = TITLES[row.state]?.(name) ?? `${name}: approved`;
  const rows: [string, string][] = [
    ["Run", row.id],
    ["By", view.requester],
    ...argumentRows(view),
    ["Version", String(row.version)],
    ["Digest", shortDigest(wait.digest)],
    ...wait.needs.map((need): [string, string] => ["Approval", progress(wait, need)]),
  ];
  if (wait.approved.length > 0) rows.push(["Approved by", wait.approved.join(", ").slice(0, 1500)]);
  if (row.state === "waiting") rows.push(["Until", until(wait)]);
  const blocks: Block[] = [
    { kind: "text", text: title },
    { kind: "fields", rows: rows.slice(0, 20) },
  ];
  for (const { reason } of wait.needs)
    if (reason !== "") blocks.push({ kind: "note", text: reason.slice(0, 1500) });
  if (isCut(view))
    blocks.push({
      kind: "note",
      text: `The arguments are longer; on the host: sallyport runs show ${row.id}`,
    });
  if (row.state === "waiting") {
    if (!isAtLeast(wait.reached, wait.confirm))
      blocks.push({ kind: "note", text: `${view.requester} has to confirm it too.` });
    blocks.push({
      kind: "buttons",
      buttons: [
        { id: "approve", label: "Approve", value: row.id, style: "primary" },
        { id: "deny", label: "Deny", value: row.id, style: "danger" },
      ],
    });
  } else if (row.reason !== null) blocks.push({ kind: "note", text: row.reason.slice(0, 1500) });
  return { summary: `${title} (${row.id})`.slice(0, 300), blocks: blocks.slice(0, 40) };
}

/** What the one who asked is told, alone. */
export function waitAnswer(view: RunView, wait: WaitView): Document {
  const { row } = view;
  const name = `${row.namespace}/${row.op}`;
  const fields: Block = {
    kind: "fields",
    rows: [
      ["Run", row.id],
      ...argumentRows(view),
      ["Digest", shortDigest(wait.digest)],
      ["Until", until(wait)],
    ],
  };
  const approvals: Block[] = wait.missing.map(({ need }) => ({
    kind: "note",
    text: `It waits for the approval of ${needText(need)}.`,
  }));
  if (isAtLeast(wait.reached, wait.confirm)) return say(`${name} waits for approval.`, fields, ...approvals);
  if (wait.confirm === "local")
    return say(
      `${name} waits for you to confirm it on the host. Type there:`,
      { kind: "code", text: `sallyport approve ${row.id}` },
      fields,
      ...approvals,
    );
  return say(`${name} waits for a one-time code of yours.`, fields, ...approvals, {
    kind: "buttons",
    buttons: [{ id: "approve", label: "Enter the code", value: row.id, style: "primary" }],
  });
}

const TITLES: Readonly<Partial<Record<string, (name: string) => string>>> = {
  waiting: (name) => `⏸ ${name} waits for approval`,
  denied: (name) => `✘ ${name} was denied`,
  expired: (name) => `⏱ ${name} was not approved in time`,
  canceled: (name) => `■ ${name} was canceled before it started`,
};

function progress(wait: WaitView, need: WaitView["needs"][number]): string {
  const left = wait.missing.find((one) => one.need.policy === need.policy);
  return `${needText(need)}: ${left === undefined ? "given" : `${left.have} of ${need.count}`}`.slice(
    0,
    1500,
  );
}

const argumentRows = (view: RunView): [string, string][] => {
  const args = argumentsOf(view);
  return args === "" ? [] : [["Arguments", args.slice(0, ARGS_CHARS)]];
};
const isCut = (view: RunView): boolean => argumentsOf(view).length > ARGS_CHARS;
const until = ({ expires }: WaitView): string => `${new Date(expires).toISOString().slice(0, 16)}Z`;
