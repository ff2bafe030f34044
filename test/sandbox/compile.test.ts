import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { once } from "./support/once.ts";
import { BUILD, ROOT, script } from "./support/spec.ts";

const compile = (input: string | Buffer) => spawnSync(join(BUILD, "seccomp-compile"), { input });
const profile = (extra: object) => JSON.stringify({ defaultAction: "SCMP_ACT_ERRNO", ...extra });

t.test("every shipped profile compiles to what was built, of known calls only", async (t) => {
  const names = new Set(
    Object.values(JSON.parse(readFileSync(join(BUILD, "seccomp/syscalls.json"), "utf8"))),
  );
  const files = readdirSync(join(ROOT, "policies/seccomp")).filter((name) => name.endsWith(".json"));
  t.ok(files.length >= 8);
  for (const file of files) {
    const text = readFileSync(join(ROOT, "policies/seccomp", file));
    const r = compile(text);
    t.equal(r.status, 0, `${file}: ${r.stderr}`);
    t.ok(r.stdout.equals(readFileSync(join(BUILD, "seccomp", file.replace(".json", ".bpf")))), file);
    // Names newer than the library that compiles are left out of the filter; a misspelt one must not hide among them.
    const newer = new Set([
      "cachestat",
      "fchmodat2",
      "map_shadow_stack",
      "futex_wake",
      "futex_wait",
      "futex_requeue",
    ]);
    const other = new Set(["vm86", "vm86old", "set_mempolicy_home_node", "stime", "umount"]);
    for (const rule of JSON.parse(text.toString()).syscalls as { names: string[] }[])
      for (const name of rule.names)
        if (!names.has(name) && !newer.has(name) && !other.has(name)) t.fail(`${file}: ${name}`);
  }
});

t.test("what is no profile is refused", async (t) => {
  const bad: [string, string | Buffer][] = [
    ["nothing", ""],
    ["no JSON", "hello"],
    ["cut JSON", profile({}).slice(0, -1)],
    ["something after the end", `${profile({})} x`],
    ["a trailing comma", '{"defaultAction":"SCMP_ACT_ERRNO",}'],
    ["a name twice", '{"defaultAction":"SCMP_ACT_ERRNO","defaultAction":"SCMP_ACT_ALLOW"}'],
    ["a NUL", Buffer.from('{"defaultAction":\0"SCMP_ACT_ERRNO"}')],
    ["nested too deep", "[".repeat(100_000)],
    ["too large", `${profile({})}${" ".repeat(300_000)}`],
    ["no default", "{}"],
    ["no object", "[]"],
    ["an unknown action", profile({ syscalls: [{ names: ["read"], action: "SCMP_ACT_MAYBE" }] })],
    [
      "an unknown operator",
      profile({
        syscalls: [{ names: ["read"], action: "SCMP_ACT_ALLOW", args: [{ index: 0, value: 1, op: "LIKE" }] }],
      }),
    ],
    [
      "an index beyond 5",
      profile({
        syscalls: [
          { names: ["read"], action: "SCMP_ACT_ALLOW", args: [{ index: 6, value: 1, op: "SCMP_CMP_EQ" }] },
        ],
      }),
    ],
    [
      "a negative value",
      profile({
        syscalls: [
          { names: ["read"], action: "SCMP_ACT_ALLOW", args: [{ index: 0, value: -1, op: "SCMP_CMP_EQ" }] },
        ],
      }),
    ],
    [
      "a value beyond 64 bits",
      profile({ syscalls: [] }).replace(
        "[]",
        '[{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":18446744073709551616,"op":"SCMP_CMP_EQ"}]}]',
      ),
    ],
    ["names that are no list", profile({ syscalls: [{ names: "read", action: "SCMP_ACT_ALLOW" }] })],
    [
      "an unknown call where the rest is allowed",
      JSON.stringify({
        defaultAction: "SCMP_ACT_ALLOW",
        syscalls: [{ names: ["raed"], action: "SCMP_ACT_ERRNO" }],
      }),
    ],
    [
      "an errno beyond 4095",
      profile({ syscalls: [{ names: ["read"], action: "SCMP_ACT_ERRNO", errnoRet: 5000 }] }),
    ],
  ];
  for (const [what, input] of bad) {
    const r = compile(input);
    t.equal(r.status, 1, what);
    t.equal(r.stdout.length, 0, what);
    t.match(String(r.stderr), /^seccomp-compile: .+\n$/, what);
  }
});

t.test("Docker's conditions: without a capability, on this architecture", async (t) => {
  const base = JSON.parse(readFileSync(join(ROOT, "policies/seccomp/default.json"), "utf8"));
  const without = (extra: object) => {
    const copy = structuredClone(base) as { syscalls: { names: string[] }[] };
    for (const rule of copy.syscalls) rule.names = rule.names.filter((name) => name !== "uname");
    copy.syscalls.push({ names: ["uname"], action: "SCMP_ACT_ALLOW", ...extra } as never);
    return compile(JSON.stringify(copy)).stdout;
  };
  const uname = async (extra: object) => (await once(script("uname", { seccomp: without(extra) }))).code;
  t.equal(await uname({}), 0);
  t.not(await uname({ includes: { caps: ["CAP_SYS_ADMIN"] } }), 0);
  t.equal(await uname({ excludes: { caps: ["CAP_SYS_ADMIN"] } }), 0);
  t.equal(await uname({ includes: { arches: ["amd64", "x32"] } }), 0);
  t.not(await uname({ includes: { arches: ["s390x"] } }), 0);
  t.not(await uname({ excludes: { arches: ["amd64"] } }), 0);
});
