import { checkArgs } from "../core/args.ts";
import { asSallyportError } from "../core/errors.ts";
import { channelKindOf } from "../core/identity.ts";
import type { RunRow } from "../store/runs.ts";
import { getUser } from "../store/users.ts";
import { getWait, listVerdicts } from "../store/waits.ts";
import { recall } from "./callers.ts";
import { Presenter } from "./presenter.ts";
import { RunOutput } from "./run-output.ts";
import type { Ending } from "./run-record.ts";
import type { Session } from "./session.ts";
import { asItWasAsked, CLOCK_SLACK_MS, waitView } from "./wait-plan.ts";

/**
 * A run that was asked for in Slack waits on after a restart; whoever waited at a terminal is gone with it. Returns how it
 * ends where it can't wait on.
 */
export async function restoreWait(session: Session, row: RunRow): Promise<Ending | null> {
  try {
    return await restore(session, row);
  } catch (error) {
    const known = asSallyportError(error);
    if (known.code === "internal") throw error;
    return withdrawn(known.message);
  }
}

const withdrawn = (why: string): Ending => ({
  state: "canceled",
  reason: `Withdrawn: ${why}`,
  code: "withdrawn",
});

async function restore(session: Session, row: RunRow): Promise<Ending | null> {
  const { store, access, outbox, runs } = session;
  const wait = await getWait(store.read, row.id);
  if (wait === undefined || row.source !== "slack" || wait.slackUser === null)
    return withdrawn("Whoever waited for it at the terminal is gone.");
  if (session.now() < wait.created - CLOCK_SLACK_MS)
    return withdrawn("The host's clock was set back behind the time when it was asked for.");
  // Said, and then nothing more was recorded.
  const denied = (await listVerdicts(store.read, row.id)).find(({ verdict }) => verdict === "denied");
  if (denied !== undefined) {
    const name = (await getUser(store.read, denied.userId))?.name ?? "";
    return { state: "denied", reason: `Denied by ${name}.`, code: "denied" };
  }
  const op = await access.activeOp(store.read, row.namespace, row.op);
  if (op === undefined || op.version.digest !== row.digest)
    return withdrawn("Another version was activated, or none is.");
  const channel = row.channel === null ? null : { id: row.channel, kind: channelKindOf(row.channel) };
  const { slackUser } = wait;
  const origin = { source: "slack", standing: "member", channel, slackUser } as const;
  const caller = await recall(store.read, { id: row.requester, ...origin });
  const args = checkArgs(op.manifest, JSON.parse(row.args) as Record<string, unknown>);
  const bound = await asItWasAsked(store.read, wait, { caller, op, args });
  if (bound === null) return withdrawn("What would run is not what was asked for.");
  const listener = new Presenter({
    outbox,
    request: {
      id: row.requestId ?? row.id,
      identity: { enterprise: null, team: "", user: slackUser },
      channel: row.channel === null ? null : { id: row.channel, kind: "unknown" },
      thread: row.thread,
    },
  });
  runs.adopt({
    view: {
      row,
      manifest: op.manifest,
      requester: caller.principal.name,
      wait: await waitView(access, store.read, { row, op, wait }),
    },
    op,
    caller,
    args,
    ...bound,
    listener,
    output: new RunOutput(row.id, op.manifest.limits.outputBytes),
    denied: new Set(),
    printed: new Set(),
    waiting: true,
    started: false,
    ending: false,
    cancelWanted: false,
  });
  return null;
}
