import { closeSync, openSync, readFileSync, readSync } from "node:fs";

/** Where in a process's memory these bytes are: "mapping+offset". Only root may look at a role. */
export function findInMemory(pid: number, wanted: Buffer): string[] {
  const found: string[] = [];
  const fd = openSync(`/proc/${pid}/mem`, "r");
  try {
    for (const line of readFileSync(`/proc/${pid}/maps`, "latin1").split("\n")) {
      const [, from, to, rights, name] = /^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+ *(.*)$/.exec(line) ?? [];
      if (from === undefined || to === undefined || !rights?.startsWith("rw")) continue;
      search(fd, Number.parseInt(from, 16), Number.parseInt(to, 16), wanted, (at) =>
        found.push(`${name || "anonymous"} ${from}+${at.toString(16)}`),
      );
    }
  } finally {
    closeSync(fd);
  }
  return found;
}

const CHUNK = 4 * 1024 * 1024;

function search(fd: number, from: number, to: number, wanted: Buffer, hit: (at: number) => void): void {
  const chunk = Buffer.allocUnsafeSlow(CHUNK);
  for (let at = from; at < to; at += CHUNK - wanted.length) {
    const length = Math.min(CHUNK, to - at);
    let got: number;
    try {
      got = readSync(fd, chunk, 0, length, at);
    } catch {
      // Reserved and never used, or gone meanwhile.
      continue;
    }
    const bytes = chunk.subarray(0, got);
    for (let i = bytes.indexOf(wanted); i >= 0; i = bytes.indexOf(wanted, i + 1)) hit(at + i - from);
  }
}
