import { closeSync, openSync, readFileSync, readSync } from "node:fs";

/** How often a process's readable memory holds the text, as root reads it; the roles let nobody else. */
export function memoryHolds(pid: number, text: string): number {
  const wanted = Buffer.from(text);
  const fd = openSync(`/proc/${pid}/mem`, "r");
  const block = Buffer.alloc(1024 * 1024 + wanted.length);
  let found = 0;
  try {
    for (const line of readFileSync(`/proc/${pid}/maps`, "latin1").split("\n")) {
      const [, from, to, rights = ""] = /^([0-9a-f]+)-([0-9a-f]+) (\S+)/.exec(line) ?? [];
      if (from === undefined || to === undefined || !rights.startsWith("r")) continue;
      found += countIn(fd, BigInt(`0x${from}`), BigInt(`0x${to}`), block, wanted);
    }
  } finally {
    closeSync(fd);
  }
  return found;
}

function countIn(fd: number, from: bigint, to: bigint, block: Buffer, wanted: Buffer): number {
  let found = 0;
  for (let at = from; at < to; at += BigInt(block.length - wanted.length)) {
    const left = to - at;
    let got: number;
    try {
      got = readSync(fd, block, 0, Math.min(block.length, Number(left)), at);
    } catch {
      // The kernel's own pages can't be read.
      return found;
    }
    const read = block.subarray(0, got);
    for (let i = read.indexOf(wanted); i >= 0; i = read.indexOf(wanted, i + 1)) found++;
    if (got === 0) return found;
  }
  return found;
}
