import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { checkMac, parseKeyring } from "../../src/keys/document.ts";
import { FLOOR, Kdf } from "../../src/keys/kdf.ts";
import { createKeyring, replaceRecovery } from "../../src/keys/keyring.ts";
import { FILE_TIMEOUT } from "../faults/support.ts";

t.setTimeout(FILE_TIMEOUT);

const dir = mkdtempSync(join(tmpdir(), "keyring-"));
t.teardown(() => rmSync(dir, { recursive: true, force: true }));

t.test("killed at any instant, a writer leaves the old key file or the new one, whole", async (t) => {
  const file = join(dir, "keyring.json");
  const passphrase = Buffer.from("a passphrase for this");
  const { root } = await createKeyring({ file, name: "ada", passphrase, kdf: new Kdf(), params: FLOOR });
  const writer = join(dir, "writer.ts");
  const module = new URL("../../src/keys/keyring.ts", import.meta.url);
  writeFileSync(
    writer,
    `import { replaceRecovery } from ${JSON.stringify(module)};
     const [file, root] = process.argv.slice(2);
     process.stdout.write("ready");
     for (;;) replaceRecovery({ file, root: Buffer.from(root, "hex") });`,
  );
  const seen = new Set<string>();
  for (let round = 0; round < 8; round++) {
    const child = spawn(process.execPath, [writer, file, root.toString("hex")], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const ended = new Promise((resolve) => child.on("exit", resolve));
    await new Promise((resolve) => child.stdout.once("data", resolve));
    await sleep(10 + round * 7);
    child.kill("SIGKILL");
    await ended;
    const document = parseKeyring(readFileSync(file));
    t.doesNotThrow(() => checkMac(document, root));
    seen.add(document.sum);
  }
  replaceRecovery({ file, root });
  t.same(readdirSync(dir).sort(), ["keyring.json", "writer.ts"], "what the killed writers left is gone");
  t.ok(seen.size > 1, `${seen.size} different states seen`);
});
