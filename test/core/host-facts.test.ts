import t from "tap";
import { exposedTo, type HostFacts, judgeHost } from "../../src/core/host-facts.ts";
import { GOOD_HOST } from "../keeper/host-facts.ts";

const judged = (change: Partial<HostFacts>) => judgeHost({ ...GOOD_HOST, ...change });
const wrong = (change: Partial<HostFacts>) =>
  judged(change)
    .filter(({ fine }) => !fine)
    .map(({ name, detail }) => `${name}: ${detail}`);

t.test("a host with nothing to say against it", (t) => {
  t.strictSame(wrong({}), []);
  t.strictSame(
    judged({}).map(({ name }) => name),
    ["kernel", "processor", "SMT", "user namespaces", "Yama", "Landlock", "kernel lockdown", "auditd"],
  );
  t.end();
});

/** One change each, and what must be said: exactly one note, with what to do. */
const CASES: readonly [Partial<HostFacts>, RegExp][] = [
  [{ kernel: "5.10.0-28-amd64" }, /^kernel: .*5\.13 or later/],
  [{ kernel: "weird" }, /^kernel: .*5\.13/],
  [{ vulnerabilities: null }, /^processor: .*4\.15/],
  [
    { vulnerabilities: { mds: "Vulnerable: No microcode" } },
    /^processor: mds: Vulnerable: No microcode: .*microcode/,
  ],
  [{ smt: null }, /^SMT: .*can't be read/],
  [{ userNamespaces: "0" }, /user\.max_user_namespaces above 0/],
  [{ userNamespaces: null }, /CONFIG_USER_NS/],
  [{ uid: 1000, unprivilegedUserns: "0" }, /kernel\.unprivileged_userns_clone=1/],
  [{ uid: 1000, apparmorUserns: "1" }, /AppArmor profile.*apparmor_restrict_unprivileged_userns=0/],
  [{ yama: null }, /^Yama: not in this kernel/],
  [{ yama: "0" }, /kernel\.yama\.ptrace_scope=1/],
  [{ landlock: "refused=EPERM" }, /^Landlock: refused=EPERM: .*5\.13/],
  [{ landlock: "absent" }, /^Landlock: absent/],
  [{ landlock: "abi=3" }, /^Landlock: ABI 3.*6\.7/],
  [{ landlock: "abi=5" }, /^Landlock: ABI 5.*6\.12/],
  [{ lockdown: null }, /securityfs/],
  [{ lockdown: "[none] integrity confidentiality" }, /^kernel lockdown: none: .*lockdown=integrity/],
  [{ auditd: "not running" }, /install and enable auditd/],
  [{ auditd: "unknown" }, /systemctl status auditd/],
  [{ auditd: "no audit in the kernel" }, /CONFIG_AUDIT/],
];

t.test("each fact that is not fine comes with what to do", (t) => {
  for (const [change, said] of CASES) {
    const notes = wrong(change);
    t.equal(notes.length, 1, JSON.stringify(change));
    t.match(notes[0], said);
  }
  t.end();
});

t.test("what restricts ordinary users alone is no matter to root", (t) => {
  t.strictSame(wrong({ uid: 0, unprivilegedUserns: "0", apparmorUserns: "1" }), []);
  t.end();
});

t.test("SMT on: whether it must go off is what the processor's weaknesses say", (t) => {
  t.strictSame(wrong({ smt: "on" }), []);
  const exposed = { mds: "Mitigation: Clear CPU buffers; SMT vulnerable", meltdown: "Not affected" };
  const notes = wrong({ smt: "on", vulnerabilities: exposed });
  t.match(notes, [/^processor: mds: .*hyper-threading/, /^SMT: on, and with mds .*mitigations=auto,nosmt/]);
  t.strictSame(exposedTo({ ...GOOD_HOST, vulnerabilities: exposed }), ["mds"]);
  t.end();
});
