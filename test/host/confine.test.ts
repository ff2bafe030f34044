import { openSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { asset } from "../../src/host/asset.ts";
import { encodeConfinement, programPaths } from "../../src/host/confine.ts";
import { launch } from "../sandbox/support/once.ts";
import { BUILD } from "../sandbox/support/spec.ts";

t.test("what a serve asks of the launcher for a role", async (t) => {
  const script = join(import.meta.dirname, "../sandbox/support/role.mjs");
  const spec = encodeConfinement({
    argv: [
      "node",
      script,
      join(BUILD, "harden.node"),
      join(BUILD, "seccomp/role-noexec.bpf"),
      "/etc/hostname",
    ],
    env: { PATH: "/usr/bin", OPENSSL_CONF: "/dev/null" },
    execFd: 3,
    keepFds: [],
    seccomp: asset("seccomp/role-keeper.bpf"),
    paths: programPaths(),
    connect: false,
  });
  const r = await launch("confine", spec, { fd3: openSync(process.execPath, "r") });
  t.equal(r.code, 0, r.stderr);
  const out = JSON.parse(r.stdout);
  t.match(out, { execFile: "EPERM", connect: "EPERM", unixConnect: "EPERM", caps: "ok", readInside: "ok" });
  t.equal(out.signal, "EPERM", "no signal to its parent");
  const abi = Number(/^abi=([0-9]+)$/.exec(out.landlock)?.[1] ?? 0);
  t.test("Landlock", { skip: abi > 0 ? false : `Landlock: ${out.landlock}` }, async (t) => {
    t.match(out, { readOutside: "EACCES", writeOutside: "EACCES" });
  });
});
