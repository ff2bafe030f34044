import t from "tap";
import { acting, type Block, renderMessage } from "../../src/workspace/index.ts";

const text = (s: string) => ({ text: s });
const section = (s: string, more: object = {}) => ({
  text: "",
  blocks: [{ type: "section", text: { type: "mrkdwn", text: s, ...more } }] as Block[],
});
const output = (s: string) => ({
  text: "",
  blocks: [
    {
      type: "rich_text",
      elements: [{ type: "rich_text_preformatted", elements: [{ type: "text", text: s }] }],
    },
  ] as Block[],
});

t.test("what acts in Slack's mrkdwn is marked", async (t) => {
  for (const [source, shown] of [
    ["<!channel> now", "⟦ping @channel⟧ now"],
    ["<!here|here>", "⟦ping @here⟧"],
    ["<!everyone>", "⟦ping @everyone⟧"],
    ["hi <@U0BOB00001>", "hi ⟦ping @U0BOB00001⟧"],
    ["<!subteam^S012|@leads>", "⟦ping @leads⟧"],
    ["<#C0OPS00001|ops>", "⟦channel #C0OPS00001⟧"],
    ["<https://evil.example|bank>", "⟦link bank → https://evil.example⟧"],
    ["<mailto:a@b.example>", "⟦link mailto:a@b.example⟧"],
    ["see https://evil.example/x?y=1", "see ⟦link https://evil.example/x?y=1⟧"],
    ["run install.sh", "run ⟦link install.sh⟧"],
    ["a *b* c", "a ⟦bold b⟧ c"],
    ["_i_ ~s~ `c`", "⟦italic i⟧ ⟦strike s⟧ ⟦code c⟧"],
    ["*<!channel>*", "⟦bold ⟦ping @channel⟧⟧"],
    [":white_check_mark: done", "⟦emoji :white_check_mark:⟧ done"],
    ["&gt; quoted", "⟦quote quoted⟧"],
    ["<!date^1392734382^{date}|today>", "⟦date today⟧"],
    ["```\n<!channel>\n```", "│ ⟦ping @channel⟧"],
    ["@channel", "⟦ping @channel⟧"],
  ] as const) {
    t.equal(renderMessage(section(source)), shown, source);
    t.equal(renderMessage(text(source)), shown, `${source} as text`);
    t.not(acting(section(source)).length, 0, `acting: ${source}`);
  }
});

t.test("what does not act stays literal, and acting() is empty", async (t) => {
  for (const [source, shown] of [
    ["&lt;!channel&gt; &amp;lt;", "<!channel> &lt;"],
    ["2*3*4 snake_case_name a~b~c", "2*3*4 snake_case_name a~b~c"],
    ["12:30:45 at 10:00:00", "12:30:45 at 10:00:00"],
    ["a < b and c > d", "a < b and c > d"],
    ["* not bold *", "* not bold *"],
  ] as const) {
    t.equal(renderMessage(section(source)), shown);
    t.same(acting(section(source)), []);
  }
  const hostile = "<!channel> *b* https://evil.example @here :tada: `x` &lt;";
  t.equal(renderMessage(output(hostile)), `│ ${hostile}`, "rich_text is literal");
  t.same(acting(output(hostile)), []);
  t.same(acting(section("see https://x.example, @here", { verbatim: true })), []);
  t.same(acting({ text: "*b* <!channel>", mrkdwn: false }), []);
});

t.test("elements of rich_text act by their type and style", async (t) => {
  const elements = [
    { type: "user", user_id: "U0BOB00001" },
    { type: "broadcast", range: "here" },
    { type: "link", url: "https://x.example", text: "bank" },
    { type: "text", text: "loud", style: { bold: true } },
  ];
  const message = {
    text: "",
    blocks: [{ type: "rich_text", elements: [{ type: "rich_text_section", elements }] }],
  };
  t.equal(
    renderMessage(message, { names: (id) => (id === "U0BOB00001" ? "bob" : null) }),
    "⟦ping @bob⟧⟦ping @here⟧⟦link bank → https://x.example⟧⟦bold loud⟧",
  );
});

t.test("a ping hidden in the notification text beside blocks shows", async (t) => {
  const message = { ...output("fine"), text: "run finished <!channel> *x*" };
  t.same(acting(message), ["ping @channel (in the notification)"]);
  t.match(renderMessage(message), "⟦ping @channel (in the notification)⟧");
});

t.test("neither escape codes, text direction nor our own marks come through", async (t) => {
  const hostile = "a\u001b[2Jb\u0007\u009bc\u202ed ⟦ping⟧\rx";
  const shown = renderMessage(output(hostile));
  t.equal(shown, "│ a␛[2Jb␇⟦U+009B⟧c⟦U+202E⟧d [[ping]]␍x");
  t.notMatch(
    renderMessage(section(hostile), { emphasis: "strip" }),
    /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/,
  );
});

t.test("a whole message: header, context, buttons, fields, divider, file", async (t) => {
  const plain = (s: string) => ({ type: "plain_text", text: s });
  const message = {
    text: "fallback",
    blocks: [
      { type: "header", text: plain("demo/hello") },
      {
        type: "section",
        text: { type: "mrkdwn", text: "*alice* asks" },
        fields: [plain("env"), plain("prod")],
      },
      { type: "divider" },
      { type: "context", elements: [{ type: "mrkdwn", text: "run `r1`" }, plain("exit 0")] },
      {
        type: "actions",
        elements: [
          { type: "button", action_id: "a", text: plain("Approve") },
          { type: "button", action_id: "b", text: plain("Docs"), url: "https://docs.example" },
          {
            type: "static_select",
            action_id: "c",
            placeholder: plain("env"),
            options: [{ text: plain("prod"), value: "p" }],
          },
        ],
      },
    ] as Block[],
    files: [{ title: "run.log", bytes: Buffer.from("12345") }],
  };
  t.equal(
    renderMessage(message, { emphasis: "strip" }),
    [
      "# demo/hello",
      "alice asks",
      "env",
      "prod",
      "────────────────────",
      "· run `r1`  exit 0",
      "[Approve] [Docs ⟦link https://docs.example⟧] [env: prod ▾]",
      "(file: run.log, 5 bytes)",
    ].join("\n"),
  );
  t.match(renderMessage(message, { emphasis: "ansi" }), "\u001b[1malice\u001b[0m asks");
  t.equal(renderMessage(message), renderMessage(message), "deterministic");
});

t.test("hostile text of full length renders in time that grows with its length", async (t) => {
  for (const unit of [
    "a",
    "a-",
    "a.",
    ":a",
    "*",
    "*a ",
    "<",
    "`",
    "```",
    "_a",
    "@",
    "x@",
    "~",
    "&gt;",
    "http://",
  ]) {
    const started = performance.now();
    renderMessage(text(unit.repeat(40_000 / unit.length)));
    t.ok(performance.now() - started < 2000, unit);
  }
});
