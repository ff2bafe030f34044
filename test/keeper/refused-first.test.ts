import { spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { programForOthers } from "../e2e/appliance.ts";
import { Box, FILE_TIMEOUT } from "../faults/support.ts";

t.setTimeout(FILE_TIMEOUT);
const OTHER = 65534;
const skip = process.getuid?.() === 0 ? false : "another account can be tried only as root";

t.test("somebody without rights is refused before anything is told", { skip }, async (t) => {
  const box = new Box();
  t.teardown(() => box.stop());
  await box.unlocked();
  await box.demo();
  await box.op("hello", "echo hello");
  await box.ok(["user", "add", "eve", "--host-user", String(OTHER)]);
  const ran = (await box.ok(["run", "demo/hello", "--json"])).json() as { run: string };
  const eve = async (args: string[]): Promise<{ status: number | null; said: string }> => {
    const [file = "", ...rest] = [
      "setpriv",
      `--reuid=${OTHER}`,
      `--regid=${OTHER}`,
      "--clear-groups",
      ...programForOthers(),
    ];
    const child = spawn(file, [...rest, ...args], {
      env: { ...box.env, HOME: "/" },
      stdio: ["ignore", "ignore", "pipe"],
    });
    let said = "";
    child.stderr.on("data", (chunk: Buffer) => {
      said += chunk.toString();
    });
    const status = await new Promise<number | null>((resolve) => child.once("close", resolve));
    return { status, said };
  };
  const denied = async () => (await box.entries({ type: "authz.denied" })).length;
  const pairs: [string[], string[]][] = [
    [
      ["run", "demo/hello"],
      ["run", "demo/nope"],
    ],
    [
      ["run", "demo/hello"],
      ["run", "void/hello"],
    ],
    [
      ["op", "show", "demo/hello"],
      ["op", "show", "demo/nope"],
    ],
    [
      ["runs", "show", ran.run],
      ["runs", "show", "r-aaaaaaaa"],
    ],
    [
      ["role", "grant", "runner", "demo", "eve"],
      ["role", "grant", "runner", "void", "eve"],
    ],
  ];
  for (const [there, missing] of pairs) {
    const before = await denied();
    const one = await eve(there);
    const two = await eve(missing);
    const same = (text: string) => text.replaceAll(/demo|void|hello|nope|r-[0-9a-z]+/g, "X");
    t.equal(same(two.said), same(one.said), missing.join(" "));
    t.equal(two.status, one.status);
    t.equal(await denied(), before + 2, "an event each");
  }
  const before = await denied();
  t.match(await eve(["link", "AAAA-AAAA", "--user", "nobody"]), { status: /[13]/ });
  const dir = join(box.dir, "bad");
  mkdirSync(dir);
  writeFileSync(join(dir, "op.yaml"), 'op: demo/bad\nsummary: x\nrun: ["/bin/true"]\n');
  t.match(await eve(["op", "publish", dir]), { status: 3 });
  t.equal(await denied(), before + 1);
  t.match((await box.cli(["runs", "show", "r-aaaaaaaa"])).status, 1, "who may read all hears not_found");
});

t.test("while an unlock is under way nobody else's rights are known either", { skip }, async (t) => {
  const box = new Box();
  t.teardown(() => box.stop());
  await box.init();
  await box.serve();
  await box.sealedAgain();
  const asked = async () => {
    const [file = "", ...rest] = programForOthers();
    const other = ["setpriv", `--reuid=${OTHER}`, `--regid=${OTHER}`, "--clear-groups", file, ...rest];
    const child = spawn(other[0]!, [...other.slice(1), "status"], {
      env: { ...box.env, HOME: "/" },
      stdio: "ignore",
    });
    return new Promise<number | null>((resolve) => child.once("close", resolve));
  };
  t.equal(await asked(), 3, "sealed");
  // The notary is what the unlock waits for.
  const notary = box.role("notary");
  process.kill(notary, "SIGSTOP");
  let over = false;
  const unlocking = box.tryUnlock().finally(() => {
    over = true;
  });
  const seen: (number | null)[] = [];
  while (!over) seen.push(await asked());
  process.kill(notary, "SIGCONT");
  await unlocking;
  t.ok(seen.length > 1);
  t.same(new Set(seen), new Set([3]));
});
