import type { OciEngine } from "../core/engines.ts";
import { type Attempt, BATTERY } from "./battery.ts";

type Other = { readonly expect: RegExp; readonly why: string };

/** The Op is uid 0 of a user namespace that maps only that one, without any capability and without a way to get one. */
const AS_ZERO: Readonly<Record<string, Other>> = {
  ids: { expect: /^0 0 0 0$/, why: "runc and gVisor have to be root of the Op's user namespace" },
  "setuid:0": { expect: /^(OK|EPERM|EINVAL)$/, why: "it is uid 0 there already, which gives it nothing" },
};

/**
 * Where an engine's answer differs from a native run's, and why that is no hole. By the probe's argument; also used by the
 * containment tests. crun differs in nothing of the self-test.
 */
export const OCI_DIFFERENCES: Readonly<Record<OciEngine, Readonly<Record<string, Other>>>> = {
  crun: {},
  runc: {
    ...AS_ZERO,
    pids: { expect: /^1 \d+ \d+$/, why: "runc's own first processes have taken the numbers between" },
  },
  gvisor: {
    ...AS_ZERO,
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
  return asEngine(BATTERY, engine, OCI_DIFFERENCES);
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
