import { spawnSync } from "node:child_process";
import t from "tap";
import { loadAddon } from "../../src/host/addon.ts";
import { asset, assetNames, assetText } from "../../src/host/asset.ts";
import { harden } from "../../src/host/harden.ts";
import { isPackaged, selfExec } from "../../src/host/self.ts";

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

t.test("this program can start itself", async (t) => {
  t.equal(isPackaged, false);
  const { file, args } = selfExec();
  t.match(spawnSync(file, [...args, "--version"], { encoding: "utf8" }), {
    status: 0,
    stdout: "0.0.0-dev\n",
  });
});
