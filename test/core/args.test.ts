import t from "tap";
import {
  type Args,
  argsText,
  checkArgs,
  parseArgs,
  toArgv,
  toEnv,
  toInputJson,
  tokenize,
} from "../../src/core/args.ts";
import { SallyportError } from "../../src/core/errors.ts";
import { sizeFault } from "../../src/core/launch-size.ts";
import { parseManifest } from "../../src/core/manifest.ts";
import { generator } from "./random.ts";

const m = parseManifest(`op: web/restart
summary: x
run: ["./x", "--", "\${name}", "\${count}"]
inputs:
  env: {type: string, enum: [staging, prod]}
  name: {type: string, default: World, maxLength: 20}
  count: {type: integer, minimum: -5, maximum: 5, default: 1}
  ratio: {type: number}
  dry_run: {type: boolean}
  must: {type: string, required: true, minLength: 1, description: the thing}
`);
const refused = (detail: RegExp) => ({ code: "input_invalid", detail });

t.test("words and quotes, from a terminal", async (t) => {
  const cases: [string, string[]][] = [
    ["", []],
    ["  \t\n ", []],
    ["--env prod --count=3", ["--env", "prod", "--count=3"]],
    ['"quoted words" x', ["quoted words", "x"]],
    ["--a='b c' d", ["--a=b c", "d"]],
    [`"it's" 'say "hi"'`, ["it's", 'say "hi"']],
    ["O'Brien a\"b", ["O'Brien", 'a"b']],
    ['"a \\"b\\" \\\\ \\n"', ['a "b" \\ \\n']],
    ["'a\\'", ["a\\"]],
    ['x="a b"', ['x="a', 'b"']],
    ['"" --x=""', ["", "--x="]],
    [
      "$(id) `id` ;rm -rf / | & > < * ~ \\",
      ["$(id)", "`id`", ";rm", "-rf", "/", "|", "&", ">", "<", "*", "~", "\\"],
    ],
    ["“curly” &amp; <@U1|x>", ["“curly”", "&amp;", "<@U1|x>"]],
  ];
  for (const [text, expected] of cases) t.same(tokenize(text), expected, text);
});

t.test("words from Slack", async (t) => {
  const cases: [string, string[]][] = [
    ["“smart words” ‘and’ —env prod –n 1", ["smart words", "and", "--env", "prod", "--n", "1"]],
    ["— a—b", ["—", "a—b"]],
    ["--name=“a b” O’Brien", ["--name=a b", "O’Brien"]],
    ["\"it’s\" 'it’s'", ["it’s", "it’s"]],
    ["a&amp;b &lt;x&gt; &amp;lt; &quot; &", ["a&b", "<x>", "&lt;", "&quot;", "&"]],
    ["<@U012AB3CD|bob> <#C012AB3CD|general> <@W012AB3CD>", ["U012AB3CD", "C012AB3CD", "W012AB3CD"]],
    ["<!subteam^S012AB3CD|@ops>", ["S012AB3CD"]],
    [
      "<https://a.b/?x=1&amp;y=2> <https://evil.example|good.example>",
      ["https://a.b/?x=1&y=2", "https://evil.example"],
    ],
    ["<http://example.com|example.com> <mailto:a@b.org|a@b.org>", ["example.com", "a@b.org"]],
    ['--name "<http://example.com|example.com> &gt; x"', ["--name", "example.com > x"]],
    ["<https://x/&lt;&gt;|y>", ["https://x/<>"]],
  ];
  for (const [text, expected] of cases) {
    if (expected[0]?.includes("<>"))
      t.throws(() => tokenize(text, { slack: true }), refused(/special words/), text);
    else t.same(tokenize(text, { slack: true }), expected, text);
  }
});

t.test("what can't be cut into words is refused", async (t) => {
  const cases: [string, RegExp][] = [
    ['"open', /opened and never closed/],
    ["'open", /opened and never closed/],
    ["“open", /opened and never closed/],
    ['"a"b', /After a closing quote must come a blank/],
    ['"a""b"', /After a closing quote/],
    ["<!here>", /special words/],
    ["<!channel|x>", /special words/],
    ["<javascript:alert(1)>", /special words/],
    ["<@bob>", /special words/],
    ["<>", /special words/],
    ["<@U1", /has no ">"/],
    ["x".repeat(8193), /longer than 8192/],
    ["x ".repeat(200), /more than 128 words/],
  ];
  for (const [text, expected] of cases)
    t.throws(() => tokenize(text, { slack: true }), refused(expected), text.slice(0, 20));
});

t.test("typed values", async (t) => {
  const args = parseArgs(m, tokenize('--env prod --count=-3 --ratio 0.25 --dry-run --must "a b"'));
  t.same(args, { env: "prod", name: "World", count: -3, ratio: 0.25, dry_run: true, must: "a b" });
  t.same(toArgv(m, args), ["./x", "--", "World", "-3"]);
  t.same(toEnv(m, args), {
    INPUT_ENV: "prod",
    INPUT_NAME: "World",
    INPUT_COUNT: "-3",
    INPUT_RATIO: "0.25",
    INPUT_DRY_RUN: "true",
    INPUT_MUST: "a b",
  });
  t.equal(
    toInputJson(m, args),
    '{"count":-3,"dry_run":true,"env":"prod","must":"a b","name":"World","ratio":0.25}',
  );
  t.equal(argsText(args), '--env prod --name World --count "-3" --ratio 0.25 --dry_run true --must "a b"');
  t.same(checkArgs(m, args), args, "checking again changes nothing");
  for (const flag of ["--dry_run", "--dry-run", "--dry_run=true", "--dry_run true"]) {
    t.equal(parseArgs(m, tokenize(`--must x ${flag}`)).dry_run, true, flag);
  }
  for (const flag of ["--no-dry-run", "--no-dry_run", "--dry_run=false", "--dry-run false"]) {
    t.equal(parseArgs(m, tokenize(`--must x ${flag}`)).dry_run, false, flag);
  }
  t.notOk("env" in parseArgs(m, ["--must", "x"]), "not given, no default: absent");
  t.ok(Object.is(parseArgs(m, ["--must", "x", "--count", "-0"]).count, 0), "one zero");
});

t.test("hostile text stays one element, whole", async (t) => {
  for (const text of [
    "; rm -rf /",
    "$(id)",
    "`id`",
    "a b",
    "'",
    '"',
    "\\",
    "*",
    "a\nb",
    "\u0024{x}",
    "%s",
    "-rf",
    "",
    "é💥",
  ]) {
    const args = checkArgs(m, { must: "x", name: text });
    t.same(toArgv(m, args), ["./x", "--", text, "1"], JSON.stringify(text));
    t.equal(JSON.parse(toInputJson(m, args)).name, text);
    t.equal(toEnv(m, args).INPUT_NAME, text);
  }
});

t.test("refused, with a sentence", async (t) => {
  const must = ["--must", "x"];
  const cases: [string[], RegExp][] = [
    [[], /^--must is required\. It is: the thing$/],
    [["--must", ""], /^--must must not be empty/],
    [[...must, "--foo", "1"], /^web\/restart has no input "foo"\. It takes --env, --name/],
    [[...must, "--Env", "prod"], /no input "Env"/],
    [[...must, "--constructor", "1"], /no input "constructor"/],
    [[...must, "--__proto__=1"], /was not expected/],
    [[...must, "loose"], /^"loose" was not expected/],
    [[...must, "-e", "prod"], /^"-e" was not expected/],
    [[...must, "--"], /^"--" was not expected/],
    [[...must, "--env"], /^--env needs a value/],
    [[...must, "--env", "--name", "x"], /^--env needs a value; if that is "--name"/],
    [[...must, "--env", "PROD"], /^--env must be one of "staging", "prod"/],
    [[...must, "--env", "prod", "--env", "staging"], /^--env is given twice/],
    [[...must, "--dry-run", "--no-dry-run"], /^--dry_run is given twice/],
    [[...must, "--no-env"], /no input "no-env"/],
    [[...must, "--no-dry-run=1"], /takes no value/],
    [[...must, "--dry_run=yes"], /must be true or false, not "yes"/],
    ...["1.5", "1e3", "0x10", "+1", " 1", "01", "", "٣", "99999999999999999999", "NaN", "-"].map(
      (text): [string[], RegExp] => [[...must, `--count=${text}`], /^--count must be a whole number/],
    ),
    [[...must, "--count", "6"], /^--count must be at most 5/],
    [[...must, "--count=-6"], /^--count must be at least -5/],
    ...["1e3", ".5", "1.", "1.23456", "Infinity", "1,5", ""].map((text): [string[], RegExp] => [
      [...must, `--ratio=${text}`],
      /^--ratio must be a number with at most 4 decimals/,
    ]),
    [[...must, "--ratio=900000000000"], /^--ratio must be a number/],
    [[...must, `--name=${"x".repeat(21)}`], /^--name must have at most 20 characters/],
    [[...must, "--name=a\0b"], /^--name must be text without control/],
    [[...must, "--name=\u001b[2J"], /^--name must be text without control/],
    [[...must, "--name=\ud800"], /^--name must be text without control/],
  ];
  for (const [tokens, expected] of cases)
    t.throws(() => parseArgs(m, tokens), refused(expected), tokens.join(" "));
  t.equal(
    parseArgs(m, [...must, `--name=${"💥".repeat(20)}`]).name,
    "💥".repeat(20),
    "length counts characters",
  );
});

t.test("arguments that no launch could take have a fault", async (t) => {
  const names = Array.from({ length: 8 }, (_, i) => `a${i}`);
  const big = parseManifest(
    `op: a/b\nsummary: x\nrun: ["./x", ${names.map((n) => `"\u0024{${n}}"`)}]\ninputs:\n${names
      .map((n) => `  ${n}: {type: string, required: true, maxLength: 4096}\n`)
      .join("")}`,
  );
  const given = (text: string): Args => Object.fromEntries(names.map((n) => [n, text]));
  t.equal(sizeFault(big, given("x".repeat(3900))), null);
  t.match(
    sizeFault(big, given("x".repeat(4080))),
    /take \d+ bytes in argv and environment together; at most 63488/,
  );
  t.match(sizeFault(big, given('"'.repeat(3000))), /as JSON; at most 32768/);
  t.match(sizeFault(big, given("é".repeat(2100))), /as JSON/, "bytes, not characters");
});

t.test("typed values from a modal are not converted", async (t) => {
  for (const [name, value] of Object.entries({
    count: "1",
    ratio: "1",
    dry_run: "true",
    env: 1,
    name: {},
    must: [],
  })) {
    t.throws(
      () => checkArgs(m, { must: "x", [name]: value }),
      refused(new RegExp(`^--${name} must be`)),
      name,
    );
  }
  t.throws(() => checkArgs(m, { must: "x", ratio: Number.NaN }), refused(/ratio/));
  t.throws(() => checkArgs(m, { must: "x", count: 2 ** 60 }), refused(/count/));
  t.throws(() => checkArgs(m, JSON.parse('{"must":"x","__proto__":1}')), refused(/no input/));
  t.same(checkArgs(m, { must: "x", count: null }).count, 1, "an empty field counts as not given");
});

t.test("what is shown of values can't act", async (t) => {
  t.equal(argsText({ a: "x\u202ey\n" }), '--a "x\\\\u{202e}y␊"');
  t.ok(argsText({ a: "y".repeat(4000) }).length < 100);
  t.throws(() => parseArgs(m, ["\u001b[31mevil"]), {
    code: "input_invalid",
    detail: /^"␛\[31mevil" was not expected/,
  });
});

t.test("20000 random commands: values or one sentence; values survive being quoted again", async (t) => {
  const { next, pick } = generator(11);
  const bits = [
    "--name",
    "--must",
    "--count",
    "--env",
    "=",
    " ",
    " ",
    '"',
    "'",
    "“",
    "”",
    "\\",
    "<",
    ">",
    "&amp;",
    "&",
    "—",
    "x",
    "prod",
    "3",
    "-",
    "\0",
    "💥",
    "<@U123|b>",
    "\n",
    "--dry-run",
    "__proto__",
  ];
  let parsed = 0;
  for (let round = 0; round < 20_000; round++) {
    let text = "--must x ";
    for (let i = next(10); i > 0; i--) text += pick(bits);
    let args: Args;
    try {
      args = parseArgs(m, tokenize(text, { slack: true }));
    } catch (error) {
      if (!(error instanceof SallyportError) || error.code !== "input_invalid") t.fail(JSON.stringify(text));
      continue;
    }
    parsed++;
    const again = Object.entries(args).map(
      ([name, value]) => `--${name}="${String(value).replace(/["\\]/g, "\\$&")}"`,
    );
    const back = parseArgs(m, tokenize(again.join(" ")));
    if (JSON.stringify(back) !== JSON.stringify(args))
      t.fail(`${JSON.stringify(text)}: ${JSON.stringify(args)}`);
  }
  t.ok(parsed > 500, `${parsed} parsed`);
});
