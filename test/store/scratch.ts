import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AuditEvent } from "../../src/audit/event.ts";
import { SallyportError } from "../../src/core/errors.ts";
import type { Store } from "../../src/store/store.ts";
import { openStore } from "../../src/store/store.ts";

interface Teardown {
  teardown(call: () => unknown): void;
}

export interface Scratch {
  dir: string;
  file: string;
  key: Buffer;
  open(create?: boolean, clock?: () => number): Promise<Store>;
}

/** A directory of its own and a key; what it opens is closed at the test's end. */
export function scratch(t: Teardown): Scratch {
  const dir = mkdtempSync(join(tmpdir(), "sallyport-store-"));
  const file = join(dir, "sallyport.db");
  const key = randomBytes(32);
  const opened: Store[] = [];
  t.teardown(async () => {
    for (const store of opened) await store.close();
    rmSync(dir, { recursive: true, force: true });
  });
  return {
    dir,
    file,
    key,
    async open(create = false, clock = Date.now) {
      const store = await openStore({ file, key, create, clock });
      opened.push(store);
      return store;
    },
  };
}

export const HEARTBEAT = {
  type: "log.heartbeat",
  outcome: "success",
  actor: { kind: "system" },
} as const satisfies AuditEvent;

export function userAdded(user: string): AuditEvent {
  return { type: "user.added", outcome: "success", actor: { kind: "system" }, data: { user } };
}

/** The code of what a promise rejects with; "resolved" when it does not. */
export function codeOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => "resolved",
    (error: unknown) => (error instanceof SallyportError ? error.code : String(error)),
  );
}
