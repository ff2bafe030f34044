import { randomBytes } from "node:crypto";
import { lstatSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { needsRoot, TestAppliance } from "./appliance.ts";
import { findInMemory } from "./memory.ts";
import { rolePid } from "./processes.ts";
import { opFolder } from "./slack-rig.ts";

/** Where a value is after it was set and handed to a run (P9): in which process's memory, in which file. */

t.setTimeout(240_000);
const appliance = new TestAppliance();
t.teardown(() => appliance.stop());
await appliance.ready();
await appliance.ok(["role", "grant", "admin", "demo", "alice"]);

// Random bytes, so that nothing finds them by chance, and long enough that a few overwritten ones don't hide them.
const canary = Buffer.from(`canary-${randomBytes(40).toString("hex")}`);
// What a wiped copy can't hold any more: its middle.
const middle = canary.subarray(24, 56);
const ROLES = ["keeper", "gateway", "runner", "notary", "egress"] as const;
type Role = (typeof ROLES)[number];
const seen = (role: Role) => findInMemory(rolePid(appliance.serving!.pid!, role)!, middle);

t.test("memory", { skip: needsRoot }, async (t) => {
  await appliance.ok(["secret", "set", "demo/CANARY", "--value-fd", "3"], canary);
  t.same(seen("keeper"), [], "the keeper holds nothing of it once it is sealed");
  await appliance.publish(
    opFolder(appliance, "op: demo/quiet\nsummary: x\nrun: [./main.sh]\nsecrets: [CANARY]\n", {
      "main.sh": "#!/bin/sh\nwc -c < /run/secrets/CANARY\n",
    }),
  );
  t.match((await appliance.ok(["run", "demo/quiet"])).stdout, /^87$/m);
  for (const role of ROLES) t.same(seen(role), [], role);
});

t.test("memory, of a value of several lines and one that the Op prints", { skip: needsRoot }, async (t) => {
  const line = `TOKEN="${randomBytes(40).toString("hex")}"`;
  const lines = `first line of the file\n${line}\npostgres://user:${randomBytes(20).toString("hex")}@db/x\n`;
  await appliance.ok(["secret", "set", "demo/LINES", "--value-fd", "3"], lines);
  await appliance.publish(
    opFolder(appliance, "op: demo/loud\nsummary: x\nrun: [./main.sh]\nsecrets: [CANARY, LINES]\n", {
      "main.sh":
        "#!/bin/sh\nfor f in CANARY LINES; do cat /run/secrets/$f; base64 /run/secrets/$f; echo; done\nhead -c 10 /run/secrets/CANARY\n",
    }),
  );
  t.match(
    (await appliance.ok(["run", "demo/loud"])).stdout,
    /\[secret demo\/CANARY\][\s\S]*\[secret demo\/LINES\]/,
  );
  for (const wanted of [middle, Buffer.from(line.slice(20, 60))])
    for (const role of ROLES) t.same(findInMemory(rolePid(appliance.serving!.pid!, role)!, wanted), [], role);
});

t.test("the disk never", async (t) => {
  await appliance.cli(["secret", "rotate", "demo/CANARY", "--value-fd", "3"], canary);
  await appliance.cli(["run", "demo/quiet"]);
  for (const dir of ["state", "log", "run"].map((name) => join(appliance.dir, name)))
    for (const name of readdirSync(dir, { recursive: true, encoding: "utf8" })) {
      const file = join(dir, name);
      if (lstatSync(file).isFile() && readFileSync(file).includes(middle)) t.fail(`${name} holds it`);
    }
  t.notOk(Buffer.from(appliance.log + appliance.events.join("\n")).includes(middle), "nor what serve says");
});
