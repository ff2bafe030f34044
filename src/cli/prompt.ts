import { closeSync, openSync, readdirSync, readFileSync, readlinkSync, readSync, writeSync } from "node:fs";
import { ReadStream } from "node:tty";
import { SallyportError } from "../core/errors.ts";
import { harden } from "../host/harden.ts";
import { keyBuffer, wipe } from "../keys/memory.ts";

const MAX_BYTES = 64 * 1024;
const LINE_BYTES = 4096;

/** Before a secret's first byte: no core dump is to hold it, no other process of the account to read it from our memory. */
export function hideMemory(): void {
  harden().disableCoreDumps();
  harden().setDumpable(false);
}

/** The bytes of a descriptor to its end, less one final newline. Never a string. */
export function readSecretFd(text: string, flag: string): Buffer {
  if (!/^[0-9]{1,5}$/.test(text))
    throw new SallyportError("usage", `${flag} takes the number of an open descriptor.`);
  const fd = Number(text);
  if (isOurs(fd))
    throw new SallyportError("usage", `Descriptor ${fd}, named by ${flag}, was not opened by the caller.`);
  hideMemory();
  // Beyond the bound, one for the final newline and one to tell that there is more.
  const whole = keyBuffer(MAX_BYTES + 2);
  let length = 0;
  try {
    for (;;) {
      const got = readSync(fd, whole, length, whole.length - length, null);
      if (got === 0) break;
      length += got;
      const rest = length > 0 && whole[length - 1] === 0x0a ? 1 : 0;
      if (length - rest > MAX_BYTES)
        throw new SallyportError("input_invalid", `More than ${MAX_BYTES} bytes came on descriptor ${fd}.`);
    }
  } catch (error) {
    wipe(whole);
    if (error instanceof SallyportError) throw error;
    throw new SallyportError("usage", `Descriptor ${fd}, named by ${flag}, can't be read.`, { cause: error });
  }
  if (length > 0 && whole[length - 1] === 0x0a) length--;
  const secret = keyBuffer(length);
  whole.copy(secret, 0, 0, length);
  wipe(whole);
  return secret;
}

/**
 * The runtime has descriptors of its own, and a number that the caller did not open may be one of them: read, it would
 * block for ever (a pipe of which we hold both ends) or give bytes that are no secret.
 */
function isOurs(fd: number): boolean {
  const target = linkOf(fd);
  if (target === null || target.startsWith("anon_inode:") || /^\/memfd:(lib|sallyport-)/.test(target))
    return true;
  if (!target.startsWith("pipe:")) return false;
  return readdirSync("/proc/self/fd").some(
    (other) => Number(other) !== fd && linkOf(Number(other)) === target && isWritable(Number(other)),
  );
}

function linkOf(fd: number): string | null {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return null;
  }
}

/** proc_pid_fdinfo(5): `flags` is octal; its two lowest bits are the access mode, 0 for reading only. */
function isWritable(fd: number): boolean {
  const flags = /^flags:\s+([0-7]+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "latin1"))?.[1] ?? "0";
  return (Number.parseInt(flags, 8) & 3) !== 0;
}

/** The lines of a descriptor, for commands that take several secrets, in their order. */
export function readSecretLines(text: string, flag: string, count: number): Buffer[] {
  const whole = readSecretFd(text, flag);
  const lines: Buffer[] = [];
  let from = 0;
  for (let at = 0; at <= whole.length; at++) {
    if (at < whole.length && whole[at] !== 0x0a) continue;
    const line = keyBuffer(at - from);
    whole.copy(line, 0, from, at);
    lines.push(line);
    from = at + 1;
  }
  wipe(whole);
  if (lines.length !== count) {
    wipe(...lines);
    throw new SallyportError(
      "input_invalid",
      `${flag} must carry ${count} lines; it carried ${lines.length}.`,
    );
  }
  return lines;
}

export function hasTty(): boolean {
  try {
    closeSync(openSync("/dev/tty", "r+"));
    return true;
  } catch {
    return false;
  }
}

/** Asks at the terminal itself, whatever standard input is. Without echo for secrets. Ctrl-C ends with `canceled`. */
export async function askSecret(question: string): Promise<Buffer> {
  return ask(question, false);
}

export async function askLine(question: string): Promise<string> {
  const line = await ask(question, true);
  return line.toString("utf8").trim();
}

/** Cut off in silence, it would be another value than the one that was meant. */
function tooLong(): SallyportError {
  return new SallyportError(
    "input_invalid",
    `That is longer than the ${LINE_BYTES} bytes that are taken at a terminal; give it on a descriptor.`,
  );
}

function ask(question: string, echo: boolean): Promise<Buffer> {
  if (!echo) hideMemory();
  let fd: number;
  try {
    fd = openSync("/dev/tty", "r+");
  } catch (cause) {
    throw new SallyportError(
      "usage",
      "There is no terminal to ask at; give the value on a descriptor (--passphrase-fd N, --value-fd N).",
      { cause },
    );
  }
  writeSync(fd, question);
  const tty = new ReadStream(fd);
  tty.setRawMode(true);
  const typed = keyBuffer(LINE_BYTES);
  let length = 0;
  return new Promise((resolve, reject) => {
    const finish = (act: () => void) => {
      tty.off("data", take);
      tty.setRawMode(false);
      writeSync(fd, "\n");
      tty.destroy();
      act();
      wipe(typed);
    };
    const take = (chunk: Buffer) => {
      try {
        eat(chunk);
      } finally {
        wipe(chunk);
      }
    };
    const eat = (chunk: Buffer) => {
      for (const byte of chunk) {
        if (byte === 0x0d || byte === 0x0a) {
          const line = keyBuffer(length);
          typed.copy(line, 0, 0, length);
          return finish(() => resolve(line));
        }
        if (byte === 0x03 || (byte === 0x04 && length === 0)) {
          return finish(() => reject(new SallyportError("canceled", "Nothing was changed.")));
        }
        if (byte === 0x7f || byte === 0x08) {
          // One character may be several bytes of UTF-8.
          do length = Math.max(0, length - 1);
          while (length > 0 && ((typed[length] ?? 0) & 0xc0) === 0x80);
          if (echo) writeSync(fd, "\b \b");
        } else if (byte === 0x15) length = 0;
        else if (byte >= 0x20 || byte === 0x09) {
          if (length === typed.length) return finish(() => reject(tooLong()));
          typed[length++] = byte;
          if (echo) writeSync(fd, Buffer.from([byte]));
        }
      }
    };
    tty.on("data", take);
  });
}
