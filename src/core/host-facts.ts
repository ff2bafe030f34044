import { parseVulnerability, vulnerabilityAdvice } from "./vulnerabilities.ts";

/** What the runner read of the host that it is on, as the kernel says it; null: there is no such file, or it can't be read. */
export type HostFacts = {
  /** `uname -r`. */
  kernel: string;
  /** Of the account that Ops are started by. */
  uid: number;
  /** Files of /sys/devices/system/cpu/vulnerabilities. */
  vulnerabilities: Readonly<Record<string, string>> | null;
  /** /sys/devices/system/cpu/smt/control: on, off, forceoff, notsupported, notimplemented. */
  smt: string | null;
  /** /sys/kernel/security/lockdown: "[none] integrity confidentiality". */
  lockdown: string | null;
  /** kernel.yama.ptrace_scope. */
  yama: string | null;
  /** user.max_user_namespaces. */
  userNamespaces: string | null;
  /** kernel.unprivileged_userns_clone, of Debian's kernels. */
  unprivilegedUserns: string | null;
  /** kernel.apparmor_restrict_unprivileged_userns, of Ubuntu's. */
  apparmorUserns: string | null;
  /** As the launcher tells: `abi=N`, `refused=ERRNO`, `absent`. */
  landlock: string;
  auditd: "running" | "not running" | "no audit in the kernel" | "unknown";
};

export type HostNote = {
  name: string;
  /** False: see the advice in `detail`. Ops run either way; what they can't do without is the self-test's to find. */
  fine: boolean;
  detail: string;
};

/** What a site should know of its host, each fact fine or with what to do. */
export function judgeHost(facts: HostFacts): HostNote[] {
  return [
    judgeKernel(facts),
    ...judgeVulnerabilities(facts),
    judgeSmt(facts),
    judgeUserNamespaces(facts),
    judgeYama(facts),
    judgeLandlock(facts),
    judgeLockdown(facts),
    judgeAuditd(facts),
  ];
}

/** The processor's weaknesses that are not wholly mitigated, for the log. */
export function exposedTo({ vulnerabilities }: HostFacts): string[] {
  return Object.entries(vulnerabilities ?? {})
    .filter(([name, text]) => vulnerabilityAdvice(name, text) !== null)
    .map(([name]) => name);
}

const fine = (name: string, detail: string): HostNote => ({ name, fine: true, detail });
const warn = (name: string, detail: string): HostNote => ({ name, fine: false, detail });

function judgeKernel({ kernel }: HostFacts): HostNote {
  const [major = 0, minor = 0] = kernel.split(".").map((part) => Number.parseInt(part, 10));
  const at = (a: number, b: number) => major > a || (major === a && minor >= b);
  if (!at(5, 13)) return warn("kernel", `${kernel}: use 5.13 or later, which has Landlock`);
  return fine("kernel", kernel);
}

function judgeVulnerabilities({ vulnerabilities }: HostFacts): HostNote[] {
  const name = "processor";
  if (vulnerabilities === null)
    return [
      warn(
        name,
        "/sys/devices/system/cpu/vulnerabilities can't be read: use a kernel of 4.15 or later, and let the runner's container see it",
      ),
    ];
  const all = Object.entries(vulnerabilities);
  const wrong = all.flatMap(([weakness, text]) => {
    const advice = vulnerabilityAdvice(weakness, text);
    return advice === null ? [] : [warn(`${name}: ${weakness}`, `${text.trim()}: ${advice}`)];
  });
  const well = all.length - wrong.length;
  return [fine(name, `${well} of ${all.length} known weaknesses are mitigated or not there`), ...wrong];
}

function judgeSmt({ smt, vulnerabilities }: HostFacts): HostNote {
  if (smt === null)
    return warn("SMT", "/sys/devices/system/cpu/smt can't be read: look whether hyper-threading is on");
  if (smt !== "on") return fine("SMT", smt);
  const exposed = Object.entries(vulnerabilities ?? {})
    .filter(([, text]) => parseVulnerability(text).smt)
    .map(([weakness]) => weakness);
  if (exposed.length === 0) return fine("SMT", "on, and no known weakness of this processor needs it off");
  return warn(
    "SMT",
    `on, and with ${exposed.join(", ")} an Op can read what the other thread of its core works on: boot with mitigations=auto,nosmt`,
  );
}

function judgeUserNamespaces(facts: HostFacts): HostNote {
  const name = "user namespaces";
  const ordinary = facts.uid !== 0;
  if (facts.userNamespaces === "0")
    return warn(name, "forbidden, so that no Op runs: set sysctl user.max_user_namespaces above 0");
  if (ordinary && facts.unprivilegedUserns === "0")
    return warn(
      name,
      "forbidden to ordinary users, so that no Op runs: set sysctl kernel.unprivileged_userns_clone=1",
    );
  if (ordinary && facts.apparmorUserns === "1")
    return warn(
      name,
      "AppArmor restricts those of ordinary users: give sallyport an AppArmor profile with the line userns, or set sysctl kernel.apparmor_restrict_unprivileged_userns=0",
    );
  if (facts.userNamespaces === null)
    return warn(
      name,
      "/proc/sys/user/max_user_namespaces can't be read: use a kernel with CONFIG_USER_NS, and let the runner see /proc/sys",
    );
  const restricted = facts.unprivilegedUserns === "0" || facts.apparmorUserns === "1";
  return fine(name, restricted ? "restricted for ordinary users, which the runner is not" : "allowed");
}

function judgeYama({ yama }: HostFacts): HostNote {
  const name = "Yama";
  if (yama === null)
    return warn(
      name,
      "not in this kernel: processes of one account may trace each other (sallyport's own forbid it); use a kernel with CONFIG_SECURITY_YAMA, and yama in lsm=",
    );
  if (yama === "0")
    return warn(
      name,
      "off: processes of one account may trace each other (sallyport's own forbid it); set sysctl kernel.yama.ptrace_scope=1 or more",
    );
  return fine(name, `ptrace_scope ${yama}`);
}

function judgeLandlock({ landlock }: HostFacts): HostNote {
  const name = "Landlock";
  const abi = /^abi=([0-9]{1,4})$/.exec(landlock)?.[1];
  if (abi === undefined)
    return warn(
      name,
      `${landlock}: use a kernel of 5.13 or later with landlock in /sys/kernel/security/lsm, and a container that allows it`,
    );
  if (Number(abi) < 4)
    return warn(name, `ABI ${abi}, which knows no network: use Linux 6.7 or later for that`);
  if (Number(abi) < 6)
    return warn(name, `ABI ${abi}, which knows no signals and abstract sockets: use Linux 6.12 or later`);
  return fine(name, `ABI ${abi}`);
}

function judgeLockdown({ lockdown }: HostFacts): HostNote {
  const name = "kernel lockdown";
  if (lockdown === null)
    return warn(
      name,
      "not known: mount securityfs at /sys/kernel/security, and use a kernel with CONFIG_SECURITY_LOCKDOWN_LSM",
    );
  const mode = /\[([a-z]+)\]/.exec(lockdown)?.[1];
  if (mode === "integrity" || mode === "confidentiality") return fine(name, mode);
  return warn(
    name,
    `${mode ?? lockdown}: root can change the running kernel; boot with lockdown=integrity, which Secure Boot does by itself`,
  );
}

function judgeAuditd({ auditd }: HostFacts): HostNote {
  const name = "auditd";
  if (auditd === "running") return fine(name, auditd);
  if (auditd === "unknown")
    return warn(
      name,
      "not known: the runner sees no processes of the host; look with systemctl status auditd",
    );
  if (auditd === "no audit in the kernel")
    return warn(name, `${auditd}: use one with CONFIG_AUDIT, and audit=1 where it is off`);
  return warn(
    name,
    "not running: what happens on the host beside sallyport's own log is recorded by nobody; install and enable auditd",
  );
}
