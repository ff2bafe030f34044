import { hostname } from "node:os";
import type { Command as Program } from "commander";
import { SallyportError } from "../../core/errors.ts";
import { cleanText } from "../../core/text.ts";
import { enrolmentText } from "../../core/totp.ts";
import { wipe } from "../../keys/memory.ts";
import { common, globalsOf } from "../program.ts";
import { askLine, hasTty, hideMemory, readSecretFd } from "../prompt.ts";
import { qrLines } from "../qr.ts";
import type { Admin } from "./context.ts";

type Options = { codeFd?: string; qr: boolean; remove?: true };
type Shown = { uri: string; base32: string };

const ISSUER = "sallyport";
const TRIES = 2;

/** user totp */
export function addTotp(user: Program, admin: Admin): void {
  common(user.command("totp <name>"))
    .description("enrol the authenticator with which a person confirms and approves by one-time codes")
    .option("--no-qr", "only the text")
    .option("--code-fd <n>", "no terminal: print the text, then read its code from this descriptor")
    .option("--remove", "take the authenticator away")
    .action(async (name: string, options: Options, command: Program) => {
      if (options.remove === true) {
        return admin.show(command, "user.totp.remove", { name }, () => [
          `${name} has no authenticator any more.`,
        ]);
      }
      hideMemory();
      if (options.codeFd !== undefined) await byDescriptor(admin, command, name, options.codeFd);
      else await atTerminal(admin, command, name, options.qr);
    });
}

/** As often as the person wants: each time a new secret, of which two wrong codes are taken. */
async function atTerminal(admin: Admin, command: Program, name: string, qr: boolean): Promise<void> {
  if (!process.stdout.isTTY || !hasTty())
    throw new SallyportError("usage", "There is no terminal to show it at; give its code with --code-fd N.");
  for (;;) {
    const shown = await begin(admin, command, name);
    for (const line of text(name, shown)) print(line);
    if (qr) showQr(shown.uri);
    if (await prove(admin, command, name)) return;
    const again = await askLine(
      "Both were wrong; nothing is enrolled. Start over with a new secret? (yes/no) ",
    );
    if (!/^y(es)?$/i.test(again)) throw new SallyportError("canceled", "Nothing was enrolled.");
  }
}

async function prove(admin: Admin, command: Program, name: string): Promise<boolean> {
  for (let tries = 0; tries < TRIES; tries++) {
    const code = await askLine("The code that it shows now: ");
    try {
      await done(admin, command, name, code);
      return true;
    } catch (error) {
      if (!(error instanceof SallyportError) || error.code !== "denied") throw error;
      process.stderr.write(`${cleanText(error.message)}\n`);
    }
  }
  return false;
}

/** For a program that has the authenticator: two lines of JSON with --json. */
async function byDescriptor(admin: Admin, command: Program, name: string, fd: string): Promise<void> {
  const shown = await begin(admin, command, name);
  if (globalsOf(command).json === true)
    process.stdout.write(`${JSON.stringify({ uri: shown.uri, secret: shown.base32 })}\n`);
  else for (const line of text(name, shown)) print(line);
  const code = readSecretFd(fd, "--code-fd");
  await done(admin, command, name, code.toString("latin1"));
  wipe(code);
}

async function begin(admin: Admin, command: Program, name: string): Promise<Shown> {
  let secret: Buffer | undefined;
  await admin.call(command, "user.totp", { name }, { onBytes: (bytes) => (secret = bytes) });
  if (secret === undefined) throw new SallyportError("internal", "The keeper gave no secret.");
  const shown = enrolmentText(secret, { issuer: ISSUER, label: `${name}@${hostname().split(".")[0]}` });
  wipe(secret);
  return shown;
}

async function done(admin: Admin, command: Program, name: string, code: string): Promise<void> {
  const data = await admin.call(command, "user.totp.prove", { name, code: code.slice(0, 40) });
  if (globalsOf(command).json === true) process.stdout.write(`${JSON.stringify(data)}\n`);
  else print(`Enrolled: ${name} confirms and approves with the codes of this authenticator.`);
}

function text(name: string, { uri, base32 }: Shown): string[] {
  return [
    `For ${name}'s authenticator app. Whoever reads this can make ${name}'s codes: clear the screen afterwards.`,
    `Secret  ${(base32.match(/.{1,4}/g) ?? []).join(" ")}`,
    `Link    ${uri}`,
  ];
}

function showQr(uri: string): void {
  const { columns = 80, rows = 24 } = process.stdout;
  const lines = process.env.TERM === "dumb" ? null : qrLines(uri, { columns, rows: rows - 1 });
  if (lines === null)
    print("The terminal is too small for the QR code: make it larger and begin anew, or type the secret.");
  else for (const line of lines) process.stdout.write(`${line}\n`);
}

const print = (line: string) => process.stdout.write(`${cleanText(line)}\n`);
