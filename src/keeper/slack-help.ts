import type { Document } from "../wire/document.ts";
import type { ActiveOp } from "./access.ts";
import type { Caller } from "./callers.ts";
import { say } from "./documents.ts";
import { visibleOps } from "./find-op.ts";
import type { Session } from "./session.ts";

/** What `/ops help` and `/ops list` tell: what this person can do where they ask, and nothing else. */

const ABOUT = "sallyport runs your team's Ops on its own host.";
const HELP = {
  list: ["/ops list", "the Ops that you may run here"],
  run: ["/ops run OP [--INPUT VALUE ...]", "run one"],
  show: ["/ops show OP or RUN", "what an Op takes, or how a run went"],
  log: ["/ops log [OP]", "who ran what"],
  approve: ["/ops approve RUN", "approve a run of somebody else's, or confirm your own"],
  deny: ["/ops deny RUN", "say no to it"],
  cancel: ["/ops cancel RUN", "end a run"],
  whoami: ["/ops whoami", "who sallyport takes you for"],
  link: ["/ops link", "link this Slack account to a user of the appliance"],
  status: ["/ops status", "how the appliance is"],
} as const;
type Verb = keyof typeof HELP;

/** A list in Slack holds no more. */
const LISTED = 60;
const IN_HELP = 10;

export async function helpDocument(session: Session, caller: Caller): Promise<Document> {
  const ops = await visibleOps(session.access, session.store.read, caller);
  const verbs: Verb[] = ["list"];
  if (ops.length > 0) verbs.push("run", "show", "log");
  if (await maySpeak(session, caller, ops)) verbs.push("approve", "deny");
  if (ops.length > 0) verbs.push("cancel");
  verbs.push("whoami", "status");
  const more = ops.length - IN_HELP;
  return say(
    ABOUT,
    commands(verbs),
    ...(ops.length === 0 ? [] : [listOf(ops.slice(0, IN_HELP))]),
    ...(more > 0 ? [{ kind: "note", text: `and ${more} more: /ops list` } as const] : []),
  );
}

/** For somebody without a user, who can be linked and nothing else. */
export function unlinkedHelp(): Document {
  return say(ABOUT, commands(["link", "whoami"]));
}

export async function listDocument(session: Session, caller: Caller): Promise<Document> {
  const ops = await visibleOps(session.access, session.store.read, caller);
  if (ops.length === 0) return say("There is no Op that you may run here.");
  const more = ops.length - LISTED;
  return say(
    `${ops.length === 1 ? "One Op" : `${ops.length} Ops`} that you may run here:`,
    listOf(ops.slice(0, LISTED)),
    ...(more > 0
      ? [{ kind: "note", text: `and ${more} more; /ops show OP tells of any of them` } as const]
      : []),
  );
}

/** Whether there is something to confirm or approve: an Op that asks for it, or a run that waits for this person. */
async function maySpeak(
  { access, store, runs }: Session,
  caller: Caller,
  ops: readonly ActiveOp[],
): Promise<boolean> {
  if (ops.some(({ manifest }) => manifest.approval !== null || manifest.confirm !== "none")) return true;
  for (const { view, op } of runs.waiting()) {
    if (view.row.requester === caller.id) return true;
    if (access.may(caller, "approve", await access.runResource(store.read, view.row, op))) return true;
  }
  return false;
}

const commands = (verbs: readonly Verb[]) => ({
  kind: "list" as const,
  items: verbs.map((verb) => ({ title: HELP[verb][0], detail: HELP[verb][1] })),
});

const listOf = (ops: readonly ActiveOp[]) => ({
  kind: "list" as const,
  items: ops.map(({ row, manifest }) => ({ title: row.name, detail: manifest.summary.slice(0, 1500) })),
});
