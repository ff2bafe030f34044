/**
 * Started as the runner is: has some runs started that make refused calls without end, then reads nothing more of what it is
 * told. Argument: a word in the command line of each.
 */
import { openLauncher } from "../../../src/exec/launch.ts";
import { inheritedFd } from "../../../src/host/role.ts";
import { plainGrant } from "../../exec/launcher.ts";

const RUNS = 8;
const launcher = openLauncher(inheritedFd("SALLYPORT_LAUNCHER_FD")!);
let started = 0;
for (let i = 0; i < RUNS; i++) {
  const grant = plainGrant({
    argv: ["/bin/sh", "-c", "while :; do unshare -U true; done", process.argv[2]!],
  });
  launcher.run(grant, {
    onStarted: () => {
      if (++started === RUNS) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
    },
    onOutput: () => {},
    ready: () => null,
    onProgress: () => {},
    onDenied: () => {},
  });
}
