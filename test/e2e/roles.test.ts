import { join } from "node:path";
import t from "tap";
import { callKeeper } from "../../src/cli/client.ts";
import { encodeBundle } from "../../src/core/bundle.ts";
import { asSallyportError } from "../../src/core/errors.ts";
import type { Command } from "../../src/wire/ctl.ts";
import type { Delivery } from "../../src/workspace/index.ts";
import { needsRoot, TestAppliance } from "./appliance.ts";
import { answer, eventually, opFolder, PATIENCE, plain, runsOf } from "./slack-rig.ts";

/**
 * Role by action by surface at the real sockets, against tables written from DESIGN and not from the policies: of each action
 * the people who may. N no role; R C A runner, coder, admin of demo; O admin of another namespace; r c a the same in "*";
 * G runner by a group. Who is not named is refused, and nothing of it happens.
 */
const PEOPLE: Readonly<Record<string, string>> = {
  N: "nina",
  R: "rob",
  C: "carl",
  A: "anna",
  O: "otto",
  r: "rosa",
  c: "cleo",
  a: "axel",
  G: "gil",
};
const FROM_SLACK = {
  run: "RCArcaG",
  show: "RCArcaG",
  log: "RCArcaG",
  list: "RCArcaG",
  approve: "RCArcaG",
  cancel: "Aa",
} as const;
const AT_THE_TERMINAL: Readonly<Record<string, string>> = {
  run: "RCArcaG",
  "op.show": "RCArcaG",
  "run.show": "RCArcaG",
  "run.approve": "RCArcaG",
  "run.cancel": "Aa",
  "op.code": "CAca",
  "op.publish": "CAca",
  "op.activate": "CAca",
  "secret.list": "Aa",
  "role.grant": "Aa",
  "namespace.channel": "Aa",
  "policy.check": "Aa",
  "policy.explain": "Aa",
  "policy.add": "a",
  "policy.remove": "a",
  "policy.list": "a",
  "policy.show": "a",
  "user.list": "a",
  "user.disable": "a",
  "group.add": "a",
  "namespace.add": "a",
  status: "NRCAOrcaG",
};

t.setTimeout(300_000);
const appliance = new TestAppliance();
t.teardown(() => appliance.stop());
const workspace = await appliance.ready();
const ops = workspace.channel("ops");
const runDir = join(appliance.dir, "run");
const UIDS = 71_000;
const uidOf = (letter: string) => UIDS + Object.keys(PEOPLE).indexOf(letter);
await appliance.ok(["namespace", "add", "other"]);
await appliance.ok(["group", "add", "team"]);
for (const letter of Object.keys(PEOPLE)) {
  const name = PEOPLE[letter]!;
  workspace.addPerson({ name });
  ops.members.add(workspace.person(name).id);
  await callKeeper(runDir, "user.add", { name, hostUid: uidOf(letter), login: name });
  await appliance.link(name);
}
const grant = (role: string, namespace: string, subject: string, ...more: string[]) =>
  appliance.ok(["role", "grant", role, namespace, subject, ...more]);
await grant("runner", "demo", "rob");
await grant("coder", "demo", "carl");
await grant("admin", "demo", "anna");
await grant("admin", "other", "otto");
await grant("runner", "*", "rosa");
await grant("coder", "*", "cleo");
await grant("admin", "*", "axel");
await grant("runner", "demo", "team", "--group");
await appliance.ok(["group", "member", "add", "team", "gil"]);
const YAML = 'op: demo/it\nsummary: it is\nrun: ["/bin/true"]\nconcurrency: 8\n';
await appliance.publish(opFolder(appliance, YAML));
// More approvals than there are people here: it waits on.
await appliance.publish(
  opFolder(appliance, 'op: demo/ten\nsummary: ten\nrun: ["/bin/true"]\napproval: {count: 10}\n'),
);

/** A run of bob's, who is none of these, that waits. */
async function waiting(): Promise<string> {
  const known = new Set(runsOf(appliance));
  await answer(workspace.command("bob", "ops", "/ops run demo/ten"));
  let id: string | undefined;
  await eventually(appliance, () => {
    id = runsOf(appliance).find((run) => !known.has(run));
    return id !== undefined;
  });
  return id ?? "";
}
const stateOf = async (run: string) =>
  ((await callKeeper(runDir, "run.show", { run })) as { state: string }).state;

const REFUSED = /Refused|There is nothing of that name|no Op that you may run here/;

type Send = (who: string, line: string) => Promise<string>;
const aside = async (who: string, send: () => Delivery): Promise<string> => {
  const since = workspace.messages("ops").length;
  const runs = runsOf(appliance).length;
  await send().ack;
  const { id } = workspace.person(who);
  return workspace.waitFor(() => {
    const said = workspace.messages("ops").find((m, i) => i >= since && m.ephemeralFor === id);
    if (said !== undefined) return plain(said);
    return runsOf(appliance).length > runs ? "runs" : undefined;
  }, PATIENCE);
};
/** What the person alone is told, or "runs" where their run is what there is to see. */
async function told(send: () => Delivery): Promise<string> {
  const runs = runsOf(appliance).length;
  const delivery = send();
  return workspace.waitFor(() => {
    const said = delivery.responses[0];
    if (said !== undefined) return plain(said);
    return runsOf(appliance).length > runs ? "runs" : undefined;
  }, PATIENCE);
}
const pressable = await (async () => {
  await told(() => workspace.command("bob", "ops", "/ops run demo/it"));
  return workspace.waitFor(() => workspace.messages("ops").find((m) => /demo\/it/.test(plain(m))), PATIENCE);
})();
const SURFACES: Readonly<Record<string, Send>> = {
  "slash command": (who, line) => told(() => workspace.command(who, "ops", `/ops ${line}`)),
  mention: (who, line) => aside(who, () => workspace.mention(who, "ops", line)),
  // One that sallyport never made: any command as its action, any text as its value.
  button: (who, line) => {
    const [id = "", ...rest] = line.split(" ");
    const text = { type: "plain_text", text: "x" };
    const element = { type: "button", action_id: id, value: rest.join(" "), text };
    const forged = { ...pressable, blocks: [{ type: "actions", block_id: "x", elements: [element] }] };
    return told(() => workspace.click(who, forged, id));
  },
};

for (const [surface, send] of Object.entries(SURFACES))
  t.test(`from Slack, by ${surface}`, async (t) => {
    const shared = await waiting();
    for (const [action, may] of Object.entries(FROM_SLACK)) {
      let allowed = "";
      for (const [letter, who] of Object.entries(PEOPLE)) {
        const run = action === "cancel" && may.includes(letter) ? await waiting() : shared;
        const line = { run: "run demo/it", list: "list", approve: `approve ${run}`, cancel: `cancel ${run}` };
        const said = await send(
          who,
          action in line ? line[action as keyof typeof line] : `${action} demo/it`,
        );
        if (!REFUSED.test(said)) allowed += letter;
        if (run !== shared) t.equal(await stateOf(run), "canceled", `${letter} ${action}`);
      }
      t.equal(allowed, may, action);
    }
    t.equal(await stateOf(shared), "waiting", "nobody ended it who may not");
    await callKeeper(runDir, "run.cancel", { run: shared });
  });

/** As another account of the host: the kernel tells the keeper the effective one at the time of the connection. */
function as<C extends Command>(
  uid: number,
  command: C,
  params: object,
  parts: Buffer[] = [],
): Promise<unknown> {
  process.seteuid?.(uid);
  try {
    return callKeeper(runDir, command, params as never, { parts });
  } finally {
    process.seteuid?.(0);
  }
}

t.test("at the terminal", { skip: needsRoot }, async (t) => {
  const shared = await waiting();
  const bundle = encodeBundle([{ path: "op.yaml", mode: 0o644, bytes: Buffer.from(YAML) }]);
  const subject = { kind: "user", name: "bob" };
  const requests: Record<string, [params: object, parts?: Buffer[]]> = {
    run: [{ op: "demo/it", tokens: [] }],
    "op.show": [{ op: "demo/it" }],
    "run.show": [{ run: shared }],
    "op.code": [{ op: "demo/it" }],
    "op.publish": [{ activate: false }, [bundle]],
    "op.activate": [{ op: "demo/it", version: 1 }],
    "secret.list": [{ namespace: "demo" }],
    "role.grant": [{ role: "runner", namespace: "demo", subject }],
    "namespace.channel": [{ action: "remove", namespace: "demo", channel: "C0NOTTHERE" }],
    "policy.check": [{ user: "bob", op: "demo/it", action: "run", tokens: [], source: "tty" }],
    "policy.explain": [{ run: shared }],
    "policy.add": [{ name: "x", replace: false }, [Buffer.from("permit (")]],
    "policy.remove": [{ name: "x" }],
    "policy.list": [{}],
    "policy.show": [{ name: "self-approval" }],
    "user.list": [{}],
    "user.disable": [{ name: "nobody-of-that-name" }],
    "group.add": [{ name: "team" }],
    "namespace.add": [{ name: "demo" }],
    status: [{}],
  };
  /** Of these the request is one that fails for whoever may: they hear why. */
  const FAILS: Readonly<Record<string, string>> = {
    "role.grant": "conflict",
    "namespace.channel": "not_found",
    "policy.add": "policy_invalid",
    "policy.remove": "not_found",
    "user.disable": "not_found",
    "group.add": "conflict",
    "namespace.add": "conflict",
  };
  for (const [action, may] of Object.entries(AT_THE_TERMINAL)) {
    let allowed = "";
    for (const letter of Object.keys(PEOPLE)) {
      const uid = uidOf(letter);
      const code = await (async () => {
        if (action === "run.approve") {
          const { digest } = (await as(uid, "run.waiting", { run: shared })) as { digest: string };
          return as(uid, "run.approve", { run: shared, digest });
        }
        if (action === "run.cancel")
          return as(uid, "run.cancel", { run: may.includes(letter) ? await waiting() : shared });
        const [params, parts] = requests[action]!;
        return as(uid, action as Command, params, parts);
      })().then(
        () => "done",
        (error: unknown) => asSallyportError(error).code,
      );
      if (code === (FAILS[action] ?? "done")) allowed += letter;
      else if (code !== "denied" && code !== "not_found") t.fail(`${letter} ${action}: ${code}`);
    }
    t.equal(allowed, may, action);
  }
  t.equal(await stateOf(shared), "waiting");
});
