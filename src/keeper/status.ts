import { existsSync, statfsSync } from "node:fs";
import { join } from "node:path";
import { asSallyportError } from "../core/errors.ts";
import { VERSION } from "../host/self.ts";
import { readSlots } from "../keys/keyring.ts";
import { DAMAGED_ADVICE } from "../store/failures.ts";
import type { Store } from "../store/store.ts";
import type { Appliance } from "./appliance.ts";
import type { Caller } from "./callers.ts";
import { type Check, confinements, roleChecks, sandboxChecks } from "./doctor-checks.ts";
import { type Expiring, expiring } from "./secret-expiry.ts";
import { type Session, storedStatus } from "./session.ts";
import { STATE_FILES } from "./state-dir.ts";

/** What `sallyport status` tells; while sealed only what needs no key. */
export async function applianceStatus(appliance: Appliance, caller: Caller | null): Promise<unknown> {
  const { session } = appliance;
  const base = {
    version: VERSION,
    state: session === undefined ? "sealed" : "unlocked",
    failedUnlocks: appliance.failedUnlocks,
    lostWhileSealed: appliance.lostWhileSealed,
    outputs: appliance.outputs,
    roles: Object.fromEntries(
      appliance.roles.map((role) => [role, role === "keeper" || appliance.peers.has(role)]),
    ),
    /** A role without Landlock is held by its seccomp filter alone: as the same account it could open what is the keeper's. */
    landlock: Object.fromEntries(appliance.roles.map((role) => [role, appliance.peers.landlock(role)])),
    /** As the kernel tells of each process. */
    confinement: confinements(appliance.peers, appliance.roles),
    /** What may start Ops besides the launcher itself; null until the runner has tried them. */
    engines: enginesOf(appliance),
    /** In `serve` the roles share one account, so the kernel can't tell them apart by uid (DESIGN section 2). */
    rolesToldApartByUid: false,
    lockedByPerson: existsSync(join(appliance.dirs.state, "locked")),
    slack: slackStatus(appliance),
  };
  if (session === undefined) return base;
  const stored = await storedStatus(session.store);
  return {
    ...base,
    unlockedBy: session.openedBy,
    since: new Date(session.openedAt).toISOString(),
    ...session.status(),
    checkpoint: stored.checkpoint,
    secretsExpiring: caller === null ? [] : await expiringFor(session, caller),
    /** P8: without a sink outside this host, whoever rolls back state and log directory together goes unseen. */
    sinks: [],
    rollbackCouldGoUnseen: true,
  };
}

function enginesOf({ peers }: Appliance): unknown {
  if (peers.engines === undefined) return null;
  return { default: peers.selfTest?.engine ?? "native", found: peers.engines.engines };
}

/** Those that this person could do something about. */
async function expiringFor({ access, store, now }: Session, caller: Caller): Promise<Expiring[]> {
  const found: Expiring[] = [];
  for (const { namespace: name, ...told } of await expiring(store.read, now())) {
    const namespace = await access.namespace(store.read, name);
    if (access.may(caller, "manage_secret", { kind: "namespace", namespace })) found.push(told);
  }
  return found;
}

export function slackStatus(appliance: Appliance): unknown {
  const { session } = appliance;
  if (session === undefined) return { connected: false, reason: "sealed: the gateway is not connected" };
  const state = session.slack();
  if (state === undefined)
    return { connected: false, reason: "no tokens yet, or the gateway has not answered" };
  return {
    connected: state.connections > 0,
    connections: state.connections,
    team: state.team,
    teamName: state.teamName,
    enterprise: state.enterprise,
    botUser: state.botUser,
    reason: state.error,
  };
}

/** It reads the whole file, on a connection and a thread of its own; a large one is not read to its end. */
const DATABASE_MS = 10_000;
let reading: Promise<Check> | undefined;

/** A damaged page is otherwise met only when somebody needs what is on it. Who asks while it is being read hears the same. */
function checkDatabase(store: Store): Promise<Check> {
  reading ??= readDatabase(store).finally(() => {
    reading = undefined;
  });
  return reading;
}

async function readDatabase(store: Store): Promise<Check> {
  const name = "database";
  try {
    const problems = await store.integrity("quick", DATABASE_MS);
    const problem = problems[0]?.slice(0, 300);
    if (problem === undefined) return { name, ok: true, detail: "every page is well formed" };
    // What was found is told whether or not such a database still takes an entry.
    await store
      .mutate((tx) => {
        const actor = { kind: "system" } as const;
        tx.log({ type: "database.damaged", outcome: "failure", actor, data: { problem } });
      })
      .catch(() => undefined);
    return { name, ok: false, detail: `${problem} ${DAMAGED_ADVICE}` };
  } catch (error) {
    const { code, message } = asSallyportError(error);
    return { name, ok: code === "timeout", detail: message };
  }
}

/** Each check says fine, or what to do. */
export async function doctor(appliance: Appliance): Promise<{ ok: boolean; checks: Check[] }> {
  const checks: Check[] = [];
  const add = (name: string, ok: boolean, detail: string) => checks.push({ name, ok, detail });
  try {
    const { slots } = readSlots(join(appliance.dirs.state, STATE_FILES.keyring));
    add("keyring", true, `${slots.length} slots`);
  } catch (error) {
    add("keyring", false, error instanceof Error ? error.message : String(error));
  }
  if (appliance.session !== undefined) {
    checks.push(await checkDatabase(appliance.session.store));
    const { unreadable } = appliance.session.policies;
    add(
      "site policies",
      unreadable === null,
      unreadable === null
        ? "all that are in force can be read"
        : `no Op runs, since they can't be read: ${unreadable} Replace or remove what is named there: sallyport policy list`,
    );
  }
  const disk = statfsSync(appliance.dirs.state);
  const free = Number(disk.bavail) * Number(disk.bsize);
  add(
    "disk",
    free > 256 * 1024 * 1024,
    `${Math.floor(free / 1024 / 1024)} MiB free in the state directory; at least 256 MiB are wanted`,
  );
  for (const role of appliance.roles) {
    if (role === "keeper") continue;
    add(
      role,
      appliance.peers.has(role),
      appliance.peers.has(role) ? "connected" : "not connected: see the output of serve",
    );
  }
  for (const role of appliance.roles) {
    const landlock = appliance.peers.landlock(role);
    if (landlock === null) continue;
    const applied = landlock.startsWith("abi=");
    add(
      `${role}: Landlock`,
      applied,
      applied
        ? landlock
        : `${landlock}: only its system calls are confined, not its files; use a kernel of 5.13 or newer with landlock in /sys/kernel/security/lsm, and a container that allows it`,
    );
  }
  checks.push(...roleChecks(appliance.peers, appliance.roles));
  checks.push(...sandboxChecks(await appliance.selfTests.again(), appliance.peers.has("runner")));
  for (const { engine, path, version, ok, detail } of appliance.peers.engines?.engines ?? []) {
    // One that nobody relies on is no failure; the default is relied on by every Op.
    const relied = appliance.peers.selfTest?.engine === engine;
    const state =
      path === null ? detail : `${path} (${version}): ${ok ? "passed its self-test" : "not usable"}`;
    add(`engine ${engine}`, ok || !relied, path === null || detail === "" ? state : `${state}; ${detail}`);
  }
  return { ok: checks.every((check) => check.ok), checks };
}
