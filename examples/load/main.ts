// TypeScript, run as it is by the Node inside sallyport: the host needs no interpreter, and there is nothing to compile.
import { readFileSync, writeSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { bar, memory } from "./lib/memory.ts";

type Inputs = { samples: number; pause: number };
const { samples, pause } = JSON.parse(readFileSync("/op/input.json", "utf8")) as Inputs;

for (let n = 1; n <= samples; n++) {
  const [one, five, fifteen] = readFileSync("/proc/loadavg", "utf8").split(" ");
  const { used, total } = memory();
  console.log(`load ${one} ${five} ${fifteen}  memory ${bar(used / total)} ${Math.round((100 * used) / total)} %`);
  // Descriptor 3 is the way to say more than text: here, how far it is.
  writeSync(3, `${JSON.stringify({ progress: `sample ${n} of ${samples}`, percent: Math.round((100 * n) / samples) })}\n`);
  if (n < samples) await sleep(pause * 1000);
}
