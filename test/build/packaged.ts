import { execFileSync } from "node:child_process";
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Test } from "tap";

export const ROOT = join(import.meta.dirname, "../..");
export const EXE = join(ROOT, "dist/sallyport");

/** For tests of the finished executable: false when it is built, else why they are skipped. */
export const notBuilt: false | string = existsSync(EXE)
  ? false
  : "dist/sallyport is not built; run scripts/build";

/** Names in an ELF file's dynamic section (DT_NEEDED). */
export function neededBy(file: string): string[] {
  const text = execFileSync("readelf", ["-dW", file], { encoding: "utf8" });
  return [...text.matchAll(/\(NEEDED\).*\[(.+)\]/g)].map((match) => match[1] ?? "");
}

/** Local addresses of the listening TCP sockets in this process's network namespace, or only those that it holds. */
export function listening(pid: number, whose: "namespace" | "process" = "process"): string[] {
  const held = whose === "process" ? socketsOf(pid) : null;
  return ["tcp", "tcp6"].flatMap((file) =>
    readFileSync(`/proc/${pid}/net/${file}`, "utf8")
      .split("\n")
      .map((line) => line.trim().split(/\s+/))
      .filter((field) => field[3] === "0A" && (held === null || held.has(field[9] ?? "")))
      .map((field) => field[1] ?? ""),
  );
}

/** Inode numbers of the sockets that a process holds. */
function socketsOf(pid: number): Set<string> {
  const inodes = new Set<string>();
  for (const fd of readdirSync(`/proc/${pid}/fd`)) {
    try {
      const inode = /^socket:\[([0-9]+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1];
      if (inode) inodes.add(inode);
    } catch {
      // Closed meanwhile.
    }
  }
  return inodes;
}

/** Not t.testdir: the loader takes LD_PRELOAD apart at spaces, which the checkout's path may hold. */
export function temporary(t: Test): string {
  const dir = mkdtempSync(join(tmpdir(), "sallyport-"));
  t.teardown(() => rmSync(dir, { recursive: true }));
  return dir;
}

/** Writes files that leave a mark when some runtime takes them as code. */
export function traps(dir: string): { env: Record<string, string>; marks: () => string[] } {
  const mark = (name: string): string => join(dir, `mark-${name}`);
  const script = (name: string): string => {
    const path = join(dir, `${name}.cjs`);
    writeFileSync(path, `require("fs").writeFileSync(${JSON.stringify(mark(name))}, "");`);
    return path;
  };
  const c = join(dir, "trap.c");
  const atLoad = `__attribute__((constructor)) static void trap(void) { close(creat("${mark("native")}", 0600)); }`;
  writeFileSync(c, `#include <fcntl.h>\n#include <unistd.h>\n${atLoad}\n`);
  const library = join(dir, "trap.so");
  execFileSync("gcc", ["-shared", "-fPIC", "-o", library, c]);
  const conf = `nodejs_conf = c\nopenssl_conf = c\n[c]\nproviders = p\n[p]\nx = x\n[x]\nmodule = ${library}\nactivate = 1\n`;
  writeFileSync(join(dir, "openssl.cnf"), conf);
  return {
    env: {
      NODE_OPTIONS: `--require=${script("require")} --inspect=127.0.0.1:0`,
      NODE_REPL_EXTERNAL_MODULE: script("repl"),
      NODE_PATH: dir,
      NODE_V8_COVERAGE: join(dir, "mark-coverage"),
      NODE_EXTRA_CA_CERTS: join(dir, "none.pem"),
      NODE_DEBUG: "net,http",
      LD_PRELOAD: library,
      LD_AUDIT: library,
      LD_DEBUG: "files",
      LD_DEBUG_OUTPUT: join(dir, "mark-ld"),
      OPENSSL_CONF: join(dir, "openssl.cnf"),
      OPENSSL_MODULES: dir,
      GLIBC_TUNABLES: "glibc.rtld.nns=100",
      // What the start code, the supervisor and the launcher tell the process that they start; nobody else may.
      SALLYPORT_HARDEN_FD: "0",
      SALLYPORT_PEER_FD: "0",
      SALLYPORT_NOTIFY_FD: "0",
      SALLYPORT_HANDOVER_FD: "0",
      SALLYPORT_LAUNCHER_FD: "0",
      SALLYPORT_LANDLOCK: "abi=99",
    },
    marks: () => readdirSync(dir).filter((file) => file.startsWith("mark-")),
  };
}
