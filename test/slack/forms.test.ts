import t from "tap";
import { renderView as rendered } from "../../src/slack/render.ts";
import { View } from "../../src/wire/view.ts";
import { renderView } from "../../src/workspace/index.ts";
import { type Rig, sessionRig, text } from "./rig.ts";

/** Forms: opened once for the one who asked, answered where they asked. */

const FORM: View = {
  id: "code",
  value: '{"run":"r-0001"}',
  title: "Confirm a run",
  submit: "Confirm",
  blocks: [{ kind: "fields", rows: [["Op", "demo/hello"]] }],
  inputs: [{ id: "code", kind: "text", label: "One-time code", hint: "Six digits", maxLength: 10 }],
};

async function started() {
  const rig = await sessionRig();
  rig.session.start();
  await rig.keeper.connected();
  return rig;
}
async function asked(rig: Rig, act: () => unknown) {
  const before = rig.keeper.of("slack.request").length;
  act();
  return rig.keeper.until(() => rig.keeper.of("slack.request")[before], "request");
}
const open = (rig: Rig, request: string) => rig.keeper.send({ type: "slack.view", request, view: FORM });
const modal = (rig: Rig, who = "alice") => rig.workspace.waitFor(() => rig.workspace.modal(who) ?? undefined);
const said = (rig: Rig, who: string, where: string | "dm") =>
  rig.workspace.visible(who, where === "dm" ? rig.workspace.im(who) : where).map((m) => m.text);

t.test("opened for a command, submitted, answered to that person in that channel", async (t) => {
  const rig = await started();
  t.teardown(rig.stop);
  const command = await asked(rig, () => rig.workspace.command("alice", "ops", "/ops approve r-0001"));
  open(rig, command.id);
  const shown = renderView(await modal(rig), { emphasis: "strip" });
  for (const part of [/Confirm a run/, /Op: demo\/hello/, /One-time code/, /Six digits/, /Confirm/])
    t.match(shown, part);
  t.equal(rig.workspace.modal("bob"), null);
  const submitted = await asked(rig, () => rig.workspace.submitView("alice", { code: "123456" }));
  t.match(submitted, {
    surface: "modal",
    action: { id: "code", value: FORM.value },
    text: '{"code":"123456"}',
    channel: { id: rig.workspace.channel("ops").id, kind: "public" },
  });
  await rig.workspace.waitFor(() => rig.workspace.modal("alice") === null);
  rig.keeper.send({ type: "slack.respond", request: submitted.id, document: text("taken") });
  await rig.workspace.waitFor(() => said(rig, "alice", "ops").includes("taken"));
  t.notOk(said(rig, "bob", "ops").includes("taken"));
  t.notOk(said(rig, "alice", "dm").includes("taken"));
});

t.test("from a button of a private message, and in a direct conversation", async (t) => {
  const rig = await started();
  t.teardown(rig.stop);
  const dm = rig.workspace.im("alice");
  for (const where of ["ops", dm.id]) {
    const command = await asked(rig, () => rig.workspace.command("alice", where, "/ops run x"));
    const buttons = [{ id: "approve", label: "Enter the code", value: "r-0001" }];
    const document = { summary: `wait ${where}`, blocks: [{ kind: "buttons" as const, buttons }] };
    rig.keeper.send({ type: "slack.respond", request: command.id, document });
    const message = await rig.workspace.waitFor(() =>
      rig.workspace.visible("alice", where).find((m) => m.text === `wait ${where}`),
    );
    const click = await asked(rig, () => rig.workspace.click("alice", message, "approve"));
    open(rig, click.id);
    await modal(rig);
    const submitted = await asked(rig, () => rig.workspace.submitView("alice", { code: "123456" }));
    t.equal(submitted.channel?.id, rig.workspace.channel(where).id);
    rig.keeper.send({ type: "slack.respond", request: submitted.id, document: text(`answer ${where}`) });
    await rig.workspace.waitFor(() => said(rig, "alice", where).includes(`answer ${where}`));
    t.notOk(said(rig, "bob", "ops").includes(`answer ${where}`));
  }
});

t.test("what can't be opened is told", async (t) => {
  const rig = await started();
  t.teardown(rig.stop);
  const heard = (match: RegExp) =>
    rig.workspace.waitFor(() => said(rig, "alice", "ops").filter((text) => match.test(text)).length === 1);
  const late = await asked(rig, () => rig.workspace.command("alice", "ops", "/ops approve r-0001"));
  rig.workspace.faults.api("views.open", { error: "expired_trigger_id" });
  open(rig, late.id);
  await heard(/within 3 seconds.*again/);
  open(rig, late.id);
  await heard(/only for a button or a slash command/);
  t.equal(rig.workspace.modal("alice"), null, "a trigger is used once");
  const broken = await asked(rig, () => rig.workspace.command("alice", "ops", "/ops approve r-0001"));
  rig.workspace.faults.api("views.open", { status: 500 });
  open(rig, broken.id);
  await heard(/could not be opened \(views\.open: HTTP 500\)/);
  const mention = await asked(rig, () => rig.workspace.mention("bob", "ops", "approve r-0001"));
  open(rig, mention.id);
  await rig.workspace.waitFor(() => said(rig, "bob", "ops").some((text) => /only for a button/.test(text)));
  open(rig, "nobody-knows");
  t.equal(rig.keeper.of("slack.alarm").length, 0);
});

t.test("a form that names another's request, or none, has no place", async (t) => {
  const rig = await started();
  t.teardown(rig.stop);
  const others = await asked(rig, () => rig.workspace.command("bob", "ops", "/ops status"));
  for (const external of [others.id, "nobody-knows", ""]) {
    const command = await asked(rig, () => rig.workspace.command("alice", "ops", "/ops approve r-0001"));
    open(rig, command.id);
    const view = await modal(rig);
    view.body.external_id = external;
    const submitted = await asked(rig, () => rig.workspace.submitView("alice", { code: "123456" }));
    t.equal(submitted.channel, null, `external_id "${external}"`);
    rig.keeper.send({ type: "slack.respond", request: submitted.id, document: text(`alone ${external}`) });
    await rig.workspace.waitFor(() => said(rig, "alice", "dm").includes(`alone ${external}`));
  }
});

t.test("nothing in a form can act", async (t) => {
  const evil = "<!channel> <@U0BOB> *b* `c` :smile: https://example.com \u001b[31m \u202e";
  const view: View = {
    ...FORM,
    title: "<!here> title that is longer than Slack takes".slice(0, 24),
    submit: "*Confirm*",
    blocks: [
      { kind: "text", text: evil },
      { kind: "note", text: evil },
      { kind: "fields", rows: [[evil.slice(0, 60), evil]] },
    ],
    inputs: [{ ...FORM.inputs[0]!, label: evil.slice(0, 60), hint: evil }],
  };
  const json = JSON.stringify(rendered(View.parse(view)));
  t.notMatch(json, /mrkdwn|"type":"(link|user|emoji|broadcast)"|"emoji":true/);
  t.notMatch(json, /\\u001b|\u202e/);
});

t.test("the keeper's form is bounded", async (t) => {
  const odd: object[] = [
    { ...FORM, title: "x".repeat(25) },
    { ...FORM, submit: "" },
    { ...FORM, id: "Code" },
    { ...FORM, value: "x".repeat(2001) },
    { ...FORM, inputs: [] },
    { ...FORM, inputs: [{ ...FORM.inputs[0], maxLength: 3001 }] },
    { ...FORM, inputs: [{ ...FORM.inputs[0], kind: "number" }] },
    { ...FORM, blocks: [{ kind: "buttons", buttons: [] }] },
    { ...FORM, more: 1 },
  ];
  t.ok(View.safeParse(FORM).success);
  for (const view of odd) t.notOk(View.safeParse(view).success, JSON.stringify(view).slice(0, 80));
});
