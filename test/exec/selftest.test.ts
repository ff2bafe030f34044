import { readFileSync, readlinkSync } from "node:fs";
import t from "tap";
import { adviceOn, BATTERY, judge, readAnswers } from "../../src/exec/battery.ts";
import type { Grant } from "../../src/exec/grant.ts";
import type { Launcher } from "../../src/exec/launch.ts";
import { launchFailed } from "../../src/exec/result.ts";
import { probe, selfTest } from "../../src/exec/selftest.ts";
import { FILE_TIMEOUT } from "../faults/support.ts";
import { startLauncher } from "./launcher.ts";

t.setTimeout(FILE_TIMEOUT);

/** The launcher with every grant changed on its way: a fence with a hole in it. */
function with_(launcher: Launcher, change: (spec: Grant["spec"]) => Partial<Grant["spec"]>): Launcher {
  return {
    hello: launcher.hello,
    ended: launcher.ended,
    run: (grant, handlers) =>
      launcher.run({ ...grant, spec: { ...grant.spec, ...change(grant.spec) } }, handlers),
    close: () => launcher.close(),
  };
}

t.test("a whole fence passes, quickly", async (t) => {
  const { launcher, stop } = startLauncher();
  t.teardown(stop);
  const test = await selfTest(launcher);
  t.strictSame(
    test.checks.filter((c) => !c.ok),
    [],
  );
  t.equal(test.ok, true);
  const bounded = (await launcher.hello).cgroup !== "none";
  t.match(test.degraded, bounded ? [] : [/^no cgroup/]);
  const outer = Number(/^Seccomp:\t([0-9])/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1]);
  if (outer === 0)
    t.strictSame(
      test.degraded.filter((one) => one.includes("filter")),
      [],
      "every refusal was reported",
    );
});

t.test("a hole is found, and named", async (t) => {
  const { launcher, stop } = startLauncher();
  t.teardown(stop);
  const failing = async (change: Parameters<typeof with_>[1]) => {
    const test = await selfTest(with_(launcher, change));
    t.equal(test.ok, false);
    return test.checks.filter((c) => !c.ok).map((c) => c.name);
  };

  // BPF_RET | BPF_K with SECCOMP_RET_ALLOW.
  const allowAll = Buffer.from("060000000000ff7f", "hex");
  const open = await failing(() => ({ seccomp: allowAll }));
  for (const name of [
    "make a user namespace",
    "use i386 calls",
    "open a netlink socket",
    "change its personality",
    "answer its own refusals",
    "refused calls are reported",
  ])
    t.ok(open.includes(name), `${name}: found in ${open}`);

  const variables = await failing((spec) => ({ env: { ...spec.env, LD_PRELOAD: "/tmp/x" } }));
  t.strictSame(variables, ["environment"]);
  t.strictSame(await failing(() => ({ hostname: "db-1" })), ["host name"]);
});

t.test("every attempt is one that the probe knows, with a name of its own", async (t) => {
  const { launcher, stop } = startLauncher();
  t.teardown(stop);
  const { output } = await probe(launcher, BATTERY, "default");
  t.strictSame(
    [...readAnswers(output)].filter(([, answer]) => answer === "UNKNOWN"),
    [],
  );
  for (const attempt of BATTERY) t.match(adviceOn(attempt), /\.$/, `${attempt.name}: what to do`);
  t.equal(new Set(BATTERY.map((attempt) => attempt.name)).size, BATTERY.length, "names");
  t.equal(new Set(BATTERY.map((attempt) => attempt.probe)).size, BATTERY.length, "attempts");
});

t.test("a namespace that is ours is found", async (t) => {
  const { launcher, stop } = startLauncher();
  t.teardown(stop);
  const ours = readlinkSync("/proc/self/ns/net");
  const print = (answer: string) => [
    "/bin/sh",
    "-c",
    `printf 'link-target:/proc/self/ns/net\\t${answer}\\n'`,
  ];
  const found = async (answer: string) =>
    (await selfTest(with_(launcher, () => ({ argv: print(answer) })))).checks.find(
      (c) => c.name === "namespaces of its own",
    );
  t.match(await found(ours), { ok: false, detail: /net/ });
  t.match(await found("net:[1]"), { ok: true });
});

t.test("what can't be tried is a failure", async (t) => {
  const { launcher, stop } = startLauncher();
  t.teardown(stop);
  const dies = await selfTest(with_(launcher, () => ({ argv: ["/bin/false"] })));
  t.equal(dies.ok, false);
  const silent = await selfTest(with_(launcher, () => ({ argv: ["/bin/true"] })));
  t.equal(silent.ok, false);
  t.ok(silent.checks.filter((c) => !c.ok).length >= BATTERY.length);
  t.match(silent.checks.at(1), { ok: false, detail: /not tried/ });
  t.equal(judge(BATTERY[0]!, undefined, true), false);
  t.equal(judge(BATTERY[0]!, "OK", true), false);
});

t.test("a launcher that ends", async (t) => {
  const { launcher, child } = startLauncher();
  child.kill("SIGKILL");
  await launcher.ended;
  const test = await selfTest(launcher);
  t.equal(test.ok, false);
});

t.test("a launcher that ends in the middle", async (t) => {
  const { launcher, child } = startLauncher();
  const test = await selfTest({
    ...with_(launcher, () => ({})),
    run: (grant, handlers) => {
      const run = launcher.run(grant, handlers);
      child.kill("SIGKILL");
      return run;
    },
  });
  t.equal(test.ok, false);
  t.match(test.checks.at(-1), { name: "self-test", detail: /The launcher ended/ });
});

t.test("no namespaces: it says which setting to change", async (t) => {
  for (const setting of ["max_user_namespaces", "max_net_namespaces"]) {
    const script = `echo 0 > /proc/sys/user/${setting} && exec "$@"`;
    // Of an ordinary account outside: root's own could not be mapped into a run, which would be what is told.
    const drop = ["setpriv", "--reuid", "54321", "--regid", "54321", "--clear-groups"];
    const ordinary = process.getuid?.() === 0 ? drop : [];
    const before = [...ordinary, "unshare", "--user", "--map-root-user", "sh", "-c", script, "sh"];
    const { launcher, stop } = startLauncher({ before });
    const test = await selfTest(launcher);
    t.equal(test.ok, false);
    const first = test.checks.find((c) => !c.ok);
    t.equal(first?.name, "set up a sandbox");
    t.match(first?.detail, new RegExp(`step "(clone|unshare)" \\(ENOSPC\\).*user.${setting}`));
    await stop();
  }
});

t.test("what can't be set up comes with what to change", async (t) => {
  const advice = async (step: string): Promise<string> => {
    const why = `The sandbox could not be set up at step "${step}" (EPERM).`;
    const test = await selfTest({
      hello: Promise.resolve({ kind: "hello", cgroup: "v2" }),
      ended: new Promise(() => {}),
      run: () => ({ finished: Promise.resolve(launchFailed(why)), cancel: () => {} }),
      close: () => {},
    });
    return test.checks.find((c) => !c.ok)!.detail.slice(why.length);
  };
  t.equal(await advice("no such step"), "");
  const mounting = ["private", "detach", "readonly", "mkdir", "etc", "secrets", "secrets.readonly", "link"];
  for (const step of mounting) t.match(await advice(step), /mounting/i, step);
  t.match(await advice("/usr"), /no \/usr/);
  t.match(await advice("descriptors"), /LimitNOFILE/);
});

const isRoot = process.getuid?.() === 0;
const skip = isRoot ? false : "needs root to become an ordinary user";
t.test("root of a container that maps one account", { skip }, async (t) => {
  const drop = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
  const { launcher, stop } = startLauncher({ before: [...drop, "unshare", "--map-root-user", "--mount"] });
  t.teardown(stop);
  const test = await selfTest(launcher);
  t.strictSame(
    test.checks.filter((c) => !c.ok),
    [],
  );
});

t.test("root of the host is nobody's id map", { skip }, async (t) => {
  // Root outside as well, with no other account to map a run to.
  const { launcher, stop } = startLauncher({ before: ["unshare", "--map-root-user", "--mount"] });
  t.teardown(stop);
  const test = await selfTest(launcher);
  t.match(
    test.checks.find((c) => !c.ok),
    { detail: /step "id map" \(EPERM\)/ },
  );
});

t.test("a host whose /proc is masked", { skip: isRoot ? false : "needs root to mask one" }, async (t) => {
  const script = 'mount --bind /proc/sys /proc/sys && exec "$@"';
  const before = ["unshare", "-m", "sh", "-c", script, "sh"];
  const { launcher, stop } = startLauncher({ uid: 65534, before });
  t.teardown(stop);
  const test = await selfTest(launcher);
  t.match(
    test.degraded.find((one) => one.includes("/proc")),
    /without \/proc/,
    "and that is told",
  );
  t.strictSame(
    test.checks.filter((c) => !c.ok),
    [],
  );
});
