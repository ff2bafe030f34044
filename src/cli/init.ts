import { userInfo } from "node:os";
import { SallyportError } from "../core/errors.ts";
import { initialize, refuseInitialized } from "../keeper/ceremony.ts";
import { FLOOR, type KdfParams } from "../keys/kdf.ts";
import { wipe } from "../keys/memory.ts";
import { checkPassphrase, PASSPHRASE_CHARACTERS } from "../keys/passphrase.ts";
import { printData } from "./print.ts";
import { common, dirsOf, globalsOf, makeProgram, runProgram } from "./program.ts";
import { askSecret, readSecretFd } from "./prompt.ts";

type Options = { passphraseFd?: string; admin?: string; argon2?: string };

/** `sallyport init`: the only command that makes keys. It runs by itself, before there is a keeper. */
export async function main(argv: string[]): Promise<number> {
  const program = makeProgram();
  common(program.command("init"))
    .description("make state directory, keyring, database and first admin; print the recovery code once")
    .option("--passphrase-fd <n>", "read the passphrase from this descriptor")
    .option("--admin <name>", "the first admin's user name (default: the login name)")
    .option(
      "--argon2 <m,t,p>",
      "Argon2id parameters (KiB, passes, lanes), at least 65536,3,4; default: measured, about one second",
    )
    .action(async (options: Options, command) => {
      const globals = globalsOf(command);
      const dirs = dirsOf(globals);
      const uid = process.geteuid?.() ?? 0;
      const login = loginOf();
      const admin = options.admin ?? adminName(login);
      const kdf = options.argon2 === undefined ? undefined : parseArgon2(options.argon2);
      const passphrase =
        options.passphraseFd === undefined
          ? await askTwice(dirs.state)
          : readSecretFd(options.passphraseFd, "--passphrase-fd");
      process.stderr.write("Deriving the key; this takes a few seconds by intent.\n");
      const made = await initialize({
        stateDir: dirs.state,
        passphrase,
        admin,
        uid,
        ...(kdf === undefined ? {} : { kdf }),
      });
      const recoveryCode = made.recoveryCode.toString("latin1");
      printData(
        { stateDir: dirs.state, admin, slot: made.slot, recoveryCode, argon2: made.kdf },
        globals.json,
        () => [
          `Initialized ${dirs.state}. First admin: ${admin} (host account ${login ?? `uid ${uid}`}). Key slot: ${made.slot}.`,
          "",
          `Recovery code: ${recoveryCode}`,
          "",
          "It is shown this once and kept nowhere. Whoever has it and the state directory can unlock: write it down, keep it apart.",
          "Next: sallyport serve, and in another terminal: sallyport unlock",
        ],
      );
      wipe(made.recoveryCode);
    });
  return runProgram(program, argv);
}

/** What can be refused is refused before more is typed. */
async function askTwice(stateDir: string): Promise<Buffer> {
  refuseInitialized(stateDir);
  const first = await askSecret(`New passphrase (at least ${PASSPHRASE_CHARACTERS} characters): `);
  try {
    checkPassphrase(first);
  } catch (error) {
    wipe(first);
    throw error;
  }
  const second = await askSecret("The same again: ");
  const same = first.equals(second);
  wipe(second);
  if (same) return first;
  wipe(first);
  throw new SallyportError("input_invalid", "The two passphrases differ; nothing was made.");
}

/** null: an account without an entry in passwd, as containers have them. */
function loginOf(): string | null {
  try {
    return userInfo().username;
  } catch {
    return null;
  }
}

/** Not every login is a user's name here, and not every account has one. */
function adminName(login: string | null): string {
  const name = (login ?? "").toLowerCase().replaceAll(/[^a-z0-9._-]/g, "-");
  return /^[a-z]/.test(name) ? name.slice(0, 32) : "admin";
}

function parseArgon2(text: string): KdfParams {
  const [m, t, p] = text.split(",").map(Number);
  if (
    m === undefined ||
    t === undefined ||
    p === undefined ||
    [m, t, p].some((n) => !Number.isSafeInteger(n))
  ) {
    throw new SallyportError(
      "usage",
      `--argon2 takes three whole numbers, such as ${FLOOR.m},${FLOOR.t},${FLOOR.p}.`,
    );
  }
  return { m, t, p };
}
