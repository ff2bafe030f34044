import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { FILE_TIMEOUT } from "../faults/support.ts";
import { ROOT } from "./packaged.ts";

t.setTimeout(FILE_TIMEOUT);

t.test("a checkout may lie in a folder whose name make and URLs take apart", async (t) => {
  const base = mkdtempSync(join(tmpdir(), "sallyport-"));
  t.teardown(() => rmSync(base, { recursive: true }));
  const checkout = join(base, "a b%20#c");
  mkdirSync(checkout);
  symlinkSync(join(ROOT, "node_modules"), join(checkout, "node_modules"));
  for (const folder of ["sandbox", "src", "policies"])
    cpSync(join(ROOT, folder), join(checkout, folder), { recursive: true });

  const make = ["-s", "-C", join(checkout, "sandbox"), "../build/obj/die.o", "../build/harden.node"];
  execFileSync("make", make, { stdio: ["ignore", "ignore", "inherit"] });
  t.ok(existsSync(join(checkout, "build/harden.node")));

  const main = ["--disable-sigusr1", join(checkout, "src/main.ts"), "--help"];
  const { status, stdout, stderr } = spawnSync(process.execPath, main, { encoding: "utf8" });
  t.equal(status, 0, stderr);
  t.match(stdout, /^sallyport 0\.0\.0-dev: /);
});
