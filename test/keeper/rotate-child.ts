/** Rotates a namespace's key and kills itself before the nth transaction. Arguments: file, user id, n; both keys on stdin. */

import { readFileSync } from "node:fs";
import { rotateKey } from "../../src/keeper/rotate-key.ts";
import { Secrets } from "../../src/keeper/secrets.ts";
import { openStore } from "../../src/store/store.ts";
import { NO_VAULTS } from "./no-vaults.ts";

const [, , file = "", user = "", left = "0"] = process.argv;
const keys = readFileSync(0);
const store = await openStore({ file, key: keys.subarray(0, 32), create: false });
const secrets = new Secrets({ store, wrapping: keys.subarray(32), vaults: NO_VAULTS });
let steps = Number(left);
const actor = { kind: "user", id: user, name: "" } as const;
await rotateKey(
  {
    read: store.read,
    // In the middle of the transaction, so that a half of it must not be there.
    mutate: (fn) =>
      store.mutate(async (tx) => {
        const result = await fn(tx);
        if (steps-- === 0) process.kill(process.pid, "SIGKILL");
        return result;
      }),
  },
  secrets,
  { namespace: "web", caller: { id: user, actor } as never },
);
await store.close();
