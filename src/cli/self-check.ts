import * as cedar from "@cedar-policy/cedar-wasm/nodejs";
import sqlite3 from "@journeyapps/sqlcipher";
import argon2 from "argon2";
import { harden } from "../host/harden.ts";
import { isPackaged, VERSION } from "../host/self.ts";

/**
 * Loads every native part and uses each once; for support and for the tests of the executable. Prints one JSON line;
 * with `--wait` it then waits for the end of stdin.
 */
export async function main(argv: string[]): Promise<number> {
  const found = {
    version: VERSION,
    packaged: isPackaged,
    node: process.version,
    openssl: process.versions.openssl,
    sqlcipher: await pragma("cipher_version"),
    cipherProvider: await pragma("cipher_provider_version"),
    argon2: (
      await argon2.hash("x", { type: argon2.argon2id, memoryCost: 1024, timeCost: 1, parallelism: 1 })
    ).slice(0, 9),
    cedar: cedar.getCedarVersion(),
    uid: peerUid(),
  };
  process.stdout.write(`${JSON.stringify(found)}\n`);
  if (argv.includes("--wait")) for await (const _ of process.stdin);
  return 0;
}

function pragma(name: string): Promise<string> {
  return new Promise((done, failed) => {
    const db = new sqlite3.Database(":memory:");
    db.exec("PRAGMA key = 'x'");
    db.get(`PRAGMA ${name}`, (error: Error | null, row: Record<string, string> | undefined) => {
      if (error) failed(error);
      else done(row?.[name] ?? "");
      db.close();
    });
  });
}

/** Through the kernel, so that it shows the harden addon at work. */
function peerUid(): number {
  const [a, b] = harden().socketpair();
  const { uid } = harden().peerCred(a);
  harden().closeFd(a);
  harden().closeFd(b);
  return uid;
}
