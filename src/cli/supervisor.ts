import { type ChildProcess, spawn } from "node:child_process";
import { constants, mkdirSync, openSync, rmSync } from "node:fs";
import { Socket } from "node:net";
import { join } from "node:path";
import type { Logger } from "pino";
import { SallyportError } from "../core/errors.ts";
import type { Dirs } from "../host/dirs.ts";
import { harden } from "../host/harden.ts";
import { copyOf, listenUnix } from "../host/listen.ts";
import { openProgram } from "../host/program.ts";
import { LOCKED_EXIT } from "../host/role.ts";
import { selfExec } from "../host/self.ts";
import { EGRESS_SOCKET } from "../keeper/egress.ts";
import { exitOf, KeeperFailed, notStarted } from "./child.ts";
import { encodeRole, ROLE_FD, type RoleName, type RoleSite, roleConfinement } from "./role-confinement.ts";

type PeerName = Exclude<RoleName, "keeper">;
const PEERS: readonly PeerName[] = ["notary", "egress", "runner", "gateway", "courier"];

const MAX_DEATHS = 5;
const DEATHS_MS = 60_000;
const STOP_MS = 1500;
const START_MS = 15_000;
const KEEPER_GRACE_MS = 300;

/** A child opens the launcher by number, after the numbers above, and two more, were put in place. */
const LAUNCHER_FROM = 16;

type Running = { role: RoleName; child: ChildProcess };

/**
 * Starts the roles as confined children, hands the keeper the other end of each role's socket pair, and restarts what dies,
 * saying so; five deaths in 60 s end everything. After a SIGKILL of this process the kernel ends the roles (PDEATHSIG).
 */
export class Supervisor {
  readonly #site: RoleSite;
  readonly #log: Logger;
  readonly #launcher: number;
  readonly #running = new Map<RoleName, Running>();
  readonly #deaths: number[] = [];
  /** Made here, so that egress needs no right to make a socket, and kept, so that the one after it takes over. */
  #egressListener: number | undefined;
  #toKeeper: { notify: Socket; handover: number } | undefined;
  #stopping = false;
  #keeperReady = false;
  #ended: (status: number) => void = () => undefined;
  readonly ended: Promise<number>;

  constructor(o: {
    dirs: Dirs;
    slackApiUrl: string;
    gatewayArgs?: readonly string[];
    limits: string;
    /** Directory of imported root file systems. */
    runtimes: string;
    /** Blocks of addresses that are not public and that Ops may be let through to. */
    private: readonly string[];
    /** What starts an Op that names no engine. */
    engine: string;
    resources: RoleSite["resources"];
    vaults: RoleSite["vaults"];
    log: Logger;
  }) {
    this.#site = {
      dirs: o.dirs,
      slackApiUrl: o.slackApiUrl,
      gatewayArgs: o.gatewayArgs ?? [],
      limits: o.limits,
      runtimes: o.runtimes,
      private: o.private,
      engine: o.engine,
      resources: o.resources,
      vaults: o.vaults,
    };
    this.#log = o.log;
    this.#launcher = openProgram("launcher", LAUNCHER_FROM, [o.dirs.state, "/var/tmp", "/tmp"]);
    this.ended = new Promise((resolve) => {
      this.#ended = resolve;
    });
  }

  /** Resolves when the keeper listens and every role runs. Throws what the keeper said when it can't start. */
  async start(): Promise<void> {
    const { state, run, log } = this.#site.dirs;
    mkdirSync(run, { recursive: true, mode: 0o711 });
    mkdirSync(log, { recursive: true, mode: 0o750 });
    mkdirSync(join(state, "notary"), { recursive: true, mode: 0o700 });
    await this.#startKeeper();
    this.#egressListener ??= await listenUnix(join(run, EGRESS_SOCKET));
    // What fetches nothing needs no way out.
    const peers = PEERS.filter((role) => role !== "courier" || Object.keys(this.#site.vaults).length > 0);
    if (!this.#stopping) for (const role of peers) this.#startPeer(role);
  }

  /** Ends all roles: the keeper is asked, the others end with their connection to it; after 1.5 s all are killed. */
  async stop(status: number): Promise<void> {
    if (this.#stopping) return;
    this.#stopping = true;
    const all = [...this.#running.values()];
    const gone = Promise.all(all.map(({ child }) => exitOf(child)));
    this.#running.get("keeper")?.child.kill("SIGTERM");
    const timer = setTimeout(() => {
      for (const { child } of all) child.kill("SIGKILL");
    }, STOP_MS);
    await this.#whenKeeperEnded();
    // For one that still starts, and looks at no connection yet.
    for (const { role, child } of all) if (role !== "keeper") child.kill("SIGTERM");
    await gone;
    clearTimeout(timer);
    this.#toKeeper?.notify.destroy();
    rmSync(join(this.#site.dirs.run, EGRESS_SOCKET), { force: true });
    this.#ended(status);
  }

  /** Somebody asked for the end, or it was decided on. */
  get isStopping(): boolean {
    return this.#stopping;
  }

  async #whenKeeperEnded(): Promise<void> {
    const keeper = this.#running.get("keeper");
    if (keeper !== undefined) await exitOf(keeper.child);
  }

  async #startKeeper(): Promise<void> {
    let child: ChildProcess;
    let notify: Socket;
    try {
      const [ours, theirs] = harden().socketpair();
      const [handover, keepersHandover] = harden().socketpair();
      notify = new Socket({ fd: ours, readable: true, writable: true });
      notify.on("error", () => undefined);
      this.#toKeeper = { notify, handover };
      child = this.#spawn("keeper", { SALLYPORT_NOTIFY_FD: theirs, SALLYPORT_HANDOVER_FD: keepersHandover });
    } catch (cause) {
      throw notStarted(cause);
    }
    await new Promise<void>((resolve, reject) => {
      const failed = (error: Error) => {
        clearTimeout(timer);
        reject(error);
      };
      const timer = setTimeout(
        () => failed(new SallyportError("timeout", "The keeper did not start within 15 s.")),
        START_MS,
      );
      child.once("error", (cause) => failed(notStarted(cause)));
      child.once("exit", (code, signal) => failed(new KeeperFailed(code ?? 1, signal)));
      notify.once("data", () => {
        clearTimeout(timer);
        this.#keeperReady = true;
        resolve();
      });
    });
  }

  /**
   * Never throws: it is called where a role has just died, and the keeper may have died with it. Then its exit, of which we
   * are told next, starts all of them; while the keeper lives it counts as a death, and is tried again.
   */
  #startPeer(role: PeerName): void {
    const keeper = this.#running.get("keeper");
    try {
      this.#joinPeer(role);
    } catch (error) {
      this.#log.warn({ err: error, child: role }, "role could not be started");
      const child = this.#running.get(role)?.child;
      this.#running.delete(role);
      child?.kill("SIGKILL");
      this.#unlessKeeperEnds(keeper, () => this.#died(role, null, null));
    }
  }

  /** One byte on the notify socket says that a descriptor of that role waits on the other. */
  #joinPeer(role: PeerName): void {
    const to = this.#toKeeper;
    if (to === undefined) return;
    const [keepers, theirs] = harden().socketpair();
    try {
      const fds: Record<string, number> = { SALLYPORT_PEER_FD: theirs };
      if (role === "egress") fds.SALLYPORT_EGRESS_FD = copyOf(this.#egressListener!);
      this.#spawn(role, fds);
      harden().sendFds(to.handover, Buffer.from(role), [keepers]);
      to.notify.write(".");
    } finally {
      harden().closeFd(keepers);
    }
  }

  #spawn(role: RoleName, fds: Readonly<Record<string, number>>): ChildProcess {
    const confinement = roleConfinement(role, this.#site);
    const ours = [openSync(selfExec().file, constants.O_RDONLY), ...Object.values(fds)];
    let child: ChildProcess;
    try {
      const spec = harden().memfd("sallyport-spec", encodeRole(role, confinement, Object.keys(fds)));
      ours.unshift(spec);
      child = spawn(`/proc/self/fd/${this.#launcher}`, [confinement.launcher, String(ROLE_FD.spec)], {
        stdio: ["ignore", role === "keeper" ? "inherit" : "ignore", "inherit", ...ours],
        env: {},
        // A session of its own: no signal of the terminal reaches a role, so that they end in order, and no terminal is theirs.
        detached: true,
      });
    } finally {
      // The child has them; after a failure nobody needs them.
      for (const fd of ours) harden().closeFd(fd);
    }
    this.#running.set(role, { role, child });
    child.once("exit", (code, signal) => this.#exited(role, child, code, signal));
    child.once("error", (error) => {
      this.#log.error({ err: error, child: role }, "role could not be started");
      // Of what never ran no exit is told.
      if (child.pid === undefined) this.#exited(role, child, null, null);
    });
    return child;
  }

  #exited(role: RoleName, child: ChildProcess, code: number | null, signal: NodeJS.Signals | null): void {
    // One that is not listed any more was ended by #restartAll.
    if (this.#running.get(role)?.child !== child) return;
    this.#running.delete(role);
    if (this.#stopping || (role === "keeper" && !this.#keeperReady)) return;
    if (role !== "keeper" && code === 0) {
      // It saw its connection end: when the keeper is what ended, that is no death of this role's own.
      this.#unlessKeeperEnds(this.#running.get("keeper"), () => this.#died(role, code, signal));
    } else this.#died(role, code, signal);
  }

  #unlessKeeperEnds(keeper: Running | undefined, act: () => void): void {
    setTimeout(() => {
      if (keeper !== undefined && this.#running.get("keeper") === keeper && !this.#stopping) act();
    }, KEEPER_GRACE_MS);
  }

  #died(role: RoleName, code: number | null, signal: NodeJS.Signals | null): void {
    if (role === "keeper" && code === LOCKED_EXIT) {
      this.#log.warn({ child: role }, "locked: all roles start anew, sealed");
      void this.#restartAll();
      return;
    }
    // The keeper's own end starts all roles anew.
    if (role !== "keeper" && !this.#running.has("keeper")) return;
    this.#log.error({ child: role, code, signal }, `${role} ended by itself and is started again`);
    const now = Date.now();
    this.#deaths.push(now);
    while (this.#deaths[0] !== undefined && now - this.#deaths[0] > DEATHS_MS) this.#deaths.shift();
    if (this.#deaths.length >= MAX_DEATHS) {
      this.#log.fatal(
        { child: role },
        `${MAX_DEATHS} deaths within 60 s: sallyport stops. The lines above have the reasons.`,
      );
      void this.stop(1);
    } else if (role === "keeper") void this.#restartAll();
    else this.#startPeer(role);
  }

  /** The keeper is the hub: its end is everybody's, and what starts again starts sealed. */
  async #restartAll(): Promise<void> {
    this.#keeperReady = false;
    this.#toKeeper?.notify.destroy();
    if (this.#toKeeper !== undefined) harden().closeFd(this.#toKeeper.handover);
    this.#toKeeper = undefined;
    const others = [...this.#running.values()];
    for (const { role, child } of others) {
      this.#running.delete(role);
      child.kill("SIGTERM");
    }
    const timer = setTimeout(() => {
      for (const { child } of others) child.kill("SIGKILL");
    }, 1000);
    await Promise.all(others.map(({ child }) => exitOf(child)));
    clearTimeout(timer);
    if (this.#stopping) return;
    try {
      await this.start();
    } catch (error) {
      if (this.#stopping) return;
      if (error instanceof KeeperFailed && error.signal !== null) {
        this.#died("keeper", null, error.signal);
        return;
      }
      this.#log.fatal({ err: error }, "the keeper could not be started again");
      await this.stop(1);
    }
  }
}
