import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const SANITIZE = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"];

/** Compiles C for a test into a folder of its own; the path of the program. */
export function compile(sources: string[], options: { sanitize?: boolean; define?: string[] } = {}): string {
  const folder = mkdtempSync(join(tmpdir(), "sallyport-test-"));
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  const out = join(folder, "program");
  const flags = options.sanitize ? SANITIZE : ["-static", "-O1"];
  const defines = (options.define ?? []).map((one) => `-D${one}`);
  execFileSync("gcc", ["-std=gnu11", ...flags, ...defines, "-o", out, ...sources, "-lrt"], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  return out;
}

let bytes: Buffer | undefined;
/** support/probe.c, for a run's /op. */
export function probe(): Buffer {
  bytes ??= readFileSync(compile([join(import.meta.dirname, "probe.c")]));
  return bytes;
}
