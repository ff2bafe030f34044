import { spawn } from "node:child_process";
import { type Launcher, openLauncher } from "../exec/launch.ts";
import { harden } from "../host/harden.ts";
import { openProgram } from "../host/program.ts";

/** A launcher of this command's own, run as the person who typed it: no appliance is asked or touched. */
export interface Sandbox {
  readonly launcher: Launcher;
  /** Ends every run of it. */
  close(): Promise<void>;
}

/** `learn`: a launcher that records the calls of what it runs; the appliance's own has no such mode. Throws `no_exec_mount`. */
export function openSandbox(mode: "serve" | "learn"): Sandbox {
  const h = harden();
  const program = openProgram("launcher", 20, ["/var/tmp", "/tmp"]);
  const [ours, theirs] = h.socketpair();
  try {
    const child = spawn(`/proc/self/fd/${program}`, [mode, "3"], {
      stdio: ["ignore", "ignore", "inherit", theirs],
      env: {},
    });
    // A failed start shows as the launcher's end.
    child.once("error", () => undefined);
    const exited = new Promise<void>((resolve) => child.once("close", () => resolve()));
    const launcher = openLauncher(ours);
    return {
      launcher,
      async close() {
        launcher.close();
        await exited;
      },
    };
  } finally {
    h.closeFd(program);
    h.closeFd(theirs);
  }
}
