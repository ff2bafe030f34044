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

/** A line a field, words for people: what a program reads is the JSON. */
export function pairs(data: object): string[] {
  const rows = Object.entries(data).filter(([, value]) => value !== undefined);
  const width = Math.max(0, ...rows.map(([key]) => key.length));
  return rows.map(([key, value]) => `${key.padEnd(width)}  ${words(value)}`);
}

function words(value: unknown): string {
  if (value === null || (Array.isArray(value) && value.length === 0)) return "-";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (Array.isArray(value)) return value.map((one) => words(one)).join(", ");
  if (typeof value !== "object") return String(value);
  return Object.entries(value)
    .map(([key, one]) =>
      typeof one === "object" && one !== null ? `${key}: (${words(one)})` : `${key}: ${words(one)}`,
    )
    .join(", ");
}
