import { loadAddon } from "./addon.ts";

/** Who is at the other end of a Unix socket, as the kernel recorded it at connect time (SO_PEERCRED, unix(7)). */
export interface PeerCred {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/**
 * The N-API addon of sandbox/harden.c. Every call is synchronous; a failed system call throws an Error whose message
 * names the call and whose `code` is the errno's name. Descriptors are plain numbers that the caller owns and closes.
 */
export interface Harden {
  /** PR_SET_DUMPABLE: false forbids ptrace by the same user, core dumps and reading /proc/PID/mem. */
  setDumpable(dumpable: boolean): void;
  /** Sets the soft and hard core file size limit to 1 byte: none is written, and no core_pattern program is started. */
  disableCoreDumps(): void;
  peerCred(fd: number): PeerCred;
  /** A connected pair of Unix stream sockets, close-on-exec and nonblocking. */
  socketpair(): [number, number];
  /** [read end, write end], close-on-exec. */
  pipe(): [number, number];
  /**
   * A memfd with these bytes, sealed against every change; close-on-exec. With `exec` it can be executed, which
   * vm.memfd_noexec=2 forbids (EACCES); without, it can still be mapped as code (an addon).
   */
  memfd(name: string, bytes: Uint8Array, exec?: boolean): number;
  /** Sends bytes and descriptors (SCM_RIGHTS) in one message; waits at most 1 s for room. */
  sendFds(socketFd: number, bytes: Uint8Array, fds: readonly number[]): void;
  /** One message of at most `max` bytes; null when none is there. Received descriptors are close-on-exec. */
  recvFds(socketFd: number, max: number): { bytes: Buffer; fds: number[] } | null;
  /** flock(LOCK_EX | LOCK_NB): false when another open file description holds it. */
  tryLock(fd: number): boolean;
  closeFd(fd: number): void;
  /** An unnamed file in `dir` (O_TMPFILE), open for reading and writing. EOPNOTSUPP where the file system has none. */
  openTmpFile(dir: string): number;
  /** Writes what there is room for at once, whatever kind of file it is, and returns how many bytes; 0 when there is no room. */
  writeNow(fd: number, bytes: Uint8Array): number;
  /** PR_SET_NO_NEW_PRIVS, then this BPF program as a seccomp filter on every thread (SECCOMP_FILTER_FLAG_TSYNC). */
  seccompTsync(program: Uint8Array): void;
  /** explicit_bzero on the buffer's memory. */
  wipe(buffer: Uint8Array): void;
}

/** The harden addon, loaded at the first call. */
export function harden(): Harden {
  return loadAddon("harden") as Harden;
}
