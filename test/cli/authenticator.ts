import { spawn } from "node:child_process";
import { codeAt, stepAt } from "../../src/core/totp.ts";
import { program, type TestAppliance } from "../e2e/appliance.ts";

/** RFC 4648 base32, by hand: what an authenticator makes of the text that was typed into it. */
function bytesOf(base32: string): Buffer {
  const bits = [...base32].map((c) =>
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(c).toString(2).padStart(5, "0"),
  );
  const bytes = bits.join("").match(/.{8}/g) ?? [];
  return Buffer.from(bytes.map((byte) => Number.parseInt(byte, 2)));
}
/** Some steps from now. */
export const codeNow = (base32: string, steps = 0): string =>
  codeAt(bytesOf(base32), stepAt(Date.now()) + steps);
export const wrongCode = (base32: string): string =>
  ["000000", "111111", "222222", "333333"].find(
    (code) => ![-1, 0, 1, 2].some((n) => codeAt(bytesOf(base32), stepAt(Date.now()) + n) === code),
  ) ?? "";

/** As a program does it: reads the secret, answers with its code. */
export async function enrolByProgram(
  appliance: TestAppliance,
  name: string,
  codeFor: (base32: string) => string,
  run: readonly string[] = program(),
): Promise<{ status: number | null; stdout: string; stderr: string }> {
  const [file = "", ...args] = run;
  const child = spawn(file, [...args, "user", "totp", name, "--code-fd", "3", "--json"], {
    env: appliance.env,
    stdio: ["ignore", "pipe", "pipe", "pipe"],
  });
  const code = child.stdio[3] as NodeJS.WritableStream;
  code.on("error", () => undefined);
  let stdout = "";
  let stderr = "";
  child.stdout?.on("data", (chunk: Buffer) => {
    stdout += chunk.toString("utf8");
    const secret = /^\{"uri":"[^"]*","secret":"([A-Z2-7]{32})"\}\n/.exec(stdout)?.[1];
    if (secret !== undefined) code.end(`${codeFor(secret)}\n`);
  });
  child.stderr?.on("data", (chunk: Buffer) => {
    stderr += chunk.toString("utf8");
  });
  const status = await new Promise<number | null>((resolve) => child.once("close", resolve));
  return { status, stdout, stderr };
}

/** A new authenticator, and a code of it that was not used and is taken for half a minute at least. */
export async function freshCode(appliance: TestAppliance, name: string): Promise<string> {
  let code = "";
  const made = await enrolByProgram(appliance, name, (base32) => {
    code = codeNow(base32, 1);
    return codeNow(base32);
  });
  if (made.status !== 0) throw new Error(made.stderr);
  return code;
}
