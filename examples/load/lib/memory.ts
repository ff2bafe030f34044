import { readFileSync } from "node:fs";

/** In KiB. */
export function memory(): { used: number; total: number } {
  const text = readFileSync("/proc/meminfo", "utf8");
  const of = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(text)?.[1] ?? 0);
  const total = of("MemTotal");
  return { used: total - of("MemAvailable"), total };
}

export function bar(share: number, width = 20): string {
  const full = Math.round(share * width);
  return `[${"#".repeat(full)}${".".repeat(width - full)}]`;
}
