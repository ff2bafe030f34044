import { spawnSync } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import t from "tap";
import { checkInherited, loadAddon, parseInherited } from "../../src/host/addon.ts";
import { asset, assetNames, assetText } from "../../src/host/asset.ts";
import { harden } from "../../src/host/harden.ts";
import { isPackaged, repoPath, selfExec } from "../../src/host/self.ts";

t.test("assets are read by name", async (t) => {
  const names = assetNames("policies/seccomp/");
  t.ok(names.includes("policies/seccomp/default.json"), `${names}`);
  t.same(JSON.parse(assetText("policies/seccomp/default.json")).defaultAction, "SCMP_ACT_ERRNO");
  const one = asset("policies/seccomp/default.json");
  one.fill(0);
  t.not(asset("policies/seccomp/default.json")[0], 0, "each caller gets a copy of its own");
  t.throws(() => asset("no/such/thing"), { code: "internal", message: /nothing named no\/such\/thing/ });
  t.same(assetNames("nothing/"), []);
});

t.test("addons load once", async (t) => {
  t.equal(loadAddon("harden"), loadAddon("harden"));
  t.equal(typeof harden().memfd, "function");
  t.ok(loadAddon("sqlcipher"));
  t.ok(loadAddon("argon2"));
});

t.test("the list of inherited addons is checked", async (t) => {
  t.same(
    [...parseInherited("harden=7,sqlcipher=8")],
    [
      ["harden", 7],
      ["sqlcipher", 8],
    ],
  );
  t.same([...parseInherited("")], []);
  for (const bad of [
    "harden",
    "harden=",
    "harden=-1",
    "harden=7,",
    "evil=7",
    "harden=7;sqlcipher=8",
    "harden=99999999",
  ]) {
    t.throws(() => parseInherited(bad), { code: "internal" }, bad);
  }
});

t.test("an inherited descriptor must be a memfd with this build's own bytes", async (t) => {
  const own = readFileSync(repoPath("build/argon2.node"));
  const fd = harden().memfd("test", own, false);
  t.doesNotThrow(() => checkInherited("argon2", fd));
  t.throws(
    () => checkInherited("harden", fd),
    { message: /not this executable's harden addon/ },
    "another addon",
  );
  own[own.length - 1] = (own[own.length - 1] ?? 0) ^ 1;
  t.throws(
    () => checkInherited("argon2", harden().memfd("test", own, false)),
    { code: "internal" },
    "one bit changed",
  );
  const file = openSync(repoPath("build/argon2.node"), "r");
  t.throws(
    () => checkInherited("argon2", file),
    { message: /not this executable's/ },
    "a file can change later",
  );
  t.throws(() => closeSync(file), { code: "EBADF" }, "and is closed");
  t.throws(() => checkInherited("argon2", 9999), { message: /can't be read/ });
});

t.test("this program can start itself", async (t) => {
  t.equal(isPackaged, false);
  const { file, args } = selfExec();
  t.match(spawnSync(file, [...args, "--version"], { encoding: "utf8" }), {
    status: 0,
    stdout: "0.0.0-dev\n",
  });
});
