import { spawn } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { Readable, Writable } from "node:stream";
import t from "tap";
import { FILE_TIMEOUT } from "../faults/support.ts";
import { USERS } from "./support/once.ts";
import { compile } from "./support/probe.ts";
import { BUILD, LAUNCHER, runSpec, script } from "./support/spec.ts";

t.setTimeout(FILE_TIMEOUT);

/** Calls that may fail without ending the set-up, how often at most, and why that takes no fence away. */
const MAY_FAIL: Record<
  "child" | "launcher",
  Record<string, { times: number; why: string; unsaid?: true }>
> = {
  child: {
    close: { times: 40, why: "exec closes what is left" },
    umask: { times: 1, why: "it can't fail; what it returns is not used" },
    newfstatat: { times: 10, why: "an entry of the host's /etc that is not there is left out" },
    readlink: { times: 10, why: "the same" },
    access: {
      times: 10,
      why: "whether the Op has an own file of that name; if so, making it again is refused",
    },
    openat: {
      times: 2,
      why: "two bounds of inotify, a quota of the account's",
    },
    write: { times: 2, why: "the same two bounds" },
  },
  launcher: {
    close: { times: 40, why: "the launcher goes on holding it, the run does not" },
    geteuid: { times: 2, why: "it can't fail; then one is taken for an ordinary user" },
    openat: {
      times: 1,
      why: "the id map of a run of root's: then an account that owns nothing, as in containers",
    },
    write: { times: 1, why: "the same" },
    newfstatat: { times: 5, why: "whose a pipe is: /dev/stdout by name is a convenience" },
    fstat: { times: 5, why: "the same" },
    fchown: { times: 5, why: "the same" },
    // After the order, side by side with the run's own calls.
    recvmsg: { times: 5, why: "what the run's init says is read again" },
    poll: { times: 5, why: "the launcher ends, and kills the run that has just begun", unsaid: true },
    munmap: { times: 5, why: "the launcher's own memory" },
  },
};

const NTH = compile([join(import.meta.dirname, "support/nth.c")]);
// The ordinary user executes it too.
chmodSync(dirname(NTH), 0o755);
const names = JSON.parse(readFileSync(join(BUILD, "seccomp/syscalls.json"), "utf8")) as Record<
  string,
  string
>;

/** One run in which the n-th call of `who` failed; `call` null: there were fewer. */
async function withFailing(who: string, n: number, spec: Buffer, user: number | undefined) {
  const drop = user === undefined ? [] : ["setpriv", `--reuid=${user}`, `--regid=${user}`, "--clear-groups"];
  const [file, ...args] = [...drop, NTH, who, String(n), LAUNCHER];
  const stdio = ["ignore", "pipe", "pipe", "ignore", "pipe", "ignore", "ignore", "pipe"] as const;
  const child = spawn(file!, args, { stdio: [...stdio] });
  const out = { stdout: "", stderr: "", told: "" };
  child.stdout?.on("data", (data) => (out.stdout += data));
  child.stderr?.on("data", (data) => (out.stderr += data));
  ((child.stdio as unknown[])[7] as Readable).on("data", (data) => (out.told += data));
  const pipe = (child.stdio as unknown[])[4] as Writable;
  pipe.on("error", () => {});
  pipe.end(spec);
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
  const number = /^(\d+) /.exec(out.told)?.[1];
  return { ...out, code, call: number === undefined ? null : (names[number] ?? number) };
}

/** All that a spec may ask for of the host: files, resources, a way to the network. */
const dir = mkdtempSync(join(tmpdir(), "sallyport-calls-"));
const socket = join(dir, "egress.sock");
const egress = createServer((one) => one.on("error", () => {}));
t.before(async () => {
  chmodSync(dir, 0o755);
  await new Promise<void>((resolve) => egress.listen(socket, resolve));
  chmodSync(socket, 0o777);
});
t.teardown(() => {
  egress.close();
  rmSync(dir, { recursive: true, force: true });
});
const spec = runSpec(
  script("echo started", {
    files: [
      { tree: "op", path: "a/b", content: "x" },
      { tree: "secrets", path: "S", content: "s" },
      { tree: "etc", path: "l", kind: "symlink", content: "/x" },
    ],
    binds: [
      { name: "docs", path: "/usr/share" },
      { name: "tmp", path: dir, writable: true },
    ],
    limits: { memory: 64 << 20, pids: 10, cpuMilli: 500, wallMs: 20_000 },
    loopback: true,
    egress: { token: Buffer.alloc(16, 7), socket },
  }),
);

for (const { name, user } of USERS) {
  t.test(`each system call of a set-up made to fail in turn, as ${name}`, async (t) => {
    const fine = await withFailing("child", 100_000, spec, user);
    if (fine.stdout !== "started\n" || fine.told !== "none\n") {
      t.pass("not tried", { skip: `ptrace does not work here: ${fine.code} ${fine.stderr.trim()}` });
      return;
    }
    for (const who of ["child", "launcher"] as const) {
      const passed = new Map<string, number>();
      const steps = new Set<string>();
      let n = 1;
      for (; n < 1000; n++) {
        const r = await withFailing(who, n, spec, user);
        if (r.call === null) break;
        if (r.stdout === "") {
          if (MAY_FAIL[who][r.call]?.unsaid) continue;
          if (r.code !== 125 && r.code !== 126) t.fail(`call ${n} (${r.call}): status ${r.code} ${r.stderr}`);
          const step = /^launcher: (.*): [^:]*$/m.exec(r.stderr)?.[1];
          if (step === undefined) t.fail(`call ${n} (${r.call}): no step is named: ${r.stderr}`);
          else steps.add(step);
        } else passed.set(r.call, (passed.get(r.call) ?? 0) + 1);
      }
      t.ok(n > 15, `${n - 1} calls of the ${who}`);
      for (const [call, times] of passed) {
        const may = MAY_FAIL[who][call]?.times ?? 0;
        t.ok(
          times <= may,
          `${who}: after ${call} failed the Op started all the same, ${times} times of ${may}`,
        );
      }
      t.comment(`${who}: ${n - 1} calls; steps told: ${[...steps].sort().join(", ")}`);
    }
  });
}
