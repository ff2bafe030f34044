import type { OciEngine } from "../core/engines.ts";
import { type Attempt, BATTERY } from "./battery.ts";

type Other = { readonly expect: RegExp; readonly why: string };

/** The Op is uid 0 of a user namespace that maps only that one, without any capability and without a way to get one. */
const AS_ZERO: Readonly<Record<string, Other>> = {
  ids: { expect: /^0 0 0 0$/, why: "runc and gVisor have to be root of the Op's user namespace" },
  "setuid:0": { expect: /^(OK|EPERM|EINVAL)$/, why: "it is uid 0 there already, which gives it nothing" },
};

/** What crun and runc mask, they cover with /dev/null, which can be opened. That it is empty is tried beside (EMPTY). */
const MASKED = ["kcore", "kallsyms", "keys", "timer_list", "modules", "cmdline", "iomem"];
const MASKS = Object.fromEntries(
  MASKED.map((file): [string, Other] => [
    `read:/proc/${file}`,
    { expect: /^(OK|EACCES|EPERM|ENOENT)$/, why: "covered by an empty device" },
  ]),
);
const EMPTY: readonly Attempt[] = MASKED.map((file) => ({
  name: `find something in /proc/${file}`,
  probe: `lines:/proc/${file}`,
  expect: /^(0|EACCES|EPERM|ENOENT)$/,
  proc: true,
}));
const ON_THE_HOSTS_KERNEL: Readonly<Record<string, Other>> = {
  ...MASKS,
  "lines:/proc/net/unix": {
    expect: /^[1-3]$/,
    why: "the pair between the launcher's init outside of the container and the one inside, without a name",
  },
};

/** Of gVisor's own kernel, which is what the Op sees; nothing of it is the host's. */
const MADE_UP = Object.fromEntries(
  [
    "read:/proc/cmdline",
    ...["shm", "sem", "msg"].map((kind) => `lines:/proc/sysvipc/${kind}`),
    "read:/dev/tty",
    ...["/", "/usr", "/op", "/run/secrets", "/tmp", "/dev/shm", "/proc"].map((path) => `flags:${path}`),
    ...["cgroup", "ipc", "mnt", "uts"].map((name) => `link-target:/proc/self/ns/${name}`),
  ].map((probe): [string, Other] => [
    probe,
    { expect: /^/, why: "gVisor's own kernel answers: it has not got it, or made it up" },
  ]),
);

/**
 * Where an engine's answer differs from a native run's, and why that is no hole. By the probe's argument; also used by the
 * containment tests.
 */
export const OCI_DIFFERENCES: Readonly<Record<OciEngine, Readonly<Record<string, Other>>>> = {
  crun: ON_THE_HOSTS_KERNEL,
  runc: {
    ...AS_ZERO,
    ...ON_THE_HOSTS_KERNEL,
    pids: { expect: /^1 \d+ \d+$/, why: "runc's own first processes have taken the numbers between" },
  },
  gvisor: {
    ...AS_ZERO,
    ...MADE_UP,
    "list:/dev": {
      expect: /^((null|zero|full|random|urandom|fd|stdin|stdout|stderr|shm|ptmx|pts|tty|net|fuse)( |$))+$/,
      why: "devices of gVisor's own kernel",
    },
    "list:/sys": { expect: /./, why: "gVisor's own kernel makes one up; it shows nothing of the host" },
    "create:/usr/x": { expect: /^(EROFS|EACCES)$/, why: "the mode is looked at before the mount" },
    "read:/proc/1/environ": {
      expect: /^(OK|EACCES|EPERM)$/,
      why: "gVisor knows no dumpable flag; the environment there is empty",
    },
    int80: { expect: /^(OK|SIGSYS|SIGSEGV|ENOSYS)$/, why: "gVisor takes it for a call of its own kernel" },
    descriptors: { expect: /^0 1 2$/, why: "gVisor takes no other descriptor along: no control channel" },
    "status:NoNewPrivs": { expect: /^1?$/, why: "gVisor's /proc/self/status has no such line" },
  },
};

/** The self-test's attempts, as that engine answers them. */
export function ociBattery(engine: OciEngine): Attempt[] {
  const attempts = engine === "gvisor" ? BATTERY : [...BATTERY, ...EMPTY];
  return asEngine(attempts, engine, OCI_DIFFERENCES);
}

export function asEngine(
  attempts: readonly Attempt[],
  engine: OciEngine,
  differences: Readonly<Record<OciEngine, Readonly<Record<string, { expect: RegExp }>>>>,
): Attempt[] {
  return attempts.map((attempt) => {
    const other = differences[engine][attempt.probe];
    return other === undefined ? attempt : { ...attempt, expect: other.expect };
  });
}
