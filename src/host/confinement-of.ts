import { readFileSync } from "node:fs";

/** What a role has: the launcher's, and the two of its own last step. */
export const FILTERS = 3;

export type Held = {
  /** Seccomp filters that are stacked on it, those of a container around us included. */
  filters: number;
  noNewPrivs: boolean;
  /** Whether any capability is effective, permitted or to be had. */
  capabilities: boolean;
};

/** What /proc/PID/status (proc_pid_status(5)) says of a process's fences; null where it can't be read. */
export function confinementOf(pid: number): Held | null {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/status`, "utf8");
  } catch {
    return null;
  }
  return parseHeld(text);
}

export function parseHeld(status: string): Held {
  const field = (name: string) => new RegExp(`^${name}:\\t(.*)$`, "m").exec(status)?.[1] ?? "";
  const none = (name: string) => /^0+$/.test(field(name));
  return {
    // Linux 5.9 counts them; before it only the mode is told.
    filters: Number(field("Seccomp_filters")) || (field("Seccomp") === "2" ? FILTERS : 0),
    noNewPrivs: field("NoNewPrivs") === "1",
    capabilities: !["CapEff", "CapPrm", "CapAmb"].every(none),
  };
}
