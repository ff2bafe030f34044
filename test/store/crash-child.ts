/** Mutates without end and tells of each answer on stdout, until it is killed. Arguments: the file; the key comes on stdin. */
import { readFileSync, writeSync } from "node:fs";
import { getText, setSetting } from "../../src/store/settings.ts";
import { openStore } from "../../src/store/store.ts";

const store = await openStore({ file: process.argv[2] as string, key: readFileSync(0), create: false });
writeSync(1, "open\n");
const workers = Array.from({ length: 8 }, async (_, worker) => {
  for (;;) {
    const key = `worker.${worker}`;
    const count = await store.mutate(async (tx) => {
      const next = Number((await getText(tx, key)) ?? "0") + 1;
      await setSetting(tx, key, `${next}`);
      if (next % 5 === 0) {
        await setSetting(tx, `${key}.big`, Buffer.alloc(20_000, next));
      }
      tx.log({
        type: "log.heartbeat",
        outcome: "success",
        actor: { kind: "system" },
        run: key,
        data: { uptimeMs: next },
      });
      return next;
    });
    writeSync(1, `${worker} ${count}\n`);
  }
});
await Promise.all(workers);
