import { spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { LAUNCHER, type RunSpec, runSpec } from "./spec.ts";

export interface Outcome {
  code: number | null;
  signal: string | null;
  stdout: string;
  stderr: string;
}

export interface OnceOptions {
  /** Host user to run the launcher as (setpriv); only root can ask for one. */
  user?: number;
  stdin?: string;
  /** The launcher to use, by default the one of the build. */
  launcher?: string;
  env?: NodeJS.ProcessEnv;
  /** A command that runs the rest of its arguments, in front of all. */
  before?: string[];
  /** What the launcher has at descriptor 3; by default nothing. */
  fd3?: number;
  /** Descriptor 5: these bytes on a pipe; descriptor 6: this file, open for reading. */
  more?: { 5: Buffer; 6: string };
}

export const isRoot = process.getuid?.() === 0;
/** Both ways that a host may start the launcher; an ordinary user stands for uid 65534 where the test itself is root. */
export const USERS: { name: string; user?: number }[] = isRoot
  ? [{ name: "root" }, { name: "ordinary user", user: 65534 }]
  : [{ name: "ordinary user" }];

/** Gives `bytes` to `launcher MODE 4` on a pipe at descriptor 4 and waits for its end. */
export function launch(mode: string, bytes: Buffer, options: OnceOptions = {}): Promise<Outcome> {
  const launcher = options.launcher ?? LAUNCHER;
  const user = String(options.user);
  const drop =
    options.user === undefined ? [] : ["setpriv", "--reuid", user, "--regid", user, "--clear-groups"];
  const [file = launcher, ...args] = [...(options.before ?? []), ...drop, launcher, mode, "4"];
  const file6 = options.more ? openSync(options.more[6], "r") : -1;
  const more = options.more ? (["pipe", file6] as const) : [];
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, {
      stdio: ["pipe", "pipe", "pipe", options.fd3 ?? "ignore", "pipe", ...more],
      ...(options.env ? { env: options.env } : {}),
    });
    let stdout = "";
    let stderr = "";
    child.stdout?.on("data", (data) => {
      stdout += data;
    });
    child.stderr?.on("data", (data) => {
      stderr += data;
    });
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ code, signal, stdout, stderr }));
    child.stdin?.on("error", () => {});
    child.stdin?.end(options.stdin ?? "");
    const pipe = child.stdio[4] as NodeJS.WritableStream;
    pipe.on("error", () => {});
    pipe.end(bytes);
    if (options.more) {
      const second = (child.stdio as unknown[])[5] as NodeJS.WritableStream;
      second.on("error", () => {});
      second.end(options.more[5]);
      closeSync(file6);
    }
  });
}

/** One run to its end. */
export function once(spec: RunSpec, options: OnceOptions = {}): Promise<Outcome> {
  return launch("once", runSpec(spec), options);
}
