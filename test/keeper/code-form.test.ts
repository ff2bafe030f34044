import t from "tap";
import { codeForm, codeOf } from "../../src/keeper/code-form.ts";
import type { MessageOf } from "../../src/wire/messages.ts";
import { View } from "../../src/wire/view.ts";

const DIGEST = `sha256:${"0123456789abcdef".repeat(4)}`;
const ABOUT = { purpose: "approve", run: "r-0001", digest: DIGEST } as const;
const form = codeForm({ ...ABOUT, op: "demo/hello" });

const submitted = (over: Partial<MessageOf<"slack.request">> = {}): MessageOf<"slack.request"> => ({
  type: "slack.request",
  id: "a-1",
  dedupe: "envelope:1",
  trigger: null,
  surface: "modal",
  identity: { enterprise: null, team: "T1", user: "U1" },
  channel: null,
  thread: null,
  text: '{"code":"123 456"}',
  action: { id: form.id, value: form.value },
  retry: 0,
  receivedAt: 0,
  ...over,
});
const withValue = (value: unknown) =>
  codeOf(
    submitted({ action: { id: form.id, value: typeof value === "string" ? value : JSON.stringify(value) } }),
  );

t.test("what is shown, and what comes back", async (t) => {
  t.ok(View.safeParse(form).success);
  t.match(JSON.stringify(form.blocks), /demo\/hello.*r-0001.*012 345 678 9ab/);
  t.ok(
    View.safeParse(codeForm({ ...ABOUT, purpose: "confirm", op: `${"n".repeat(64)}/${"o".repeat(64)}` }))
      .success,
  );
  t.same(codeOf(submitted()), { ...ABOUT, code: "123 456" });
});

t.test("what Slack may have made of it is nothing", async (t) => {
  for (const value of [
    "",
    "{",
    "null",
    "[]",
    { ...ABOUT, more: 1 },
    { ...ABOUT, purpose: "run" },
    { ...ABOUT, run: "r-0001; x" },
    { ...ABOUT, run: "x".repeat(41) },
    { ...ABOUT, digest: "sha256:0" },
    { run: "r-0001" },
  ])
    t.equal(withValue(value), null, JSON.stringify(value));
  for (const text of [
    "",
    "null",
    "{}",
    '{"code":1}',
    '{"code":null}',
    '{"code":["1"]}',
    `{"code":"${"1".repeat(201)}"}`,
  ])
    t.equal(codeOf(submitted({ text })), null, text.slice(0, 40));
  t.equal(codeOf(submitted({ surface: "button" })), null, "a button");
  t.equal(codeOf(submitted({ action: { id: "run_form", value: form.value } })), null, "another form");
  t.equal(codeOf(submitted({ action: null })), null);
});
