import { readlinkSync } from "node:fs";
import type { OciEngine } from "../core/engines.ts";
import { asset } from "../host/asset.ts";
import { type Attempt, adviceOn, BATTERY, judge, NAMESPACES, REPORTED, readAnswers } from "./battery.ts";
import type { Hello, Started } from "./frames.ts";
import { GRACE_MS, type Grant, makePlainGrant } from "./grant.ts";
import type { Launcher } from "./launch.ts";
import { withEngine } from "./oci.ts";
import type { RunResult } from "./result.ts";

export interface Check {
  readonly name: string;
  readonly ok: boolean;
  readonly detail: string;
}

export interface SelfTest {
  /** False: no Op may run. */
  readonly ok: boolean;
  readonly checks: readonly Check[];
  readonly cgroup: "none" | "v1" | "v2";
  /** What this host does not give, so that a fence is missing where others stand: a sentence each. */
  readonly degraded: readonly string[];
}

const TIME_MS = 20_000;

/**
 * Tries to break out of a real sandbox (P11). Whatever fails, or can't be tried, makes it fail: nothing is assumed.
 * Never throws.
 */
export async function selfTest(launcher: Launcher): Promise<SelfTest> {
  let hello: Hello;
  try {
    hello = await launcher.hello;
  } catch (error) {
    return {
      ok: false,
      checks: [failed("launcher", String(error instanceof Error ? error.message : error))],
      cgroup: "none",
      degraded: [],
    };
  }
  const checks: Check[] = [];
  const degraded: string[] = [];
  if (hello.cgroup === "none") degraded.push(NO_CGROUP);
  try {
    checks.push(...(await breakOut(launcher, degraded)), ...(await dieAtOnce(launcher)));
  } catch (error) {
    checks.push(failed("self-test", `It could not run: ${error instanceof Error ? error.message : error}`));
  }
  return { ok: checks.every((c) => c.ok), checks, cgroup: hello.cgroup, degraded };
}

/** Told where that is what root chose. */
export const NO_CGROUP =
  "limits: best-effort. No cgroup bounds memory and processes: rlimits, tmpfs sizes, a look every 250 ms and the wall clock are all there is";

function degradedBy(started: Started): string[] {
  const found: string[] = [];
  if (started.noProc)
    found.push("Ops run without /proc: the host's own is masked, so that a sandbox can't mount one");
  if (started.noLandlock)
    found.push(
      "Ops run without Landlock, the second fence behind mounts: the kernel or the container refuses it",
    );
  return found;
}

/** One run of the probe with the whole battery. At least one refusal must be reported: else nobody would hear of attempts. */
async function breakOut(launcher: Launcher, degraded: string[]): Promise<Check[]> {
  const { output, result, started } = await probe(launcher, BATTERY, "default");
  const launch = launchCheck(result);
  if (!launch.ok) return [launch];
  if (started !== null) degraded.push(...degradedBy(started));
  const answers = readAnswers(output);
  const checks = BATTERY.map((attempt) =>
    check(attempt, answers.get(attempt.probe), started?.noProc === true),
  );
  checks.push(...ownNamespaces(answers));
  const reported = result.denied.reduce((sum, d) => sum + d.count, 0);
  // Told as "socket(AF_INET)".
  const told = new Set(result.denied.map((d) => d.call.split("(")[0]));
  const hidden = REPORTED.filter((call) => !told.has(call));
  if (reported > 0 && hidden.length > 0)
    degraded.push(
      `a seccomp filter around sallyport refuses these calls before ours can report them: ${hidden.join(", ")}`,
    );
  checks.push(
    reported > 0
      ? passed("refused calls are reported")
      : failed(
          "refused calls are reported",
          "No refusal was reported. A seccomp filter outside of ours hides them: remove SystemCallFilter= from the runner's unit, or the container's profile.",
        ),
  );
  return [launch, ...checks];
}

function check(attempt: Attempt, answer: string | undefined, noProc: boolean): Check {
  if (judge(attempt, answer, noProc)) return passed(attempt.name);
  const got = answer === undefined ? "it was not tried" : `the answer was "${answer.slice(0, 200)}"`;
  return failed(attempt.name, `${got}, expected ${attempt.expect.source}. ${adviceOn(attempt)}`);
}

/** What the probe is in must not be what we are in. Without /proc there is nothing to compare, here or there. */
function ownNamespaces(answers: ReadonlyMap<string, string>): Check[] {
  const shared = NAMESPACES.filter((name) => {
    const inside = answers.get(`link-target:/proc/self/ns/${name}`);
    return inside !== undefined && inside === namespaceOf(name);
  });
  const name = "namespaces of its own";
  return [shared.length === 0 ? passed(name) : failed(name, `It shares ours: ${shared.join(", ")}.`)];
}

function namespaceOf(name: string): string | null {
  try {
    return readlinkSync(`/proc/self/ns/${name}`);
  } catch {
    return null;
  }
}

/** A daemon that ignores every signal must be gone when its run ends: else the end of a run means nothing. */
async function dieAtOnce(launcher: Launcher): Promise<Check[]> {
  const name = "leave a daemon behind";
  const attempt: Attempt = { name, probe: "daemon:self-test", expect: /^OK$/ };
  const { output, result } = await probe(launcher, [attempt], "default");
  // The first probe may have had a sandbox that was made before a setting changed.
  if (result.outcome !== "exited") return [{ ...launchCheck(result), name }];
  // EXITED means that the run's process-id namespace has ended, daemon included: the pipes it held are at their end.
  return [check(attempt, readAnswers(output).get(attempt.probe), false)];
}

function launchCheck(result: RunResult): Check {
  const name = "set up a sandbox";
  if (result.outcome === "exited" && result.exit === 0) return passed(name);
  const detail =
    result.detail ?? `The probe ended with ${result.outcome} ${result.signal ?? result.exit ?? ""}.`;
  return failed(name, `${detail} ${advice(detail)}`.trim());
}

/** Which setting of the host to change, from the step that failed. */
function advice(detail: string): string {
  if (/step "(clone|id map|setresuid|setresgid|unshare[^"]*)"/.test(detail))
    return "The user namespace of a run, or another one in it, is refused: set sysctl user.max_user_namespaces and user.max_net_namespaces (and the other user.max_*_namespaces) above 0, kernel.unprivileged_userns_clone=1 (Debian), kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu), or allow them for this container. Inside a chroot the kernel refuses them whatever is set.";
  if (
    /step "(private|open_tree|mount_setattr|move_mount|root|mountpoint|mkdir|link|etc|secrets[^"]*|pivot_root|detach|readonly|tmp|proc[^"]*|dev[^"]*)"/.test(
      detail,
    )
  )
    return "Mounting a root of its own inside a user namespace, or filling it, is refused: needs Linux 5.12 or later and no outer filter or AppArmor profile that forbids it.";
  if (/step "(seccomp|listener)[^"]*" \(EBUSY\)/.test(detail))
    return "A seccomp filter around sallyport has a listener of its own, as some container runtimes make, and the kernel allows one: start the container without it.";
  if (/step "(seccomp|listener)[^"]*"/.test(detail))
    return "The kernel needs CONFIG_SECCOMP_FILTER with user notification (Linux 5.0).";
  if (/step "\/usr"/.test(detail))
    return "The host has no /usr that the launcher can see: in a root file system of its own, mount the host's there, read-only.";
  if (/step "descriptors"/.test(detail))
    return "The launcher ran out of descriptors, or has no /dev/null: set LimitNOFILE= of the runner's unit to 1024 or more, and mount a /dev with null, zero, full, random and urandom.";
  if (/step "cgroup[^"]*"/.test(detail))
    return "Delegate the memory and pids controllers to the runner (Delegate=yes in its unit), or set limits: best-effort.";
  return "";
}

/** Runs the probe with these attempts and gives back what it wrote. Also used by the containment tests. */
export async function probe(
  launcher: Launcher,
  attempts: readonly Pick<Attempt, "probe">[],
  seccomp: "default" | "strict" | "network",
  engine?: OciEngine,
): Promise<{ output: string; result: RunResult; started: Started | null }> {
  const grant: Grant = makePlainGrant({
    run: "self-test",
    files: [{ tree: "op", path: "probe", mode: 0o555, bytes: asset("probe") }],
    argv: ["./probe", ...attempts.map((a) => a.probe)],
    seccomp,
    limits: {
      wallMs: TIME_MS,
      graceMs: GRACE_MS,
      memoryBytes: 256 << 20,
      pids: 64,
      cpu: 1,
      tmpBytes: 16 << 20,
    },
    outputBytes: 256 * 1024,
  });
  return collect(launcher, { ...grant, spec: withEngine(grant.spec, engine) });
}

/** Runs to the end and gives back what was written to stdout. Rejects when the launcher ends. */
export async function collect(
  launcher: Launcher,
  grant: Grant,
): Promise<{ output: string; result: RunResult; started: Started | null }> {
  const chunks: Buffer[] = [];
  let started: Started | null = null;
  const run = launcher.run(grant, {
    onStarted: (frame) => {
      started = frame;
    },
    onOutput: (stream, bytes) => {
      if (stream === "stdout") chunks.push(bytes);
    },
    ready: () => null,
    onProgress: () => {},
    onDenied: () => {},
  });
  // A run does not finish when its launcher ends: nobody is left to say how it ended.
  const ended = launcher.ended.then((why) => {
    throw new Error(`The launcher ended: ${why}.`);
  });
  const result = await Promise.race([run.finished, ended]);
  return { output: Buffer.concat(chunks).toString("utf8"), result, started };
}

const passed = (name: string): Check => ({ name, ok: true, detail: "" });
const failed = (name: string, detail: string): Check => ({ name, ok: false, detail: detail.slice(0, 500) });
