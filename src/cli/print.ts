import { cleanText } from "../core/text.ts";

/** Whatever a command prints about data goes through here: JSON for programs, cleaned lines for people. */
export function printData(data: unknown, json: boolean | undefined, lines: () => string[]): void {
  if (json === true) process.stdout.write(`${JSON.stringify(data, null, 2)}\n`);
  else for (const line of lines()) process.stdout.write(`${cleanText(line)}\n`);
}

/** Columns as wide as their widest cell. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const cells = [header, ...rows].map((row) => row.map((cell) => cleanText(cell)));
  const widths = header.map((_, i) => Math.max(...cells.map((row) => row[i]?.length ?? 0)));
  return cells.map((row) =>
    row.map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd(widths[i] ?? 0))).join("  "),
  );
}

export function pairs(data: object): string[] {
  const rows = Object.entries(data).filter(([, value]) => value !== undefined);
  const width = Math.max(0, ...rows.map(([key]) => key.length));
  return rows.map(
    ([key, value]) =>
      `${key.padEnd(width)}  ${typeof value === "object" && value !== null ? JSON.stringify(value) : String(value)}`,
  );
}
