import { formatProof } from "../../audit/proof.ts";
import { entriesBundle, TILE_WIDTH } from "../../audit/tiles.ts";
import { type VerifyReport, verifyLog } from "../../audit/verify.ts";
import { SallyportError } from "../../core/errors.ts";
import { latestCheckpoint, listCheckpoints } from "../../store/checkpoints.ts";
import type { Caller } from "../callers.ts";
import { readLog } from "../log-view.ts";
import type { Session } from "../session.ts";
import { type Handlers, WithBytes } from "./command.ts";

const APPLIANCE = { kind: "appliance" } as const;
const BATCH = 500;

export const audit: Handlers = {
  "audit.log": async ({ session, caller, params }) => ({ entries: await readLog(session, caller, params) }),
  "audit.checkpoint": async ({ session, caller }) => {
    await session.access.demand(caller, "read_log", APPLIANCE);
    const checkpoint = await newest(session);
    return {
      size: checkpoint.size,
      root: checkpoint.root.toString("base64"),
      checkpoint: checkpoint.note,
      vkey: session.history.vkeys[0],
    };
  },
  "audit.export": async ({ session, caller, params }) => {
    await session.access.demand(caller, "read_log", APPLIANCE);
    const { size, note } = await newest(session);
    await session.store.mutate((tx) => {
      const data = { format: params.format, size };
      tx.log({ type: "log.exported", outcome: "success", actor: caller.actor, data });
    });
    return { size, checkpoint: note, origin: session.origin, vkeys: [...session.history.vkeys] };
  },
  "audit.entries": async ({ session, caller, params }) => {
    await session.access.demand(caller, "read_log", APPLIANCE);
    const { from, to } = params;
    if (to <= from || to - from > TILE_WIDTH)
      throw new SallyportError("input_invalid", `At most ${TILE_WIDTH} entries at once.`);
    const found = await session.store.log.entries(from, Math.min(to, session.store.log.size()));
    return new WithBytes({ from, count: found.length }, entriesBundle(found));
  },
  "audit.prove": async ({ session, caller, params }) => {
    await session.access.demand(caller, "read_log", APPLIANCE);
    const { index } = params;
    if (index >= session.store.log.size())
      throw new SallyportError("not_found", `Entry ${index}; the log has ${session.store.log.size()}.`);
    const { size, note } = await newest(session);
    const hashes = await session.store.log.inclusion(index, size);
    const proof = formatProof({ index, hashes, checkpoint: note });
    const data = { index, size, proof, origin: session.origin, vkey: session.history.vkeys[0] };
    return new WithBytes(data, await session.store.log.entry(index));
  },
  /** Recomputes the whole tree from the stored entries and holds it against every checkpoint that the notary signed. */
  "audit.verify": async ({ session, caller }) => {
    await session.access.demand(caller, "read_log", APPLIANCE);
    await session.checkpoints.now();
    const size = session.store.log.size();
    const report = await verifyLog({
      entries: entries(session, size),
      checkpoints: checkpoints(session, size),
      origin: session.origin,
      vkeys: [...session.history.vkeys],
      expect: session.history.state,
      nodes: session.store.log.nodes,
    });
    const { fork } = session.history;
    if (!report.ok || fork !== null) {
      const problem = unsound(report, fork);
      // Whether or not it can be recorded, what was found is told.
      await recordVerified(session, caller, { size, problem }).catch(() => undefined);
      throw new SallyportError("log_damaged", problem);
    }
    await recordVerified(session, caller, { size, problem: null });
    return {
      ok: true,
      size: report.size,
      root: report.root.toString("base64"),
      checkpoints: report.checkpoints,
      vkey: session.history.vkeys[0],
    };
  },
};

/** A checkpoint over all that is there now. */
async function newest(session: Session): Promise<{ size: number; root: Buffer; note: string }> {
  await session.checkpoints.now();
  const checkpoint = await latestCheckpoint(session.store.read);
  if (checkpoint === undefined) throw new SallyportError("not_found", "No checkpoint was signed yet.");
  return checkpoint;
}

function recordVerified(
  { store }: Session,
  { actor }: Caller,
  data: { size: number; problem: string | null },
): Promise<void> {
  return store.mutate((tx) => {
    const outcome = data.problem === null ? "success" : "failure";
    tx.log({ type: "log.verified", outcome, actor, data });
  });
}

/** Whatever the entries say: a log that the notary signed otherwise, or would not sign, is not sound. */
function unsound(report: VerifyReport, fork: string | null): string {
  const why = fork === null ? "" : `The notary holds another history than this database: ${fork} `;
  if (report.ok) return why.trimEnd();
  const { at, what } = report;
  return `${why}At ${at.entry === undefined ? `checkpoint ${at.checkpoint}` : `entry ${at.entry}`}: ${what}`;
}

async function* entries(session: Session, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < size; at += BATCH)
    yield* await session.store.log.entries(at, Math.min(at + BATCH, size));
}

/** Those up to a size: while the entries are read, the log grows and more is signed. */
async function* checkpoints(session: Session, size: number): AsyncGenerator<string> {
  let after = 0;
  for (;;) {
    const page = await listCheckpoints(session.store.read, { after, limit: BATCH });
    for (const checkpoint of page) {
      if (checkpoint.size > size) return;
      yield checkpoint.note;
    }
    if (page.length < BATCH) return;
    after = page.at(-1)!.size;
  }
}
