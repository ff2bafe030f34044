import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { callKeeper } from "../../src/cli/client.ts";
import { PASSPHRASE, type Result, TestAppliance, until } from "../e2e/appliance.ts";

export type RoleName = "keeper" | "gateway" | "runner" | "notary" | "egress";
export type LogEntry = {
  seq: number;
  entry: {
    type: string;
    outcome: string;
    reason?: string;
    run?: string;
    policy?: string;
    actor: Record<string, unknown>;
    data?: Record<string, unknown>;
  };
};
export type Status = {
  state: string;
  failedUnlocks: number;
  lockedByPerson: boolean;
  halted?: string | null;
  sandbox?: string;
  running?: number;
  writable?: boolean;
  problem?: string | null;
  rollbackCouldGoUnseen?: boolean;
  roles: Record<RoleName, boolean>;
};

/** Ample for a machine with much else to do; a failure is told long before by `until`. */
export const FILE_TIMEOUT = 170_000;

/** An appliance without Slack, looked at from outside: by its processes, its log, its status. */
export class Box extends TestAppliance {
  async unlocked(): Promise<this> {
    await this.init();
    await this.serve();
    await this.unlock();
    await this.tested();
    return this;
  }

  /** Another start: what the one before said is not looked at any more. */
  override serve(o: { ownGroup?: boolean } = {}): Promise<void> {
    this.log = "";
    return super.serve(o);
  }

  /** Waits until the runner's self-test was reported. */
  async tested(): Promise<void> {
    await until(
      async () => (await this.status()).sandbox?.includes("not tested") === false,
      20_000,
      () => this.log,
    );
  }

  /** After a lock or the keeper's death: waits until the new, sealed keeper answers and all roles are there. */
  async sealedAgain(): Promise<void> {
    await until(
      async () => {
        const said = await this.status().catch(() => undefined);
        if (said === undefined) return false;
        const { state, roles } = said;
        return state === "sealed" && roles.gateway && roles.notary && roles.runner;
      },
      20_000,
      () => this.log,
    );
  }

  /** What `sallyport status --json` prints, without the cost of a process. */
  async status(): Promise<Status> {
    return (await callKeeper(this.runDir, "status", {})) as Status;
  }

  /** What `sallyport audit log --json` prints. */
  async entries(filter: { type?: string; run?: string } = {}): Promise<LogEntry[]> {
    const said = await callKeeper(this.runDir, "audit.log", { ...filter, limit: 1000 });
    return (said as { entries: LogEntry[] }).entries;
  }

  get runDir(): string {
    return join(this.dir, "run");
  }

  /** Waits for an entry of this type that passes the test. */
  async event(type: string, test: (entry: LogEntry["entry"]) => boolean = () => true): Promise<LogEntry> {
    let found: LogEntry | undefined;
    await until(
      async () => {
        found = (await this.entries({ type })).find(({ entry }) => test(entry));
        return found !== undefined;
      },
      10_000,
      () => `no ${type} in the log. ${this.log}`,
    );
    return found as LogEntry;
  }

  /** Whether the log verifies, as `audit verify` would tell. */
  async verifies(): Promise<boolean> {
    return ((await callKeeper(this.runDir, "audit.verify", {})) as { ok: boolean }).ok;
  }

  /** A wrong passphrase without the cost of a process: the error's code. */
  guess(): Promise<string> {
    return callKeeper(
      this.runDir,
      "unlock",
      { kind: "passphrase" },
      { parts: [Buffer.from("a wrong one")] },
    ).then(
      () => "unlocked",
      (error: { code: string }) => error.code,
    );
  }

  wrong(): Promise<Result> {
    return this.cli(["unlock", "--passphrase-fd", "3"], "not the passphrase");
  }

  tryUnlock(): Promise<Result> {
    return this.cli(["unlock", "--passphrase-fd", "3"], PASSPHRASE);
  }

  /** Publishes demo/NAME, a shell script. */
  async op(name: string, script: string, more = ""): Promise<void> {
    const dir = join(this.dir, "ops", name);
    mkdirSync(dir, { recursive: true });
    writeFileSync(
      join(dir, "op.yaml"),
      `op: demo/${name}\nsummary: test\nrun: ["./main.sh"]\nlimits: {time: 5m}\nconcurrency: 16\n${more}`,
    );
    writeFileSync(join(dir, "main.sh"), `#!/bin/sh\n${script}\n`);
    chmodSync(join(dir, "main.sh"), 0o755);
    await this.publish(dir);
  }

  async demo(): Promise<void> {
    await this.ok(["namespace", "add", "demo"]);
    await this.ok(["role", "grant", "runner", "demo", "alice"]);
    await this.ok(["role", "grant", "coder", "demo", "alice"]);
  }

  /** The process of a role, or 0. The launcher that starts it has another command line. */
  role(name: RoleName): number {
    return this.processes().find(({ argv }) => argv.includes(`role ${name}`))?.pid ?? 0;
  }

  /** Everything that descends from `serve`, itself not included. */
  processes(): { pid: number; argv: string }[] {
    const serve = this.serving?.pid ?? -1;
    const all = processTable();
    const family = new Set([serve]);
    for (let grew = true; grew; ) {
      grew = false;
      for (const { pid, parent } of all)
        if (family.has(parent) && !family.has(pid)) {
          family.add(pid);
          grew = true;
        }
    }
    family.delete(serve);
    return all.filter(({ pid }) => family.has(pid));
  }

  /** kill -9, and wait until the role is there again under another pid and the keeper sees it. */
  async killAndWait(name: Exclude<RoleName, "keeper">): Promise<void> {
    // Until the launcher has executed it there is no such process, and a kill of 0 would end this test's own group.
    await until(() => this.role(name) !== 0, 15_000);
    const before = this.role(name);
    process.kill(before, "SIGKILL");
    await until(
      async () => {
        const now = this.role(name);
        return now !== 0 && now !== before && (await this.status()).roles[name];
      },
      15_000,
      () => this.log,
    );
  }

  exited(): Promise<number | null> {
    const child = this.serving!;
    if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve(child.exitCode);
    return new Promise((resolve) => child.once("exit", (status) => resolve(status)));
  }
}

type Row = { pid: number; parent: number; argv: string };

/** Zombies are left out: nothing of them runs. */
export function processTable(): Row[] {
  const rows: Row[] = [];
  for (const name of readdirSync("/proc")) {
    if (!/^[0-9]+$/.test(name)) continue;
    try {
      const stat = readFileSync(`/proc/${name}/stat`, "latin1");
      const rest = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      const argv = readFileSync(`/proc/${name}/cmdline`, "latin1").split("\0").join(" ").trim();
      if (rest[0] !== "Z") rows.push({ pid: Number(name), parent: Number(rest[1]), argv });
    } catch {
      // It ended while we looked.
    }
  }
  return rows;
}

/** An argument for `sleep` that no other process of this host has. */
export function marker(): string {
  return `${280 + Math.floor(Math.random() * 10)}.${process.pid}${Math.floor(Math.random() * 1e6)}`;
}

export function isAlive(mark: string): boolean {
  return processTable().some(({ argv }) => argv === `sleep ${mark}`);
}
