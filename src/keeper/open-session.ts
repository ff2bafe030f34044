import type { Logger } from "pino";
import type { Authorizer } from "../core/authorizer.ts";
import type { ResourceModes } from "../core/resources.ts";
import { listIdentities } from "../store/identities.ts";
import { getVersion, type OpVersion } from "../store/ops.ts";
import { owe } from "../store/outbox.ts";
import type { RunRow } from "../store/runs.ts";
import { getSetting, getText, SETTINGS } from "../store/settings.ts";
import type { Store } from "../store/store.ts";
import type { Tx } from "../store/tx.ts";
import type { MessageOf } from "../wire/messages.ts";
import { Access, tryManifest } from "./access.ts";
import { Checkpoints } from "./checkpoints.ts";
import { Codes } from "./codes.ts";
import { runDocument } from "./documents.ts";
import { EgressClient } from "./egress.ts";
import { Enrolments } from "./enrolments.ts";
import { keepHouse } from "./housekeeping.ts";
import { joinCourier, joinEgress, joinGateway, joinNotary, joinRunner } from "./join-peers.ts";
import { LogDirectory } from "./log-directory.ts";
import { NotaryClient } from "./notary.ts";
import { Outbox } from "./outbox.ts";
import type { Peers } from "./peers.ts";
import { ProfileChecks } from "./profile-checks.ts";
import { finishRotations } from "./rotate-key.ts";
import { recoverRuns } from "./run-recovery.ts";
import { Runs } from "./runs.ts";
import { watchExpiry } from "./secret-expiry.ts";
import { Secrets } from "./secrets.ts";
import { type Session, sessionStatus } from "./session.ts";
import { SignedHistory } from "./signed-history.ts";
import type { SitePolicies } from "./site-policies.ts";
import { dispatchSlack } from "./slack-commands.ts";
import { SlackDesk } from "./slack-desk.ts";
import { VaultClient } from "./vaults.ts";
import { restoreWait } from "./wait-restore.ts";
import { Waits } from "./waits.ts";

type Options = {
  store: Store;
  peers: Peers;
  policies: SitePolicies;
  authorizer: Authorizer;
  /** The keeper's half of the notary's key-wrapping key; the caller wipes it. */
  half: Buffer;
  /** What wraps the namespaces' data keys; the caller wipes it. */
  wrapping: Buffer;
  logDir: string;
  egressSocket: string;
  resources: ResourceModes;
  /** Name to address. */
  vaults: ReadonlyMap<string, string>;
  openedBy: string;
  log: Logger;
};

const HEARTBEAT_MS = 300_000;

/** Builds what is there only while unlocked, in order: log and notary, then what a crash left, then Slack. */
export async function openSession(o: Options): Promise<Session> {
  const { store, peers, log } = o;
  const failed = (error: unknown) => log.error({ err: error }, "keeper");
  const notary = new NotaryClient(peers);
  peers.on("notary", { message: (message) => notary.receive(message), left: () => notary.lost() });
  const origin = (await getText(store.read, SETTINGS.origin)) ?? "sallyport";
  const access = new Access({ store, authorizer: o.authorizer, now: Date.now, resources: o.resources });
  const egress = new EgressClient({ store, peers, socket: o.egressSocket, failed });
  const vaults = new VaultClient({ store, peers, vaults: o.vaults });
  const secrets = new Secrets({ store, wrapping: o.wrapping, vaults });
  const runs = new Runs({ store, access, peers, egress, secrets, failed });
  const outbox = new Outbox({ store, peers, failed });
  const codes = new Codes({ store, now: Date.now });
  const waits = new Waits({ store, access, runs, codes, now: Date.now, failed });
  await logUnreadable(store, await o.policies.load());
  const half = Buffer.from(o.half);
  const history = new SignedHistory({
    store,
    ask: () => notary.open(origin, half),
    halt: (reason) => runs.halt(reason),
  });
  const reopen = () => history.ask();
  const from = await reopen();
  let slack: MessageOf<"slack.state"> | undefined;
  const session: Session = {
    store,
    access,
    peers,
    runs,
    waits,
    policies: o.policies,
    codes,
    enrolments: new Enrolments({ store, access, now: Date.now }),
    profiles: new ProfileChecks(peers),
    egress,
    secrets,
    vaults,
    outbox,
    notary,
    now: Date.now,
    openedAt: Date.now(),
    openedBy: o.openedBy,
    origin,
    history,
    slack: () => slack,
    team: async () =>
      slack === undefined ? null : { enterprise: slack.enterprise, team: slack.team, org: slack.org },
    connectSlack: () => {
      // What was reported under the tokens before says nothing about these.
      slack = undefined;
      return connectSlack(store, peers);
    },
    status: () => sessionStatus({ runs, store, policies: o.policies }),
    end: () => {
      clearInterval(heartbeat);
      stopHousekeeping();
      stopExpiry();
      session.desk.stop();
      waits.stop();
      outbox.stop();
    },
    desk: new SlackDesk({ store, peers, failed, dispatch: (request) => dispatchSlack(session, request) }),
    checkpoints: new Checkpoints({
      store,
      notary,
      directory: new LogDirectory({
        dir: o.logDir,
        log: store.log,
        origin,
        vkeys: () => history.vkeys,
        failed,
      }),
      from,
      signed: (signed) => log.info({ size: signed.size, checkpoint: signed.note }, "checkpoint"),
      reopen,
      refused: (refusal) => void history.refused(refusal).catch(failed),
      failed,
    }),
  };
  const heartbeat = setInterval(() => {
    store
      .mutate((tx) => {
        tx.log({ type: "log.heartbeat", outcome: "success", actor: { kind: "system" } });
      })
      .catch(failed);
  }, HEARTBEAT_MS);
  heartbeat.unref();
  const stopHousekeeping = keepHouse(store, failed);
  const stopExpiry = watchExpiry(store, failed);
  joinRunner(session, failed);
  joinNotary(session, failed);
  joinEgress(session, failed);
  joinCourier(session, failed);
  joinGateway(session, failed, (state) => {
    slack = state;
  });
  try {
    session.checkpoints.start();
    await recover(session, failed);
    // What a kill left under a retired key.
    void finishRotations(store, secrets).catch(failed);
    if (peers.selfTest !== undefined) runs.receive(peers.selfTest, []);
    if (peers.engines !== undefined) runs.receive(peers.engines, []);
    session.desk.start();
    await session.connectSlack();
    await vaults.joined();
    return session;
  } catch (error) {
    session.end();
    session.checkpoints.abandon();
    throw error;
  }
}

async function logUnreadable(store: Store, versions: readonly OpVersion[]): Promise<void> {
  if (versions.length === 0) return;
  await store.mutate((tx) => {
    for (const { namespace, name } of versions)
      tx.log({ type: "op.unreadable", outcome: "failure", actor: { kind: "system" }, namespace, op: name });
  });
}

async function recover(session: Session, failed: (error: unknown) => void): Promise<void> {
  await session.outbox.recover();
  const tell = async (tx: Tx, row: RunRow) => {
    const version = await getVersion(tx, row.namespace, row.op, row.version);
    const manifest = version === undefined ? null : tryManifest(version);
    if (manifest === null) return;
    // Only the person may see what was private; a message to a user's id goes to that person's direct messages.
    const isPrivate = manifest.reply === "private" || row.channel === null;
    const channel = isPrivate ? (await listIdentities(tx, row.requester))[0]?.user : row.channel;
    if (row.source !== "slack" || channel === undefined || channel === null) return;
    const shown = runDocument({ row, manifest, requester: "" }, { chunks: [], bytes: 0 });
    await owe(tx, {
      nonce: `${row.id}:lost`,
      kind: "post",
      channel,
      run: row.id,
      ...(isPrivate || row.requestId === null ? {} : { target: row.requestId }),
      doc: JSON.stringify(shown.document),
      ...(row.thread === null || isPrivate ? {} : { thread: row.thread }),
    });
  };
  const restore = (row: RunRow) => restoreWait(session, row);
  await recoverRuns(session.store, { restore, tell, failed });
  await session.desk.recover();
}

async function connectSlack(store: Store, peers: Peers): Promise<boolean> {
  const app = await getSetting(store.read, SETTINGS.slackApp);
  const bot = await getSetting(store.read, SETTINGS.slackBot);
  if (app === undefined || bot === undefined) return false;
  const sent = peers.send("gateway", { type: "gateway.connect" }, [app, bot]);
  app.fill(0);
  bot.fill(0);
  return sent;
}
