import t from "tap";
import { canonicalJson } from "../../src/core/canonical.ts";
import { SallyportError } from "../../src/core/errors.ts";
import { manifestFromJson, manifestToJson, parseManifest } from "../../src/core/manifest.ts";
import { manifestWarnings, profileWarnings } from "../../src/core/manifest-warnings.ts";
import { generator } from "./random.ts";

const FULL = `op: web/restart                 # namespace/name
summary: Restart the web tier
run: ["./main.sh", "\${env}"]    # argv
inputs:
  env: {type: string, enum: [staging, prod], required: true}
  count: {type: integer, minimum: 1, maximum: 5, default: 1}
secrets: [DEPLOY_KEY, {name: TOKEN, as: env}]
network: ["api.internal:443", "ssh://bastion:22", "[2001:db8::1]:443"]
resources: [app-logs]
limits: {time: 60s, memory: 256MiB, pids: 64, disk: 64MiB, output: 1MiB, cpu: 1}
channels: [C0123456789]
confirm: none
approval: {count: 1, group: leads, confirm: local}
concurrency: 1
seccomp: default
reply: channel
`;
const BASE = "op: a/b\nsummary: x\nrun: [./x]\n";
const HEAD = "op: a/b\nsummary: x\n";

function faultOf(text: string | Uint8Array): string {
  try {
    parseManifest(text);
  } catch (error) {
    if (error instanceof SallyportError && error.code === "manifest_invalid") return error.detail;
    throw error;
  }
  return "accepted";
}

t.test("every key of DESIGN section 6", async (t) => {
  const m = parseManifest(FULL);
  t.match(m, {
    op: "web/restart",
    namespace: "web",
    name: "restart",
    command: { kind: "argv", argv: ["./main.sh", "\u0024{env}"] },
    secrets: [
      { name: "DEPLOY_KEY", as: "file" },
      { name: "TOKEN", as: "env" },
    ],
    network: [
      { scheme: "tls", host: "api.internal", port: 443 },
      { scheme: "ssh", host: "bastion", port: 22 },
      { scheme: "tls", host: "2001:db8::1", port: 443 },
    ],
    limits: {
      timeMs: 60_000,
      memoryBytes: 2 ** 28,
      pids: 64,
      diskBytes: 2 ** 26,
      outputBytes: 2 ** 20,
      cpu: 1,
    },
    channels: ["C0123456789"],
    approval: { count: 1, group: "leads", confirm: "local" },
  });
  t.same(
    m.inputs.map(({ name }) => name),
    ["env", "count"],
  );
});

t.test("targets that are names or addresses, in one spelling", async (t) => {
  for (const target of ["10.0.0.1:443", "tls://a-b.c_d.internal:1", "ssh://[::1]:22", "localhost:65535"]) {
    t.equal(faultOf(`${BASE}network: ["${target}"]`), "accepted", target);
  }
});

t.test("a target that may be private says so, and is warned of where it is one and does not", async (t) => {
  const read = (network: string) => parseManifest(`${BASE}network: [${network}]`);
  const { network } = read(
    '{to: "db.internal:443", private: true}, {to: "ssh://10.0.0.1:22", private: false}, "a:1"',
  );
  t.strictSame(network, [
    { scheme: "tls", host: "db.internal", port: 443, private: true },
    { scheme: "ssh", host: "10.0.0.1", port: 22 },
    { scheme: "tls", host: "a", port: 1 },
  ]);
  const manifest = read('{to: "[fd00::1]:443", private: true}, "10.0.0.1:443"');
  t.strictSame(manifestFromJson(manifestToJson(manifest)), manifest);
  t.match(manifestWarnings(manifest), [/^network: 10\.0\.0\.1 is no public address; .*private: true/]);
  for (const bad of [
    '{to: "a:1"}',
    "{private: true}",
    '{to: "a", private: true}',
    '{to: "a:1", private: yes}',
  ])
    t.match(faultOf(`${BASE}network: [${bad}]`), /^network\[0\]/, bad);
  t.match(faultOf(`${BASE}network: ["a:1", "ssh://a:1"]`), /a:1 is there twice/);
  t.match(faultOf(`${BASE}network: ["a:1"]\nseccomp: strict`), /strict allows no internet socket/);
});

t.test("defaults", async (t) => {
  const m = parseManifest(`${HEAD}runtime: python\nentry: main.py\nconfirm: totp\napproval: {count: 2}\n`);
  t.match(m, {
    command: { kind: "runtime", runtime: "python", entry: "main.py" },
    limits: { timeMs: 60_000, pids: 64 },
    channels: null,
    approval: { count: 2, group: null, confirm: "totp" },
    concurrency: 1,
    seccomp: "default",
    reply: "channel",
  });
  t.match(manifestWarnings(m), [/approval: without a group/]);
});

t.test("the stored form reads back to the same, and nothing else reads back", async (t) => {
  for (const text of [FULL, BASE, `${HEAD}runtime: node\nentry: a/b.js\n`]) {
    const json = manifestToJson(parseManifest(text));
    t.equal(manifestToJson(manifestFromJson(json)), json);
  }
  const json = manifestToJson(parseManifest(FULL));
  const bad = [
    "",
    "null",
    "[]",
    "{}",
    json.replace('"pids":64', '"pids":640000'),
    json.replace('"web/restart"', '"web/other"'),
    json.replace('"cpu":1', '"cpu":1,"extra":1'),
    json.replace('"timeMs":60000', '"timeMs":60000.5'),
    json.replace('"as":"file"', '"as":"argv"'),
    ` ${json}`,
  ];
  for (const text of bad)
    t.throws(() => manifestFromJson(text), { code: "manifest_invalid" }, text.slice(0, 60));
});

t.test(
  "what an earlier version stored, without the keys that came later, reads back with their defaults",
  async (t) => {
    const now = parseManifest(`${BASE}concurrency: 1\n`);
    const { concurrency: _, ...earlier } = now;
    t.strictSame(manifestFromJson(canonicalJson(earlier)), now);
    const { pids: _pids, ...limits } = now.limits;
    t.strictSame(manifestFromJson(canonicalJson({ ...earlier, limits })), now);
  },
);

t.test("a bad op.yaml gets one sentence that names the key", async (t) => {
  const cases: [string, RegExp][] = [
    ["", /^It must be keys with values/],
    ["[]", /^It must be keys/],
    ["5", /^It must be keys/],
    ["op: a/b\n", /^summary: is missing/],
    [HEAD, /^run: is missing; or give runtime/],
    [`${BASE}foo: 1`, /^The key "foo" is not known\.$/],
    [`${BASE}Confirm: none`, /^The key "Confirm" is not known/],
    [BASE.replace("a/b", "A/b"), /^op: must be namespace\/name/],
    [BASE.replace("a/b", "a/b/c"), /^op: must be/],
    [BASE.replace("a/b", "a/../b"), /^op: must be/],
    [BASE.replace("a/b", "b"), /^op: must be/],
    [BASE.replace("summary: x", 'summary: ""'), /^summary: must be one line/],
    [BASE.replace("summary: x", 'summary: "a\\nb"'), /^summary: must be one line/],
    [BASE.replace("summary: x", "summary: 5"), /^summary: must be one line/],
    [`${HEAD}run: ls -l`, /^run: must be a list/],
    [`${HEAD}run: []`, /^run: must name at least/],
    [`${HEAD}run: [ls, 5]`, /^run\[1\]: must be text/],
    [`${HEAD}run: ["ls\\0x"]`, /^run\[0\]: must be valid text without NUL/],
    [`${HEAD}run: ["../x"]`, /^run\[0\]: must be/],
    [`${HEAD}run: ["./a/../../x"]`, /^run\[0\]: must be/],
    [`${HEAD}run: ["a b"]`, /^run\[0\]: must be/],
    [`${HEAD}run: [""]`, /^run\[0\]: must be/],
    [`${HEAD}run: ["\${x}"]`, /^run\[0\]: what runs can't be chosen/],
    [`${HEAD}run: [ls, "\${x}"]`, /^run\[1\]: the input x is not declared/],
    [
      `${HEAD}run: [ls, "--x=\${x}"]\ninputs: {x: {type: string}}`,
      /^run\[1\]: an input must be the whole element/,
    ],
    [`${HEAD}run: [ls, "\${x}"]\ninputs: {x: {type: string}}`, /^run\[1\]: the input x must be required/],
    [`${BASE}runtime: node\nentry: x.js`, /^run: can't stand beside/],
    [`${HEAD}runtime: node`, /^entry: is missing/],
    [`${HEAD}entry: x.js`, /^runtime: is missing/],
    [`${HEAD}runtime: ruby\nentry: x`, /^runtime: must be node, python or shell/],
    [`${HEAD}runtime: node\nentry: ../x`, /^entry: must be a file of the folder/],
    [`${HEAD}runtime: node\nentry: /etc/passwd`, /^entry: must be/],
    [`${BASE}inputs: []`, /^inputs: must be names with types/],
    [`${BASE}inputs: {A: {type: string}}`, /^inputs: "A" is no input's name/],
    [`${BASE}inputs: {a-b: {type: string}}`, /^inputs: "a-b" is no/],
    [`${BASE}inputs: {a: string}`, /^inputs\.a: needs type/],
    [`${BASE}inputs: {a: {type: str}}`, /^inputs\.a\.type: needs type: string, integer/],
    [`${BASE}inputs: {a: {type: string, pattern: "(a+)+"}}`, /^inputs\.a: the key "pattern" is not known/],
    [`${BASE}inputs: {a: {type: string, minimum: 1}}`, /^inputs\.a: the key "minimum"/],
    [`${BASE}inputs: {a: {type: string, enum: []}}`, /^inputs\.a\.enum: must not be empty/],
    [`${BASE}inputs: {a: {type: string, enum: [1]}}`, /^inputs\.a\.enum\[0\]: must be text/],
    [`${BASE}inputs: {a: {type: string, enum: [x, x]}}`, /^inputs\.a\.enum: must not name a text twice/],
    [
      `${BASE}inputs: {a: {type: string, enum: ["\\u001b[1m"]}}`,
      /^inputs\.a\.enum\[0\]: must be one line without control/,
    ],
    [`${BASE}inputs: {a: {type: string, enum: [x], default: y}}`, /^inputs\.a\.default: must be one of "x"/],
    [
      `${BASE}inputs: {a: {type: string, minLength: 5, maxLength: 2}}`,
      /^inputs\.a\.minLength: must be at most/,
    ],
    [`${BASE}inputs: {a: {type: string, maxLength: 999999}}`, /^inputs\.a\.maxLength: must be at most 4096/],
    [`${BASE}inputs: {a: {type: string, required: true, default: x}}`, /^inputs\.a\.default: has no use/],
    [`${BASE}inputs: {a: {type: string, required: yes}}`, /^inputs\.a\.required: must be true or false/],
    [`${BASE}inputs: {a: {type: integer, default: 1.5}}`, /^inputs\.a\.default: must be a whole number/],
    [`${BASE}inputs: {a: {type: integer, maximum: 1e300}}`, /^inputs\.a\.maximum: must be a whole number/],
    [
      `${BASE}inputs: {a: {type: integer, minimum: 5, maximum: 1}}`,
      /^inputs\.a\.minimum: must be at most maximum/,
    ],
    [`${BASE}inputs: {a: {type: integer, maximum: 5, default: 6}}`, /^inputs\.a\.default: must be at most 5/],
    [
      `${BASE}inputs: {a: {type: number, default: 0.00001}}`,
      /^inputs\.a\.default: must be a number with at most 4/,
    ],
    [`${BASE}inputs: {a: {type: number, maximum: .inf}}`, /^inputs\.a\.maximum: must be a number/],
    [`${BASE}inputs: {a: {type: boolean, default: "true"}}`, /^inputs\.a\.default: must be true or false/],
    [
      `${BASE}inputs: {${Array.from({ length: 33 }, (_, i) => `i${i}: {type: string}`)}}`,
      /^inputs: at most 32/,
    ],
    ...["\\ud800", "\\e[2J", "a\\nb", "\\u202eb", "\\u200b", "\\x9b", "\\u2028"].flatMap(
      (text): [string, RegExp][] => [
        [
          `${BASE}inputs: {a: {type: string, description: "${text}"}}`,
          /^inputs\.a\.description: must be one line/,
        ],
        [`${BASE}inputs: {a: {type: string, enum: ["${text}"]}}`, /^inputs\.a\.enum\[0\]: must be one line/],
        [BASE.replace("summary: x", `summary: "${text}"`), /^summary: must be one line/],
      ],
    ),
    [`${HEAD}run: ["/bin/a\\u202eb"]`, /^run\[0\]: must be/],
    [
      `${BASE}inputs: {dry: {type: boolean}, no_dry: {type: string}}`,
      /^inputs\.no_dry: --no-dry already says that dry is false/,
    ],
    [`${BASE}secrets: [lower]`, /^secrets\[0\]: must be a secret's name/],
    [`${BASE}secrets: [A, A]`, /^secrets: A is there twice/],
    [`${BASE}secrets: [{name: A, as: argv}]`, /^secrets\[0\]: must be a secret's name/],
    ...["LD_PRELOAD", "PATH", "NODE_OPTIONS", "BASH_ENV", "PYTHONSTARTUP", "INPUT_X", "SALLYPORT_RUN"].map(
      (name): [string, RegExp] => [
        `${BASE}secrets: [{name: ${name}, as: env}]`,
        /can't be an environment variable/,
      ],
    ),
    ...[
      "foo",
      "Foo:1",
      "a:0",
      "a:65536",
      "http://a:80",
      "a:443/x",
      "127.1:1",
      "0x7f.1:1",
      "a..b:1",
      "[::g]:1",
      "u@h:1",
      "*:443",
    ].map((target): [string, RegExp] => [
      `${BASE}network: ["${target}"]`,
      /^network\[0\]: must be "host:port"/,
    ]),
    [`${BASE}network: ["a:1", "tls://a:1"]`, /^network: a:1 is there twice/],
    [`${BASE}resources: [/etc]`, /^resources\[0\]: must be a resource's name/],
    [`${BASE}limits: 5`, /^limits: must be keys/],
    [`${BASE}limits: {foo: 1}`, /^limits: the key "foo"/],
    ...["60", "0s", "-5s", "1.5s", "25h", "60 s", "1d", "9999999999s"].map((time): [string, RegExp] => [
      `${BASE}limits: {time: ${time}}`,
      /^limits\.time: must be 1s to 24h, written like 60s/,
    ]),
    ...["256", "256MB", "1KiB", "65GiB", "1e3MiB"].map((size): [string, RegExp] => [
      `${BASE}limits: {memory: ${size}}`,
      /^limits\.memory: must be 4MiB to 64GiB/,
    ]),
    [`${BASE}limits: {pids: 0}`, /^limits\.pids: must be a whole number, 1 to 4096/],
    [`${BASE}limits: {cpu: 0}`, /^limits\.cpu: must be a number of processors/],
    [`${BASE}limits: {cpu: .nan}`, /^limits\.cpu: must be/],
    [`${BASE}channels: ["#general"]`, /^channels\[0\]: must be a channel's id/],
    [`${BASE}channels: []`, /^channels: must not be empty/],
    [`${BASE}confirm: yes`, /^confirm: must be none, totp or local/],
    [`${BASE}approval: {}`, /^approval\.count: is missing/],
    [`${BASE}approval: {count: 0}`, /^approval\.count: must be 1 to 10/],
    [`${BASE}approval: {count: 1, by: x}`, /^approval: the key "by"/],
    [`${BASE}concurrency: 0`, /^concurrency: must be 1 to 64/],
    [`${BASE}seccomp: unconfined`, /^seccomp: must be default, strict/],
    [`${BASE}seccomp: ../x.json`, /^seccomp: must be/],
    [`${BASE}reply: dm`, /^reply: must be channel, thread or private/],
  ];
  for (const [text, expected] of cases)
    t.match(faultOf(text), expected, JSON.stringify(text.replace(BASE, "…")).slice(0, 90));
});

t.test("YAML beyond keys, lists and values is refused", async (t) => {
  const bomb = `a: &a [x]\nb: &b [*a,*a,*a]\nc: &c [*b,*b,*b]\n`;
  const cases: [string, RegExp][] = [
    [bomb, /Line 1 uses an anchor/],
    [`${BASE}x: *a`, /Line 4 uses an alias/],
    [`${BASE}? *a\n: 1`, /Line 4 uses an alias/],
    [`${BASE}x: !!js/function "a"`, /Line 4 uses a tag/],
    [`${BASE}x: ! a`, /Line 4 uses a tag/],
    [`${BASE}x: !!binary aGk=`, /Line 4 uses a tag/],
    [`%YAML 1.1\n---\n${BASE}`, /Line 1 uses a directive/],
    [`${BASE}<<: {confirm: none}`, /The key "<<" is not known/],
    [`${BASE}op: a/c`, /Line 4 .* must be unique/],
    [`${BASE}---\n${BASE}`, /not YAML that is accepted here/],
    [`${BASE}...\n---\n${BASE}`, /not YAML that is accepted here/],
    [`${BASE}? [a]\n: 1`, /all keys must be strings/],
    [`${BASE}__proto__: {x: 1}`, /"__proto__" is not accepted/],
    [`${BASE}inputs: {__proto__: {type: string}}`, /"__proto__" is not accepted/],
    [`${BASE}x: ${"[".repeat(4000)}`, /nests deeper than 16/],
    [`${"- ".repeat(5000)}x`, /nests deeper than 16/],
    [`${BASE}x: ${"{a: ".repeat(200)}`, /nests deeper/],
    ["a: [\n", /Line 2 is not YAML/],
    ["\ta: b", /Line 1 is not YAML/],
    [`${BASE}x: "\u0007"`, /control character/],
    // Each of these kept the keeper busy for 2 to 18 s.
    [Array.from({ length: 9000 }, (_, i) => `k${i}:`).join("\n"), /more than 5000 keys and list items/],
    [`{${Array.from({ length: 9000 }, (_, i) => `k${i}`)}}`, /more than 5000 keys/],
    ["?\n".repeat(30_000), /more than 5000 keys/],
    ["{}".repeat(30_000), /more than 5000 keys/],
    ["-\n".repeat(30_000), /more than 5000 keys/],
    [`${BASE}limits: {pids: 1, cpu: 1, "pids": 2}`, /Line 4 .* must be unique/],
    [`${BASE}# ${"x".repeat(70_000)}`, /at most 65536 are read/],
  ];
  for (const [text, expected] of cases)
    t.match(faultOf(text), expected, JSON.stringify(text.replace(BASE, "…")).slice(0, 60));
  t.match(faultOf(Buffer.from([0x6f, 0x70, 0x3a, 0xff])), /not UTF-8/);
  t.equal(faultOf(`---\n${BASE}`), "accepted", "one document may begin with ---");
  const choices = Array.from({ length: 100 }, (_, i) => `c${i}`);
  const inputs = Array.from({ length: 32 }, (_, i) => `i${i}: {type: string, enum: [${choices}]}`);
  t.equal(faultOf(`${BASE}inputs: {${inputs}}`), "accepted", "all that may be is below the bound");
});

t.test("no_x beside an x that is no boolean", async (t) => {
  t.equal(faultOf(`${BASE}inputs: {dry: {type: string}, no_dry: {type: boolean}}`), "accepted");
});

t.test("what no launch could take is refused, whatever a person would give", async (t) => {
  const text = "x".repeat(4096);
  t.equal(faultOf(`${HEAD}run: [ls, ${Array(12).fill(text)}]`), "accepted");
  t.match(
    faultOf(`${HEAD}run: [ls, ${Array(15).fill(text)}, ${"x".repeat(2500)}]`),
    /^run: with the inputs' defaults its arguments take \d+ bytes in argv and environment together; at most 63488/,
  );
  const inputs = Array.from(
    { length: 32 },
    (_, i) => `i${i}: {type: string, default: "${"y".repeat(1024)}"}`,
  );
  t.match(faultOf(`${BASE}inputs: {${inputs}}`), /take \d+ bytes as JSON; at most 32768/);
  const often = `run: [ls, ${Array(62).fill('"\u0024{x}"')}]\ninputs: {x: {type: string, default: "${"y".repeat(1024)}"}}`;
  t.match(faultOf(`${HEAD}${often}`), /bytes in argv and environment/);
});

t.test("what the ceiling takes from a profile is among the warnings", async (t) => {
  t.same(profileWarnings("own.json", []), []);
  t.same(profileWarnings("own.json", ["narrowed clone", "refused ptrace", "narrowed socket"]), [
    "own.json: the host's ceiling allows these with some arguments only: clone, socket.",
    "own.json: the host's ceiling keeps these refused: ptrace.",
  ]);
});

t.test("an input in argv that could be read as an option is pointed out", async (t) => {
  const inputs = "inputs: {n: {type: string, required: true}}\n";
  t.match(manifestWarnings(parseManifest(`${HEAD}run: [ls, "\${n}"]\n${inputs}`)), [
    /^run\[1\]: .*"--" before it/,
  ]);
  t.same(manifestWarnings(parseManifest(`${HEAD}run: [ls, "--", "\${n}"]\n${inputs}`)), []);
});

t.test("1500 damaged manifests: accepted or one clear error, never anything else", async (t) => {
  const { next, pick } = generator(7);
  const lines = FULL.split("\n");
  const odd = [
    "[",
    "]",
    "{",
    "}",
    ":",
    ",",
    "&a",
    "*a",
    "!x",
    "|",
    ">",
    "'",
    '"',
    "\\",
    "\0",
    "\t",
    "-",
    "? ",
    "1e999",
    "null",
    "~",
    "💥",
    "\ud800",
    "__proto__",
    "${",
    "<<",
  ];
  let accepted = 0;
  for (let round = 0; round < 1500; round++) {
    const text = [...lines];
    for (let edit = next(4); edit >= 0; edit--) {
      const at = next(text.length);
      const line = text[at] ?? "";
      const cut = next(line.length + 1);
      const kind = next(5);
      if (kind === 0) text[at] = line.slice(0, cut) + pick(odd) + line.slice(cut);
      else if (kind === 1) text[at] = line.slice(0, cut);
      else if (kind === 2) text.splice(at, 1);
      else if (kind === 3) text.splice(at, 0, pick(lines));
      else text[at] = `${" ".repeat(next(4))}${line}`;
    }
    const source = text.join("\n");
    const fault = faultOf(source);
    if (fault === "accepted") accepted++;
    else if (!/^.{5,420}\.?$/su.test(fault)) t.fail(`no sentence for ${JSON.stringify(source)}: ${fault}`);
  }
  t.ok(accepted > 30 && accepted < 1470, `${accepted} accepted`);
});
