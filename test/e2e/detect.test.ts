import t from "tap";
import { readRules, setOff } from "../detect/sigma.ts";
import { alerts, readWazuhRules } from "../detect/wazuh.ts";
import { needsRoot, OTHER_ACCOUNT, PASSPHRASE, TestAppliance } from "./appliance.ts";
import { caughtUp, opFolder } from "./slack-rig.ts";

/** policies/detect over the lines of a real appliance: what happened there sets off its rule, and what went well none. */

t.setTimeout(240_000);
const appliance = new TestAppliance();
t.teardown(() => appliance.stop());
const SIGMA = [...readRules().values()].flat();
const WAZUH = readWazuhRules();

/** What the lines since the last look set off. */
let looked = 0;
async function found(): Promise<{ sigma: string[]; wazuh: number[] }> {
  await caughtUp(appliance);
  const lines = appliance.events.slice(looked);
  looked = appliance.events.length;
  const titles = setOff(
    SIGMA,
    lines.map((line) => JSON.parse(line) as Record<string, unknown>),
  );
  const isAlert = (title: string) => SIGMA.find((rule) => rule.title === title)?.level !== "informational";
  return {
    sigma: titles.filter(isAlert),
    wazuh: alerts(WAZUH, lines, "json"),
  };
}

await appliance.init();
await appliance.serve();

t.test("failures to unlock", async (t) => {
  for (let i = 0; i < 3; i++) await appliance.cli(["unlock", "--passphrase-fd", "3"], `wrong ${i}`);
  // Three wrong ones make the next wait for a second; how many are sent away meanwhile is up to the machine.
  let isSlowed = false;
  while ((await appliance.cli(["unlock", "--passphrase-fd", "3"], PASSPHRASE)).status !== 0) isSlowed = true;
  const { sigma, wazuh } = await found();
  t.strictSame(sigma.sort(), [
    "A wrong passphrase or recovery code for sallyport",
    "Repeated failures to unlock sallyport",
    ...(isSlowed ? ["Unlocking sallyport was slowed down"] : []),
  ]);
  t.strictSame(wazuh, [100520, 100521, ...(isSlowed ? [100522] : [])]);
});

t.test("what goes well sets off nothing", async (t) => {
  await appliance.ok(["namespace", "add", "demo"]);
  await appliance.ok(["user", "add", "rita"]);
  await appliance.ok(["group", "add", "leads"]);
  await appliance.ok(["group", "member", "add", "leads", "rita"]);
  await appliance.ok(["role", "grant", "runner", "demo", "rita"]);
  await appliance.ok(["secret", "set", "demo/KEY", "--value-fd", "3"], "a value of some length");
  const op = (name: string, script: string, more = "") =>
    appliance.publish(
      opFolder(appliance, `op: demo/${name}\nsummary: s\nrun: [./main.sh]\n${more}`, {
        "main.sh": `#!/bin/sh\n${script}\n`,
      }),
    );
  await op("hi", "echo hi");
  await op("tell", "cat /run/secrets/KEY", "secrets: [KEY]\n");
  await op("probe", "unshare -m true; exit 0");
  await op("two", "echo two", "approval: {count: 1, group: leads}\n");
  await appliance.ok(["run", "demo/hi"]);
  await appliance.ok(["audit", "verify"]);
  t.strictSame(await found(), { sigma: [], wazuh: [] });
});

t.test("each thing that happens, by its own rule", async (t) => {
  for (const [args, title, number] of [
    [["run", "demo/tell"], "An Op wrote a secret to its output", 100550],
    [["run", "demo/probe"], "An Op made a system call that is refused", 100540],
    [["run", "demo/two", "--break-glass", "the site is down"], "An Op was run without its approvals", 100560],
    [
      ["role", "grant", "runner", "demo", "alice"],
      "Somebody granted themselves a right in sallyport",
      100590,
    ],
    [
      ["group", "member", "add", "leads", "alice"],
      "Somebody granted themselves a right in sallyport",
      100591,
    ],
  ] as const) {
    await appliance.ok(args);
    t.strictSame(await found(), { sigma: [title], wazuh: [number] }, args.join(" "));
  }
});

t.test("one person who is refused again and again", { skip: needsRoot }, async (t) => {
  await appliance.ok(["user", "add", "otto", "--host-user", "nobody"]);
  const refused = () => appliance.cliAs(OTHER_ACCOUNT, ["audit", "export", "--format", "jsonl"]);
  for (let i = 0; i < 4; i++) t.match(await refused(), { status: 3 });
  t.strictSame(await found(), { sigma: [], wazuh: [100510] });
  for (let i = 0; i < 5; i++) await refused();
  t.strictSame(await found(), { sigma: ["Repeated refusals of one person"], wazuh: [100510, 100511] });
});
