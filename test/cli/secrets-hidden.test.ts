import { spawn } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { program, programForOthers, until } from "../e2e/appliance.ts";

/** As root the test runs the commands as another account, for whose processes the owner of /proc/PID tells. */
const OTHER = 65534;
const isRoot = process.getuid?.() === 0;

const COMMANDS = [
  ["init", "--passphrase-fd", "3"],
  ["unlock", "--passphrase-fd", "3"],
  ["slack", "connect", "--value-fd", "3"],
];
for (const args of COMMANDS) {
  t.test(`${args.join(" ")}: waits for the secret without core dumps, not to be traced`, async (t) => {
    const dir = mkdtempSync(join(tmpdir(), "sallyport-"));
    t.teardown(() => rmSync(dir, { recursive: true, force: true }));
    chmodSync(dir, 0o755);
    mkdirSync(join(dir, "home"), { mode: 0o777 });
    const [file = "", ...self] = isRoot ? programForOthers() : program();
    const child = spawn(
      file,
      [...self, ...args, "--state-dir", join(dir, "s"), "--run-dir", join(dir, "r")],
      {
        env: { PATH: process.env.PATH, HOME: join(dir, "home") },
        stdio: ["ignore", "ignore", "ignore", "pipe"],
        ...(isRoot ? { uid: OTHER, gid: OTHER } : {}),
      },
    );
    const ended = new Promise((resolve) => child.once("close", resolve));
    t.teardown(async () => {
      child.kill("SIGKILL");
      await ended;
    });
    const proc = `/proc/${child.pid}`;
    const cores = () =>
      /Max core file size\s+(\S+)\s+(\S+)/.exec(readFileSync(`${proc}/limits`, "utf8"))?.slice(1);
    await until(
      () => cores()?.every((limit) => limit === "1") === true && statSync(`${proc}/status`).uid === 0,
      15_000,
      () => `core limits ${cores()}, owner of /proc/PID/status ${statSync(`${proc}/status`).uid}`,
    );
    t.pass("no core, and /proc/PID is root's");
  });
}
