import { readdirSync, readFileSync } from "node:fs";
import { release } from "node:os";
import { join } from "node:path";
import type { HostFacts } from "../core/host-facts.ts";

const CPU = "/sys/devices/system/cpu";
const VULNERABILITIES = `${CPU}/vulnerabilities`;
const SMT = `${CPU}/smt`;
const LOCKDOWN = "/sys/kernel/security/lockdown";
/** What the reader of these facts must be able to open beside /proc. */
export const FACT_PATHS: readonly string[] = [VULNERABILITIES, SMT, LOCKDOWN];

const MAX_TEXT = 200;
const MAX_VULNERABILITIES = 64;
/** Processes that are looked at in search of auditd. */
const MAX_PROCESSES = 8192;

/** Reads what the kernel tells of this host; never throws. `root`: for tests, a folder that stands for `/`. */
export function readHostFacts(landlock: string, root = "/"): HostFacts {
  const read = (path: string): string | null => {
    try {
      return readFileSync(join(root, path), "utf8").trim().slice(0, MAX_TEXT);
    } catch {
      return null;
    }
  };
  const sysctl = (name: string) => read(`/proc/sys/${name}`);
  return {
    kernel: release().slice(0, MAX_TEXT),
    uid: process.getuid?.() ?? 0,
    vulnerabilities: readVulnerabilities(root, read),
    smt: read(`${SMT}/control`),
    lockdown: read(LOCKDOWN),
    yama: sysctl("kernel/yama/ptrace_scope"),
    userNamespaces: sysctl("user/max_user_namespaces"),
    unprivilegedUserns: sysctl("kernel/unprivileged_userns_clone"),
    apparmorUserns: sysctl("kernel/apparmor_restrict_unprivileged_userns"),
    landlock,
    auditd: findAuditd(root, read),
  };
}

function readVulnerabilities(
  root: string,
  read: (path: string) => string | null,
): Record<string, string> | null {
  const found: Record<string, string> = {};
  for (const name of list(join(root, VULNERABILITIES)).slice(0, MAX_VULNERABILITIES)) {
    const text = /^[a-z0-9_]{1,64}$/.test(name) ? read(`${VULNERABILITIES}/${name}`) : null;
    if (text !== null) found[name] = text;
  }
  return Object.keys(found).length === 0 ? null : found;
}

/** Its netlink socket would ask for a capability; a process of that name is what an ordinary user can see. */
function findAuditd(root: string, read: (path: string) => string | null): HostFacts["auditd"] {
  // The kernel gives every process a login id where it can audit.
  if (read("/proc/self/loginuid") === null) return "no audit in the kernel";
  const pids = list(join(root, "/proc")).filter((name) => /^[0-9]+$/.test(name));
  if (pids.slice(0, MAX_PROCESSES).some((pid) => read(`/proc/${pid}/comm`) === "auditd")) return "running";
  // Under hidepid, or in a process-id namespace of one's own, nothing can be said of the host.
  return read("/proc/1/comm") === null || pids.length > MAX_PROCESSES || !hostsInit(read)
    ? "unknown"
    : "not running";
}

/** PID 2 of the host is the kernel's own. */
function hostsInit(read: (path: string) => string | null): boolean {
  return read("/proc/2/comm") === "kthreadd";
}

function list(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}
