import { spawn } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { resolveDirs } from "../../src/host/dirs.ts";
import { programForOthers } from "../e2e/appliance.ts";

t.setTimeout(120_000);
/** An account that passwd does not know, as containers have them. */
const UID = "54321";
const skip = process.getuid?.() === 0 ? false : "another account can be tried only as root";

function asNobodyKnown(args: string[], env: NodeJS.ProcessEnv = {}, secret?: string) {
  const child = spawn(
    "setpriv",
    [`--reuid=${UID}`, `--regid=${UID}`, "--clear-groups", ...programForOthers(), ...args],
    {
      env: { PATH: process.env.PATH, ...env },
      stdio: ["ignore", "pipe", "pipe", secret === undefined ? "ignore" : "pipe"],
    },
  );
  if (secret !== undefined) {
    const input = child.stdio[3] as NodeJS.WritableStream;
    // A command that refuses before it reads.
    input.on("error", () => undefined);
    input.end(secret);
  }
  let stdout = "";
  let stderr = "";
  child.stdout?.on("data", (chunk: Buffer) => {
    stdout += chunk.toString("utf8");
  });
  child.stderr?.on("data", (chunk: Buffer) => {
    stderr += chunk.toString("utf8");
  });
  return new Promise<{ status: number | null; stdout: string; stderr: string }>((resolve) =>
    child.once("close", (status) => resolve({ status, stdout, stderr })),
  );
}

t.test("an account without a home gets one error that names the flags", { skip }, async (t) => {
  const said = await asNobodyKnown(["status"]);
  t.equal(said.status, 2);
  t.match(said.stderr, /^sallyport: .*no home directory.*--state-dir.*SALLYPORT_STATE_DIR.*\n$/);
});

t.test("where all directories are given, none is looked up", { skip }, async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "sallyport-account-"));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  chmodSync(dir, 0o777);
  const dirs = ["--state-dir", join(dir, "s"), "--run-dir", join(dir, "r"), "--log-dir", join(dir, "l")];
  const init = ["init", ...dirs, "--passphrase-fd", "3", "--argon2", "65536,3,4"];
  const said = await asNobodyKnown([...init, "--admin", "alice"], {}, "correct horse battery staple\n");
  t.equal(said.status, 0, said.stderr);
  t.match(said.stdout, /First admin: alice \(host account uid 54321\)/);
  t.match(await asNobodyKnown(["status", ...dirs]), { status: 5 });
});

t.test("and the demo needs neither", { skip }, async (t) => {
  const said = await asNobodyKnown(["demo", "--script", "/dev/null"], { TMPDIR: "/tmp" });
  t.equal(said.status, 0, said.stderr);
});

t.test("defaults of an account that is not root", async (t) => {
  const { getuid } = process;
  process.getuid = () => 1000;
  t.teardown(() => {
    process.getuid = getuid!;
  });
  t.same(resolveDirs({}, { HOME: "/home/a" }), {
    state: "/home/a/.local/state/sallyport",
    run: "/home/a/.local/state/sallyport/run",
    log: "/home/a/.local/state/sallyport/log",
  });
  t.same(resolveDirs({ state: "/s" }, { XDG_STATE_HOME: "/x", XDG_RUNTIME_DIR: "/run/user/1" }), {
    state: "/s",
    run: "/run/user/1/sallyport",
    log: "/x/sallyport/log",
  });
  for (const env of [{ HOME: "" }, { HOME: "here" }, { HOME: "", XDG_STATE_HOME: "there" }])
    t.throws(() => resolveDirs({}, env), { code: "usage", detail: /no home directory.*--state-dir/ });
  t.same(resolveDirs({ state: "/s", run: "/r", log: "/l" }, { HOME: "" }), {
    state: "/s",
    run: "/r",
    log: "/l",
  });
});
