import type { SlackIdentity } from "../core/identity.ts";
import { latestCheckpoint } from "../store/checkpoints.ts";
import { getText, SETTINGS } from "../store/settings.ts";
import type { Store } from "../store/store.ts";
import type { MessageOf } from "../wire/messages.ts";
import type { Access } from "./access.ts";
import type { Checkpoints } from "./checkpoints.ts";
import type { Codes } from "./codes.ts";
import type { EgressClient } from "./egress.ts";
import type { Enrolments } from "./enrolments.ts";
import type { NotaryClient } from "./notary.ts";
import type { Outbox } from "./outbox.ts";
import type { Peers } from "./peers.ts";
import type { ProfileChecks } from "./profile-checks.ts";
import type { Runs } from "./runs.ts";
import type { Secrets } from "./secrets.ts";
import type { SignedHistory } from "./signed-history.ts";
import type { SitePolicies } from "./site-policies.ts";
import type { SlackDesk } from "./slack-desk.ts";
import type { VaultClient } from "./vaults.ts";
import type { Waits } from "./waits.ts";

/** Everything that exists only while the appliance is unlocked. */
export type Session = {
  store: Store;
  access: Access;
  peers: Peers;
  runs: Runs;
  waits: Waits;
  policies: SitePolicies;
  codes: Codes;
  enrolments: Enrolments;
  profiles: ProfileChecks;
  egress: EgressClient;
  secrets: Secrets;
  vaults: VaultClient;
  outbox: Outbox;
  desk: SlackDesk;
  notary: NotaryClient;
  checkpoints: Checkpoints;
  now: () => number;
  openedAt: number;
  openedBy: string;
  origin: string;
  /** What the notary signed, and with which keys. */
  history: SignedHistory;
  /** What the gateway reported last. */
  slack: () => MessageOf<"slack.state"> | undefined;
  /** The workspace, or with `org` the organisation, that the tokens belong to, as auth.test told; null before the first connection. */
  team: () => Promise<(Pick<SlackIdentity, "enterprise"> & { team: string | null; org: boolean }) | null>;
  /** Sends the tokens to the gateway, where both are there. */
  connectSlack: () => Promise<boolean>;
  status: () => SessionStatus;
  /** Ends its timers and listeners. */
  end: () => void;
};

export type SessionStatus = {
  running: number;
  halted: string | null;
  sandbox: string;
  /** Why the site's own policies don't count; null: they do. */
  policiesUnreadable: string | null;
  logSize: number;
  writable: boolean;
  problem: string | null;
};

export function sessionStatus(session: Pick<Session, "runs" | "store" | "policies">): SessionStatus {
  const { writable, problem, logSize } = session.store.status();
  const test = session.runs.selfTest;
  const failed = test?.checks.filter((check) => !check.ok).map((check) => check.name) ?? [];
  return {
    running: session.runs.running,
    halted: session.runs.halted ?? null,
    policiesUnreadable: session.policies.unreadable,
    sandbox:
      test === undefined
        ? "not tested yet"
        : test.ok
          ? [`tested, limits by ${limitedBy(test.cgroup)}`, ...test.degraded].join("; degraded: ")
          : `failed: ${failed.join(", ")}; sallyport doctor says what to do`,
    logSize,
    writable,
    problem,
  };
}

const limitedBy = (cgroup: "v2" | "v1" | "none"): string =>
  cgroup === "none" ? "rlimits and watching" : `cgroup ${cgroup}`;

/** Size and time of the last checkpoint, and the workspace, for `status`. */
export async function storedStatus(
  store: Store,
): Promise<{ checkpoint: number | null; team: string | null }> {
  const checkpoint = await latestCheckpoint(store.read);
  return {
    checkpoint: checkpoint?.size ?? null,
    team: (await getText(store.read, SETTINGS.slackTeam)) ?? null,
  };
}
