import t from "tap";
import type { Document } from "../../src/slack/document.ts";
import { escapeText, LITERAL, renderDocument, renderText } from "../../src/slack/render.ts";
import { checkBlocks } from "../../src/workspace/blocks.ts";
import { acting, renderMessage } from "../../src/workspace/index.ts";

type Message = Parameters<typeof acting>[0];

/** As Slack would show it: the arguments of chat.postMessage go with it. */
function message(document: Document, parts: Uint8Array[] = []): Message {
  const rendered = renderDocument(document, parts);
  return { ...rendered, mrkdwn: LITERAL.mrkdwn, linkNames: LITERAL.link_names } as Message;
}

const HOSTILE = [
  "<!channel> <!here> <!everyone> @channel @here @everyone",
  "<@U0ALICE001> <@U0ALICE001|boss> <!subteam^S012345>",
  "<https://evil.example/|https://bank.example/> https://evil.example mailto:a@b.c",
  "*bold* _it_ ~gone~ `code` ```block``` > quote :rotating_light: &lt;!channel&gt; &amp;lt;",
  "<!date^1392734382^{date}^https://evil.example|now> <#C0OPS00001>",
  "\u001b[31mred\u001b[0m \u001b]0;title\u0007 \u001b]52;c;aGk=\u0007 \u009b2J",
  "\u202egnp.exe\u202c \u2066x\u2069 \u200bzero\u200b \u{e0041}tag \ufeffbom",
  '{"type":"button","action_id":"approve"} ⟦ping @channel⟧',
  "line1\r\nline2\rline3\u2028line4\u0000nul\ttab",
];

t.test("P16: hostile text in every place where it can stand has no effect", async (t) => {
  for (const text of HOSTILE) {
    const places: [string, Document, Uint8Array[]][] = [
      [
        "output",
        { summary: "done", blocks: [{ kind: "output", part: 0, truncated: true }] },
        [Buffer.from(text)],
      ],
      ["summary", { summary: text, blocks: [] }, []],
      ["text", { summary: "s", blocks: [{ kind: "text", text }] }, []],
      ["note", { summary: "s", blocks: [{ kind: "note", text }] }, []],
      ["code", { summary: "s", blocks: [{ kind: "code", text }] }, []],
      ["fields", { summary: "s", blocks: [{ kind: "fields", rows: [["k", text]] }] }, []],
      ["list", { summary: "s", blocks: [{ kind: "list", items: [{ title: "t", detail: text }] }] }, []],
      [
        "button",
        { summary: "s", blocks: [{ kind: "buttons", buttons: [{ id: "a", label: text, value: text }] }] },
        [],
      ],
    ];
    for (const [place, document, parts] of places) {
      const shown = message(document, parts);
      const acts = acting(shown).filter((act) => act !== "bold k:" && act !== "bold k: " && act !== "bold t");
      t.same(acts, [], `${place}, case ${HOSTILE.indexOf(text)}`);
      t.same(
        acting({ text: shown.text, mrkdwn: false } as Message),
        [],
        `${place}, where only the text is shown`,
      );
      t.equal(checkBlocks(shown.blocks, 50, true), null, `${place}: Slack takes the blocks`);
      const screen = renderMessage(shown, { emphasis: "strip" });
      t.notMatch(
        screen,
        /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b\u202a-\u202e\u2066-\u2069]|[\u{e0000}-\u{e0fff}]/u,
        place,
      );
    }
  }
});

t.test("what a person must see is not lost by it", async (t) => {
  const shown = (text: string) => {
    const m = message({ summary: "s", blocks: [{ kind: "output", part: 0, truncated: false }] }, [
      Buffer.from(text),
    ]);
    return renderMessage(m, { emphasis: "strip" });
  };
  t.match(shown("<b> & *x* :y:"), "<b> & *x* :y:");
  t.match(shown("\u001b[31m"), "␛[31m", "escape codes are visible");
  t.match(shown("a\u202eb"), "a\\u{202e}b", "so are bidi overrides");
  t.match(shown("Größe 日本 👩‍👩‍👧"), "Größe 日本 👩‍👩‍👧");
  t.match(shown("a\nb\tc"), /a\n.*b\tc/s);
});

t.test("bytes that are no UTF-8", async (t) => {
  const bytes = Buffer.from([0x61, 0xff, 0xfe, 0xc3, 0x28, 0xed, 0xa0, 0x80, 0x62, 0xf0, 0x9f]);
  const { blocks } = renderDocument(
    { summary: "s", blocks: [{ kind: "output", part: 0, truncated: false }] },
    [bytes],
  );
  const json = JSON.stringify(blocks);
  t.match(json, /a\ufffd+\(\ufffd+b\ufffd/);
  t.notMatch(json, /\\ud[89a-f]/i, "no lone surrogate");
});

t.test("limits: whatever is asked for, Slack takes it", async (t) => {
  const long = 'wide 日本 \u001b"\\ '.repeat(20_000).slice(0, 8000);
  const documents: [string, Document, Uint8Array[]][] = [
    [
      "one big output",
      { summary: "s", blocks: [{ kind: "output", part: 0, truncated: false }] },
      [Buffer.alloc(65_536, "ab\n")],
    ],
    [
      "output of control codes",
      { summary: "s", blocks: [{ kind: "output", part: 0, truncated: false }] },
      [Buffer.alloc(65_536, 27)],
    ],
    [
      "output of quotes",
      { summary: "s", blocks: [{ kind: "output", part: 0, truncated: false }] },
      [Buffer.alloc(65_536, '"')],
    ],
    [
      "eight outputs",
      {
        summary: "s",
        blocks: Array.from({ length: 8 }, (_, part) => ({ kind: "output" as const, part, truncated: false })),
      },
      Array.from({ length: 8 }, () => Buffer.alloc(65_536, "x")),
    ],
    [
      "40 long texts",
      {
        summary: "s".repeat(300),
        blocks: Array.from({ length: 40 }, () => ({ kind: "text" as const, text: long })),
      },
      [],
    ],
    [
      "40 long notes",
      {
        summary: "",
        blocks: Array.from({ length: 40 }, () => ({ kind: "note" as const, text: long.slice(0, 1500) })),
      },
      [],
    ],
    [
      "long fields",
      {
        summary: "s",
        blocks: Array.from({ length: 40 }, () => ({
          kind: "fields" as const,
          rows: Array.from({ length: 20 }, (): [string, string] => ["k".repeat(80), "v".repeat(1500)]),
        })),
      },
      [],
    ],
    [
      "long lists",
      {
        summary: "s",
        blocks: [
          {
            kind: "list",
            items: Array.from({ length: 60 }, () => ({ title: "t".repeat(200), detail: "d".repeat(1500) })),
          },
        ],
      },
      [],
    ],
    [
      "many buttons",
      {
        summary: "s",
        blocks: Array.from({ length: 40 }, () => ({
          kind: "buttons" as const,
          buttons: Array.from({ length: 10 }, (_, i) => ({
            id: "b".repeat(64),
            label: "l".repeat(60),
            value: `${i}`.repeat(500),
          })),
        })),
      },
      [],
    ],
    ["nothing", { summary: "", blocks: [] }, []],
    [
      "empty everything",
      {
        summary: "",
        blocks: [
          { kind: "text", text: "" },
          { kind: "code", text: "" },
          { kind: "fields", rows: [] },
          { kind: "list", items: [] },
          { kind: "buttons", buttons: [] },
          { kind: "output", part: 5, truncated: false },
        ],
      },
      [],
    ],
  ];
  for (const [what, document, parts] of documents) {
    const { text, blocks } = renderDocument(document, parts);
    t.equal(checkBlocks(blocks, 50, true), null, what);
    t.ok(blocks.length > 0 && text.length > 0 && text.length < 2000, what);
    t.notMatch(JSON.stringify(blocks), /\\ud[89a-f]/i, `${what}: no torn character`);
  }
});

t.test("a long output keeps its beginning and its end, and says so", async (t) => {
  const lines = Array.from({ length: 9000 }, (_, i) => `line ${i}`).join("\n");
  const m = message({ summary: "s", blocks: [{ kind: "output", part: 0, truncated: false }] }, [
    Buffer.from(lines),
  ]);
  const screen = renderMessage(m, { emphasis: "strip" });
  t.match(screen, "line 0\n");
  t.match(screen, "line 8999");
  t.match(screen, "left out");
  t.match(screen, "longer than shown");
});

t.test("buttons of one id are told apart for Slack", async (t) => {
  const buttons = ["1", "2", "3"].map((value) => ({ id: "run", label: "Run", value }));
  const { blocks } = renderDocument({ summary: "s", blocks: [{ kind: "buttons", buttons }] });
  t.match(JSON.stringify(blocks), /"run".*"run#2".*"run#3"/);
});

t.test("short texts", async (t) => {
  t.equal(escapeText("<!here> & &lt;"), "&lt;!here&gt; &amp; &amp;lt;");
  const m = { ...renderText("no <!channel> *x*"), mrkdwn: false } as Message;
  t.same(acting(m), []);
  t.match(renderMessage(m), "no <!channel> *x*");
});
