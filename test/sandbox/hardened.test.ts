import { execFileSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { BUILD, ROOT } from "./support/spec.ts";

const readelf = (option: string, path: string) =>
  execFileSync("readelf", ["-W", option, path], { encoding: "utf8", env: { ...process.env, LC_ALL: "C" } });

/** The sandbox's own parts, and the addons that the roles load. */
const PROGRAMS = ["launcher", "probe", "seccomp-compile"];
const ADDONS = ["harden.node", "sqlcipher.node", "argon2.node"];

t.test("what was built is hardened as its flags say", async (t) => {
  for (const name of [...PROGRAMS, ...ADDONS]) {
    const path = join(BUILD, name);
    const segments = readelf("-l", path);
    const dynamic = readelf("-d", path);
    t.match(readelf("-h", path), /Type:\s+DYN/, `${name}: position-independent`);
    t.match(segments, /GNU_STACK .* RW +0x/, `${name}: its stack can't be executed`);
    t.notMatch(segments, /LOAD .* RWE /, `${name}: nothing is writable and executable`);
    t.match(segments, /GNU_RELRO/, `${name}: relocations turn read-only`);
    t.match(dynamic, /BIND_NOW/, `${name}: all of them, at the start`);
    t.notMatch(dynamic, /TEXTREL|RPATH|RUNPATH/, name);
    if (!PROGRAMS.includes(name)) continue;
    t.match(dynamic, /Flags: NOW PIE/, `${name}: a program`);
    t.notMatch(segments, /INTERP/, `${name}: needs no loader`);
    t.notMatch(dynamic, /NEEDED/, `${name}: needs no library`);
  }
});

t.test("every source of the sandbox is compiled with all guards", async (t) => {
  const lines = execFileSync("make", ["-n", "-B", "-C", "sandbox"], { cwd: ROOT, encoding: "utf8" }).split(
    "\n",
  );
  const compiled = lines.filter((line) => / -c \S+\.c /.test(line));
  const sources = readdirSync(join(ROOT, "sandbox")).filter((name) => name.endsWith(".c"));
  for (const source of sources)
    t.ok(
      compiled.some((line) => line.includes(` -c ${source} `)),
      `${source} is compiled`,
    );
  const guards = [
    ...["-Wall", "-Wextra", "-Werror", "-D_FORTIFY_SOURCE=3", "-fstack-protector-strong"],
    ...["-fstack-clash-protection", "-fcf-protection=full", "-ftrivial-auto-var-init=zero"],
  ];
  for (const line of compiled)
    t.same(
      guards.filter((guard) => !line.includes(` ${guard} `)),
      [],
      / -c (\S+)/.exec(line)![1]!,
    );
});

t.test("and the guards are in the code", async (t) => {
  const objects = readdirSync(join(BUILD, "obj"))
    .filter(
      (name) => name.endsWith(".o") && existsSync(join(ROOT, "sandbox", name.replace(/(\.pic)?\.o$/, ".c"))),
    )
    .map((name) => join(BUILD, "obj", name));
  t.ok(objects.length > 20, `${objects.length} objects`);
  let guarded = 0;
  for (const object of objects) {
    const symbols = readelf("-s", object);
    if (/__stack_chk_fail/.test(symbols)) guarded++;
    t.notMatch(symbols, / UND (sprintf|strcpy|strcat|gets|memcpy_s|vsprintf)$/m, object);
    // Debian's libc.a has no such mark, so the linked program loses it: the landing pads are there all the same.
    t.match(readelf("-n", object), /x86 feature: IBT, SHSTK/, object);
  }
  t.ok(guarded > 10, `${guarded} of ${objects.length} have functions that need a stack guard, and have it`);
  const launcher = readelf("-s", join(BUILD, "obj/run.o"));
  t.match(launcher, / UND __snprintf_chk/, "calls that can be checked are");
});
