import { SallyportError } from "../core/errors.ts";
import type { Handle } from "./handle.ts";

export interface Migration {
  /** 1, 2, 3 ...: `user_version` of a database that has it. */
  version: number;
  name: string;
  sql: string;
}

export async function schemaVersion(handle: Handle): Promise<number> {
  const row = await handle.get<{ user_version: number }>("PRAGMA user_version");
  return row?.user_version ?? 0;
}

/**
 * Brings the database to the newest version, each step once and in a transaction of its own with its number, so that a
 * kill leaves either the old version or the new one. A database newer than this code is left as it is.
 */
export async function migrate(handle: Handle, migrations: readonly Migration[]): Promise<number> {
  const newest = migrations.at(-1)?.version ?? 0;
  const found = await schemaVersion(handle);
  if (found > newest) {
    throw new SallyportError(
      "database_newer",
      `Its schema is number ${found}, this executable knows up to ${newest}: install the version that wrote it, or a later one.`,
    );
  }
  for (const [index, step] of migrations.entries()) {
    if (step.version !== index + 1)
      throw new SallyportError("internal", "Migrations are not numbered 1, 2, 3.");
    if (step.version <= found) continue;
    await handle.exec("BEGIN IMMEDIATE");
    try {
      await handle.exec(step.sql);
      // A deferred foreign key shows at COMMIT; what a migration rewrote must be sound before that.
      const broken = await handle.all("PRAGMA foreign_key_check");
      if (broken.length > 0) {
        throw new SallyportError(
          "database_damaged",
          `Migration ${step.version} left rows that refer to nothing.`,
        );
      }
      await handle.exec(`PRAGMA user_version = ${step.version}`);
      await handle.exec("COMMIT");
    } catch (error) {
      await handle.exec("ROLLBACK").catch(() => undefined);
      throw error;
    }
  }
  return newest;
}
