import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import t from "tap";
import { judgeHost } from "../../src/core/host-facts.ts";
import { confinementOf, parseHeld } from "../../src/host/confinement-of.ts";
import { readHostFacts } from "../../src/host/facts.ts";
import { HostFacts } from "../../src/wire/host-facts.ts";

const root = mkdtempSync(join(tmpdir(), "sallyport-facts-"));
t.teardown(() => rmSync(root, { recursive: true }));

function host(name: string, files: Record<string, string>): string {
  const top = join(root, name);
  mkdirSync(top);
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(top, path)), { recursive: true });
    writeFileSync(join(top, path), text);
  }
  return top;
}

t.test("a host that tells all", (t) => {
  const top = host("full", {
    "sys/devices/system/cpu/vulnerabilities/mds": "Mitigation: Clear CPU buffers; SMT vulnerable\n",
    "sys/devices/system/cpu/vulnerabilities/meltdown": "Not affected\n",
    "sys/devices/system/cpu/smt/control": "on\n",
    "sys/kernel/security/lockdown": "none [integrity] confidentiality\n",
    "proc/sys/kernel/yama/ptrace_scope": "1\n",
    "proc/sys/user/max_user_namespaces": "15000\n",
    "proc/sys/kernel/unprivileged_userns_clone": "1\n",
    "proc/sys/kernel/apparmor_restrict_unprivileged_userns": "0\n",
    "proc/self/loginuid": "1000",
    "proc/1/comm": "systemd\n",
    "proc/2/comm": "kthreadd\n",
    "proc/77/comm": "auditd\n",
  });
  const facts = readHostFacts("abi=7", top);
  t.match(facts, {
    vulnerabilities: { mds: "Mitigation: Clear CPU buffers; SMT vulnerable", meltdown: "Not affected" },
    smt: "on",
    lockdown: "none [integrity] confidentiality",
    yama: "1",
    userNamespaces: "15000",
    unprivilegedUserns: "1",
    apparmorUserns: "0",
    landlock: "abi=7",
    auditd: "running",
  });
  t.end();
});

t.test("a host that tells nothing", (t) => {
  const facts = readHostFacts("absent", host("bare", {}));
  const { kernel, uid, ...rest } = facts;
  t.strictSame(rest, {
    vulnerabilities: null,
    smt: null,
    lockdown: null,
    yama: null,
    userNamespaces: null,
    unprivilegedUserns: null,
    apparmorUserns: null,
    landlock: "absent",
    auditd: "no audit in the kernel",
  });
  t.ok(judgeHost(facts).every(({ detail }) => detail !== ""));
  t.end();
});

t.test("whether auditd is there is not known of a host whose processes are hidden", (t) => {
  const container = host("container", { "proc/self/loginuid": "0", "proc/1/comm": "sh\n" });
  t.equal(readHostFacts("abi=7", container).auditd, "unknown");
  const without = host("without", {
    "proc/self/loginuid": "0",
    "proc/1/comm": "init\n",
    "proc/2/comm": "kthreadd\n",
  });
  t.equal(readHostFacts("abi=7", without).auditd, "not running");
  t.end();
});

t.test("what comes from files is bounded: it passes the wire's own schema", (t) => {
  const many = Object.fromEntries(
    Array.from({ length: 100 }, (_, i) => [`sys/devices/system/cpu/vulnerabilities/v${i}`, "x".repeat(5000)]),
  );
  const top = host("large", { ...many, "sys/devices/system/cpu/vulnerabilities/Odd Name": "x" });
  const facts = readHostFacts("abi=7", top);
  t.equal(HostFacts.safeParse(facts).success, true);
  t.equal(HostFacts.safeParse({ ...facts, smt: "x".repeat(201) }).success, false);
  t.equal(HostFacts.safeParse({ ...facts, more: 1 }).success, false);
  t.equal(HostFacts.safeParse(readHostFacts("abi=7")).success, true, "this host's");
  t.end();
});

t.test("what the kernel holds a process by", (t) => {
  const status = (lines: Record<string, string>) =>
    Object.entries({
      CapPrm: "0000000000000000",
      CapEff: "0000000000000000",
      CapAmb: "0000000000000000",
      NoNewPrivs: "1",
      Seccomp: "2",
      Seccomp_filters: "2",
      ...lines,
    })
      .map(([key, value]) => `${key}:\t${value}\n`)
      .join("");
  t.strictSame(parseHeld(status({})), { filters: 2, noNewPrivs: true, capabilities: false });
  t.match(parseHeld(status({ CapPrm: "000001ffffffffff" })), { capabilities: true });
  t.match(parseHeld(status({ NoNewPrivs: "0" })), { noNewPrivs: false });
  t.match(parseHeld(status({ Seccomp_filters: "" })), { filters: 3 }, "a kernel that does not count them");
  t.match(parseHeld(status({ Seccomp: "0", Seccomp_filters: "0" })), { filters: 0 });
  t.match(
    parseHeld(""),
    { filters: 0, noNewPrivs: false, capabilities: true },
    "nothing said is nothing held",
  );
  t.not(confinementOf(process.pid), null);
  t.equal(confinementOf(2 ** 30), null, "no such process");
  t.end();
});
