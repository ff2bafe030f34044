import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { needsRoot, OTHER_ACCOUNT } from "../e2e/appliance.ts";
import { Box, FILE_TIMEOUT } from "../faults/support.ts";

t.setTimeout(FILE_TIMEOUT);

t.test("somebody without rights is refused before anything is told", { skip: needsRoot }, async (t) => {
  const box = new Box();
  t.teardown(() => box.stop());
  await box.unlocked();
  await box.demo();
  await box.op("hello", "echo hello");
  await box.ok(["user", "add", "eve", "--host-user", String(OTHER_ACCOUNT)]);
  const ran = (await box.ok(["run", "demo/hello", "--json"])).json() as { run: string };
  const eve = (args: string[]) => box.cliAs(OTHER_ACCOUNT, args);
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
    t.equal(same(two.stderr), same(one.stderr), missing.join(" "));
    t.equal(two.status, one.status);
    t.equal(await denied(), before + 2, "an event each");
  }
  const before = await denied();
  t.equal((await eve(["link", "AAAA-AAAA", "--user", "nobody"])).status, 3, "for another: whatever the code");
  t.equal((await eve(["link", "AAAA-AAAA", "--user", "eve"])).status, 1, "their own: there is no such code");
  const dir = join(box.dir, "bad");
  mkdirSync(dir);
  writeFileSync(join(dir, "op.yaml"), 'op: demo/bad\nsummary: x\nrun: ["/bin/true"]\n');
  t.match(await eve(["op", "publish", dir]), { status: 3 });
  t.equal(await denied(), before + 2);
  t.match((await box.cli(["runs", "show", "r-aaaaaaaa"])).status, 1, "who may read all hears not_found");
});

t.test(
  "while an unlock is under way nobody else's rights are known either",
  { skip: needsRoot },
  async (t) => {
    const box = new Box();
    t.teardown(() => box.stop());
    await box.init();
    await box.serve();
    await box.sealedAgain();
    const asked = async () => (await box.cliAs(OTHER_ACCOUNT, ["status"])).status;
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
  },
);
