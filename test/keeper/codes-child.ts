/** Takes one code and tells of it on stdout, then waits to be killed. Arguments: the file, the time, the code; the key on stdin. */
import { readFileSync, writeSync } from "node:fs";
import { hostCaller } from "../../src/keeper/callers.ts";
import { Codes } from "../../src/keeper/codes.ts";
import { openStore } from "../../src/store/store.ts";

const [file, time, code] = process.argv.slice(2) as [string, string, string];
const store = await openStore({ file, key: readFileSync(0), create: false });
const codes = new Codes({ store, now: () => Number(time) });
const caller = await hostCaller(store.read, { uid: 1001, loginUid: null });
const said = await codes.check(caller, code, "confirm", "r-killed").then(
  () => "taken",
  (error: unknown) => String(error),
);
writeSync(1, `${said}\n`);
setInterval(() => {}, 60_000);
