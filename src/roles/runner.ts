import type { Socket } from "node:net";
import { ENGINES, type Engine } from "../core/engines.ts";
import { SallyportError } from "../core/errors.ts";
import type { HostFacts } from "../core/host-facts.ts";
import { Secret, wipeAll } from "../core/secret.ts";
import { type EngineReport, testEngines } from "../exec/engines.ts";
import { makeGrant } from "../exec/grant.ts";
import { type Launcher, openLauncher, type Run } from "../exec/launch.ts";
import { withEngine } from "../exec/oci.ts";
import { ownProfile, Profiles } from "../exec/profiles.ts";
import { withResources } from "../exec/resources.ts";
import { canceledEarly, launchFailed, type RunResult } from "../exec/result.ts";
import type { RunHandlers } from "../exec/run.ts";
import { withRuntime } from "../exec/runtime.ts";
import { NO_CGROUP, type SelfTest, selfTest } from "../exec/selftest.ts";
import { readHostFacts } from "../host/facts.ts";
import { type HostResource, HostResources } from "../host/resources.ts";
import { confineRole, inheritedFd, keeperSocket, roleOptions } from "../host/role.ts";
import { VERSION } from "../host/self.ts";
import type { Connection } from "../wire/connection.ts";
import type { Message, MessageOf } from "../wire/messages.ts";
import { connectToKeeper } from "./to-keeper.ts";

/** More at once are refused: the keeper queues, by each Op's own bound. */
const MAX_RUNS = 32;
/** While the keeper has so much unread from us, the pipes of Ops that write are not read. */
const BACKLOG_BYTES = 1024 * 1024;

const UNTOLD = { limits: "required", runtimes: "", engine: "native", resources: "[]" };

/**
 * The runner: takes orders from the keeper, has the launcher run them, sends back what they say and how they ended.
 * Ends with 0 when the keeper ends the connection, with 1 when something went wrong in it or the launcher ended; no run is
 * left either way.
 */
export async function main(argv: string[]): Promise<number> {
  const { limits, runtimes, engine, resources } =
    argv.length === 0 ? UNTOLD : roleOptions(argv, ["limits", "runtimes", "engine", "resources"] as const);
  const keeper = keeperSocket();
  const launcherFd = inheritedFd("SALLYPORT_LAUNCHER_FD");
  if (keeper === null || launcherFd === null)
    throw new SallyportError("usage", "The runner is started by sallyport itself, through the launcher.");
  const landlock = confineRole();
  return new Runner(openLauncher(launcherFd), keeper, {
    limitsRequired: limits === "required",
    runtimes,
    engine: engineOf(engine),
    resources: HostResources.parse(JSON.parse(resources)),
    landlock,
  }).serve();
}

class Runner {
  readonly #launcher: Launcher;
  readonly #keeper: Connection;
  readonly #profiles: Profiles;
  readonly #runs = new Map<string, Pick<Run, "cancel">>();
  readonly #over = Promise.withResolvers<number>();
  #refusal: string | null = "The self-test has not finished yet.";

  readonly #limitsRequired: boolean;
  /** Directory of imported root file systems. */
  readonly #runtimes: string;
  readonly #resources: readonly HostResource[];
  readonly #landlock: string;
  readonly #engine: Engine;
  #engines: Promise<readonly EngineReport[]> = Promise.resolve([]);
  #testing = false;

  constructor(
    launcher: Launcher,
    stream: Socket,
    {
      limitsRequired,
      runtimes,
      engine,
      resources,
      landlock,
    }: {
      limitsRequired: boolean;
      runtimes: string;
      engine: Engine;
      resources: readonly HostResource[];
      landlock: string;
    },
  ) {
    this.#landlock = landlock;
    this.#engine = engine;
    this.#launcher = launcher;
    this.#profiles = new Profiles(launcher);
    this.#limitsRequired = limitsRequired;
    this.#runtimes = runtimes;
    this.#resources = resources;
    this.#keeper = connectToKeeper({
      stream,
      self: "runner",
      onMessage: (message, parts) => this.#receive(message, parts),
      onEnd: this.#over.resolve,
    });
  }

  async serve(): Promise<number> {
    void this.#launcher.ended.then((why) => {
      process.stderr.write(`runner: the launcher has ended: ${why}\n`);
      this.#over.resolve(1);
    });
    this.#keeper.send({ type: "role.hello", version: VERSION, pid: process.pid, landlock: this.#landlock });
    void this.#test();
    const status = await this.#over.promise;
    // Every run dies when our end of the launcher's socket closes, with this process. Closed before, the launcher would
    // kill us as well, and our status would be lost.
    this.#keeper.close();
    return status;
  }

  /** One at a time: who asks during a test gets its answer. */
  async #test(): Promise<void> {
    if (this.#testing) return;
    this.#testing = true;
    try {
      const test = await Promise.race([selfTest(this.#launcher), this.#over.promise]);
      if (typeof test !== "number") this.#ready(test, readHostFacts(this.#landlock));
    } finally {
      this.#testing = false;
    }
  }

  #ready({ checks: tested, cgroup, degraded }: SelfTest, facts: HostFacts): void {
    const checks = tested.map((c) => ({ ...c }));
    if (this.#limitsRequired) checks.push(limitsCheck(cgroup));
    const ok = checks.every((c) => c.ok);
    this.#refusal = ok ? null : refusalOf(checks);
    this.#keeper.send({
      type: "runner.ready",
      ok,
      checks,
      cgroup,
      // Where limits are required nothing is degraded by their absence: no Op runs.
      degraded: degraded.filter((text) => !(this.#limitsRequired && text === NO_CGROUP)),
      facts,
      engine: this.#engine,
    });
    if (ok) void this.#tryEngines();
  }

  /** After Ops may run: a runtime that hangs must not keep native ones waiting. */
  async #tryEngines(): Promise<void> {
    this.#engines = testEngines(this.#launcher);
    const engines = (await this.#engines).map((report) => ({ ...report }));
    this.#keeper.send({ type: "runner.engines", engines });
  }

  #receive(message: Message, parts: Buffer[]): void {
    if (message.type === "run.order") void this.#order(message, parts);
    else if (message.type === "runner.test") void this.#test();
    else if (message.type === "profile.check") void this.#check(message.id, parts[0]!);
    else if (message.type === "run.cancel") this.#runs.get(message.run)?.cancel(message.reason === "lock");
  }

  #order(order: MessageOf<"run.order">, parts: Buffer[]): void {
    const { run, engine = "native" } = order;
    const [bundle, ...values] = parts;
    const secrets = values.map((value) => new Secret(value));
    const refused = this.#why(run);
    if (refused !== null) {
      wipeAll(secrets);
      this.#finish(run, launchFailed(refused));
    } else if (engine === "native") this.#launch(order, bundle!, secrets);
    else void this.#launchOnceTried(order, engine, bundle!, secrets);
  }

  /** Live from here on, so that a cancel finds it while its engine is still being tried. */
  async #launchOnceTried(
    order: MessageOf<"run.order">,
    engine: Engine,
    bundle: Buffer,
    secrets: readonly Secret[],
  ): Promise<void> {
    const { run } = order;
    const waiting = new Waiting();
    this.#runs.set(run, waiting);
    const fault = engineFault(engine, await this.#engines);
    this.#runs.delete(run);
    if (fault === null && !waiting.canceled) {
      this.#launch(order, bundle, secrets);
      return;
    }
    wipeAll(secrets);
    this.#finish(run, fault === null ? canceledEarly() : launchFailed(fault));
  }

  #launch(order: MessageOf<"run.order">, bundle: Buffer, secrets: readonly Secret[]): void {
    const { run } = order;
    let live: Run;
    try {
      const start = (program?: Uint8Array): Run => {
        const grant = makeGrant(order, bundle, secrets, this.#limitsRequired, program);
        const whole = withResources(
          withRuntime(grant, order, this.#runtimes),
          order.resources ?? [],
          this.#resources,
        );
        if ("outcome" in whole) return ended(whole);
        const spec = withEngine(whole.spec, order.engine);
        return this.#launcher.run({ ...whole, spec }, this.#handlers(run));
      };
      const profile = ownProfile(order, bundle);
      live = profile === null ? start() : this.#profiles.run(profile, start);
    } catch (error) {
      wipeAll(secrets);
      this.#finish(
        run,
        launchFailed(error instanceof SallyportError ? error.detail || error.message : `${error}`),
      );
      return;
    }
    if (live.begun === undefined) wipeAll(secrets);
    else void live.begun.then(() => wipeAll(secrets));
    this.#runs.set(run, live);
    void live.finished.then((result) => {
      this.#runs.delete(run);
      this.#finish(run, result);
    });
  }

  async #check(id: number, profile: Buffer): Promise<void> {
    const { ok, reason, notes } =
      this.#refusal === null
        ? await this.#profiles.check(profile)
        : { ok: false, reason: this.#refusal, notes: [] };
    this.#keeper.send({ type: "profile.checked", id, ok, reason, notes: [...notes] });
  }

  #why(run: string): string | null {
    if (this.#refusal !== null) return this.#refusal;
    if (this.#runs.has(run)) return "A run of this id is live already.";
    if (this.#runs.size >= MAX_RUNS)
      return `${MAX_RUNS} runs are live already; try again when one has ended.`;
    return null;
  }

  #handlers(run: string): RunHandlers {
    const keeper = this.#keeper;
    return {
      onStarted: () => keeper.send({ type: "run.started", run }),
      onOutput: (stream, bytes) => keeper.send({ type: "run.output", run, stream }, [bytes]),
      ready: () => (keeper.backlog > BACKLOG_BYTES ? keeper.drained() : null),
      onProgress: (text, percent) => keeper.send({ type: "run.progress", run, text, percent }),
      onSecret: (printed) => keeper.send({ type: "run.secret_seen", run, ...printed }),
      onDenied: (call, process) => keeper.send({ type: "run.denied", run, call, process }),
    };
  }

  #finish(run: string, result: RunResult): void {
    const { printed = [], ...rest } = result;
    this.#keeper.send({
      type: "run.finished",
      run,
      ...rest,
      denied: result.denied.map((d) => ({ ...d })),
      ...(printed.length === 0 ? {} : { printed: printed.map((p) => ({ ...p })) }),
    });
  }
}

/** A run whose engine is still being tried. */
class Waiting {
  canceled = false;

  cancel(): void {
    this.canceled = true;
  }
}

function engineOf(text: string): Engine {
  const engine = ENGINES.find((known) => known === text);
  if (engine === undefined) throw new SallyportError("usage", `There is no engine ${text}.`);
  return engine;
}

/** The keeper refuses it before anything is recorded; this is for an order that it gave before it knew. */
function engineFault(engine: Engine, reports: readonly EngineReport[]): string | null {
  const report = reports.find((r) => r.engine === engine);
  if (report?.ok === true) return null;
  return `The engine ${engine} can't be used on this host: ${report?.detail ?? "it was not tried"}.`;
}

/** A run that never began. */
function ended(result: RunResult): Run {
  return { finished: Promise.resolve(result), cancel: () => {} };
}

/** `limits: required` of sallyport.yaml. */
function limitsCheck(cgroup: "none" | "v1" | "v2"): { name: string; ok: boolean; detail: string } {
  const detail =
    cgroup === "none"
      ? "no cgroup bounds memory and processes. Give sallyport the memory and pids controllers: on cgroup v2 a delegated group (systemd-run --scope -p Delegate=yes sallyport serve, or Delegate=yes in its unit), on v1 start it as root. Or accept rlimits and watching instead: limits: best-effort in sallyport.yaml"
      : `by cgroup ${cgroup}`;
  return { name: "limits", ok: cgroup !== "none", detail };
}

function refusalOf(checks: readonly { name: string; ok: boolean; detail: string }[]): string {
  const first = checks.find((c) => !c.ok);
  return `The sandbox's self-test failed, so no Op runs. ${first?.name ?? ""}: ${first?.detail ?? ""}`.slice(
    0,
    500,
  );
}
