import { needText } from "../../core/approvals.ts";
import { shortDigest } from "../../core/digest.ts";
import { SallyportError } from "../../core/errors.ts";
import { getRun, type RunRow, readOutput } from "../../store/runs.ts";
import { getUser } from "../../store/users.ts";
import { listVerdicts } from "../../store/waits.ts";
import { readableOp } from "../find-op.ts";
import type { RunView } from "../run-types.ts";
import type { Session } from "../session.ts";
import { mayReadOutput, mayShow, visibleRuns } from "../visible-runs.ts";
import { type CommandContext, type Handlers, WithBytes } from "./command.ts";

export const runs: Handlers = {
  run: async ({ session, caller, params, output, onGone }) => {
    const end = Promise.withResolvers<RunView>();
    // It may fail before `request` has returned and somebody waits for it.
    end.promise.catch(() => undefined);
    let running: string | undefined;
    let isGone = false;
    const cancel = () => {
      isGone = true;
      if (running !== undefined) session.runs.cancel(caller, running).catch(() => undefined);
    };
    onGone(cancel);
    const view = await session.runs.request({
      caller,
      op: params.op,
      args: params.tokens,
      ...(params.breakGlass === undefined ? {} : { breakGlass: params.breakGlass }),
      listener: {
        output,
        waited: (view) => output("notice", Buffer.from(waitNotice(view))),
        ended: end.resolve,
        unrecorded: (_, error) => end.reject(error),
      },
    });
    running = view.row.id;
    if (isGone) cancel();
    return describe(session, (await end.promise).row);
  },
  "run.waiting": async ({ session, caller, params }) => {
    const live = session.runs.waiting().find(({ view }) => view.row.id === params.run);
    if (live === undefined || !(await isVisible({ session, caller }, live.view.row)))
      return session.runs.notWaiting(caller, params.run);
    const { wait, requester } = live.view;
    return {
      ...((await describe(session, live.view.row)) as object),
      requester,
      own: live.view.row.requester === caller.id,
      summary: live.op.manifest.summary,
      digest: wait?.digest,
      shortDigest: shortDigest(wait?.digest ?? ""),
      confirm: wait?.confirm,
      reached: wait?.reached,
      needs: wait?.needs.map((need) => ({ policy: need.policy, needs: needText(need), reason: need.reason })),
      approved: wait?.approved,
      expires: new Date(wait?.expires ?? 0).toISOString(),
    };
  },
  "run.approve": async ({ session, caller, params }) => {
    const { live, state } = await session.waits.approve(caller, params.run, { digest: params.digest });
    return { run: params.run, answer: state, state: live.view.row.state };
  },
  "run.deny": async ({ session, caller, params }) => {
    const { live, state } = await session.waits.deny(caller, params.run);
    return { run: params.run, answer: state, state: live.view.row.state };
  },
  "run.cancel": async ({ session, caller, params }) => {
    await session.runs.cancel(caller, params.run);
    return { run: params.run };
  },
  "run.list": async ({ session, caller, params }) => {
    const { access, store, runs } = session;
    const { limit = 50, before } = params;
    const rows = await visibleRuns({ access, reader: store.read, runs }, caller, { limit, before });
    return { runs: await Promise.all(rows.map((row) => describe(session, row))) };
  },
  "run.show": async ({ session, caller, params }) => {
    const row = await getRun(session.store.read, params.run);
    if (row === undefined || !(await isVisible({ session, caller }, row))) {
      // The same answer and the same event, whether it is not there or not theirs to see.
      if (!session.access.may(caller, "read_log", { kind: "appliance" }))
        await session.access.hidden(caller, "show", `run ${params.run}`);
      throw new SallyportError("not_found", `Run ${params.run}.`);
    }
    const { access, store } = session;
    const op = await readableOp(access, store.read, { namespace: row.namespace, name: row.op });
    const isRead = await mayReadOutput(access, store.read, caller, row, op);
    const chunks = isRead ? await readOutput(store.read, row.id, { limitBytes: 8 * 1024 * 1024 }) : [];
    const spoken = await verdictsOf(session, row.id);
    const shown = {
      ...((await describe(session, row)) as object),
      ...(spoken.length === 0 ? {} : { approvals: spoken }),
    };
    return new WithBytes(shown, Buffer.concat(chunks.map((chunk) => chunk.bytes)));
  },
};

function waitNotice({ row, wait }: RunView): string {
  const approved =
    wait === undefined || wait.approved.length === 0 ? "" : ` Approved by ${wait.approved.join(", ")}.`;
  const left = wait?.missing.map(({ need, have }) => `${needText(need)} (${have} of ${need.count})`) ?? [];
  if (left.length === 0) return `${row.id}: approved.${approved}\n`;
  return `${row.id} waits for the approval of ${left.join(" and of ")}, digest ${shortDigest(wait?.digest ?? "")}.${approved}\n`;
}

async function isVisible(
  { session, caller }: Pick<CommandContext<"run.show">, "session" | "caller">,
  row: RunRow,
): Promise<boolean> {
  const { access, store } = session;
  const op = await readableOp(access, store.read, { namespace: row.namespace, name: row.op });
  return mayShow(access, store.read, caller, row, op);
}

/** Who approved or denied it, how and from where, in that order. */
function verdictsOf({ store }: Session, run: string): Promise<object[]> {
  return listVerdicts(store.read, run).then((all) =>
    Promise.all(
      all.map(async ({ userId, verdict, reached, source, created }) => ({
        by: (await getUser(store.read, userId))?.name ?? userId,
        verdict,
        confirmed: reached,
        from: source,
        at: new Date(created).toISOString(),
      })),
    ),
  );
}

async function describe(session: Session, row: RunRow): Promise<unknown> {
  const iso = (ms: number | null) => (ms === null ? null : new Date(ms).toISOString());
  return {
    run: row.id,
    op: `${row.namespace}/${row.op}`,
    version: row.version,
    digest: row.digest,
    args: JSON.parse(row.args) as unknown,
    requester: (await getUser(session.store.read, row.requester))?.name ?? row.requester,
    source: row.source,
    channel: row.channel,
    state: row.state,
    ...(row.breakGlass === null ? {} : { breakGlass: row.breakGlass }),
    exit: row.exit,
    signal: row.signal,
    reason: row.reason,
    requested: iso(row.created),
    started: iso(row.started),
    ended: iso(row.ended),
    durationMs: row.durationMs,
    outputBytes: row.outputBytes,
    usage: row.usage === null ? null : (JSON.parse(row.usage) as unknown),
  };
}
