import { SallyportError } from "../core/errors.ts";
import { SqlError } from "./handle.ts";

const ERROR = 1;
const NOMEM = 7;
export const INTERRUPT = 9;
const CORRUPT = 11;
const CONSTRAINT = 19;
const TOOBIG = 18;
const NOTADB = 26;
/** BUSY, LOCKED, READONLY, IOERR, FULL, CANTOPEN: the disk, or someone else on the file, does not let us write. */
const UNWRITABLE = new Set([5, 6, 8, 10, 13, 14]);

const UNWRITABLE_FILE = new Set(["ENOSPC", "EDQUOT", "EROFS", "EIO", "EACCES", "EPERM", "EMFILE", "ENFILE"]);

/** What a failing statement means for the rest of its batch. */
export type Failure = "statement" | "unwritable" | "damaged";

export function failureOf(error: unknown): Failure {
  if (!(error instanceof SqlError)) return "statement";
  if (error.errno === CORRUPT || error.errno === NOTADB) return "damaged";
  // SQLCipher on a page that does not decrypt; a fault in a statement of ours would come with its own words.
  if (error.errno === ERROR && error.message.endsWith("SQL logic error")) return "damaged";
  // SQLCipher answers NOMEM once it has met a bad page; on a fresh connection the true reason shows.
  if (UNWRITABLE.has(error.errno) || error.errno === NOMEM) return "unwritable";
  return "statement";
}

export const DAMAGED_ADVICE =
  "A page of it does not decrypt or is not well formed: stop sallyport, check the disk, then restore the last backup; " +
  "keep the damaged file aside.";

/** The error that a caller sees for what SQLite said. Never holds a row's values. */
export function toSallyportError(error: unknown): SallyportError {
  if (error instanceof SallyportError) return error;
  if (!(error instanceof SqlError)) return fileError(error);
  const failure = failureOf(error);
  if (failure === "damaged") return new SallyportError("database_damaged", DAMAGED_ADVICE, { cause: error });
  if (failure === "unwritable") {
    return new SallyportError(
      "log_unwritable",
      `The database can't be written (${error.message}). Free space or mend the disk; it goes on by itself once it can.`,
      { cause: error },
    );
  }
  if (error.errno === CONSTRAINT) return constraint(error);
  if (error.errno === TOOBIG) {
    return new SallyportError("input_invalid", "A value is too large to be stored.", { cause: error });
  }
  return new SallyportError("internal", "", { cause: error });
}

/** From opening, making or naming the file itself. */
function fileError(error: unknown): SallyportError {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === undefined || !UNWRITABLE_FILE.has(code)) {
    return new SallyportError("internal", "", { cause: error });
  }
  const detail = `The database's file can't be made or opened (${message}): free space, or mend the disk or its rights.`;
  return new SallyportError("log_unwritable", detail, { cause: error });
}

function constraint(error: SqlError): SallyportError {
  const what = /constraint failed: ([A-Za-z0-9_., ]+)/.exec(error.message)?.[1] ?? "";
  if (error.message.includes("FOREIGN KEY")) {
    return new SallyportError("not_found", "It refers to something that is not there.", { cause: error });
  }
  if (error.message.includes("UNIQUE")) return new SallyportError("conflict", what, { cause: error });
  return new SallyportError("input_invalid", `Outside the bounds of ${what || "its column"}.`, {
    cause: error,
  });
}
