import { loadAddon } from "../host/addon.ts";

/** The part of @journeyapps/sqlcipher's native binding that is used; its JavaScript half is not (it looks for files). */
export interface NativeStatement {
  run(
    params: readonly unknown[],
    done: (this: { changes: number }, error: Error | null) => void,
  ): NativeStatement;
  all(params: readonly unknown[], done: (error: Error | null, rows: unknown[]) => void): NativeStatement;
  finalize(done: () => void): void;
}

export interface NativeDatabase {
  exec(sql: string, done: (error: Error | null) => void): void;
  interrupt(): void;
  close(done: (error: Error | null) => void): void;
}

interface Addon {
  Database: new (file: string, flags: number, done: (error: Error | null) => void) => NativeDatabase;
  Statement: new (db: NativeDatabase, sql: string, done: (error: Error | null) => void) => NativeStatement;
  Backup: new (...args: never[]) => unknown;
  OPEN_READONLY: number;
  OPEN_READWRITE: number;
  OPEN_FULLMUTEX: number;
}

let ready: Addon | undefined;

/** The binding emits "open" and "close" on its objects and expects the package's JavaScript half to have made that possible. */
export function sqlcipher(): Addon {
  if (ready === undefined) {
    const addon = loadAddon("sqlcipher") as Addon;
    for (const made of [addon.Database, addon.Statement, addon.Backup]) {
      const prototype = made.prototype as { emit?: () => boolean };
      prototype.emit ??= () => false;
    }
    ready = addon;
  }
  return ready;
}
