import { assetText } from "../host/asset.ts";
import type { Denied } from "./frames.ts";

let names: Readonly<Record<string, string>> | undefined;
const AUDIT_ARCH_X86_64 = 0xc000003e;

/** The call's name on x86-64, or null for a number that has none. */
export function callName(nr: number): string | null {
  names ??= JSON.parse(assetText("seccomp/syscalls.json")) as Record<string, string>;
  return names[String(nr)] ?? null;
}

/**
 * A refused call as the log names it, at most 64 characters: its name, and of its arguments the one that says what was wanted, where
 * that is a number with a meaning. Never what an argument points to: it may change while somebody looks.
 */
export function describeCall({ nr, arch, args }: Pick<Denied, "nr" | "arch" | "args">): string {
  if (arch !== AUDIT_ARCH_X86_64) return `foreign ${nr}`;
  const name = callName(nr);
  if (name === null) return `syscall ${nr}`;
  const detail = DETAIL[name]?.(args) ?? null;
  return (detail === null ? name : `${name}(${detail})`).slice(0, 64);
}

/** The kernel reads the low 32 bits of an int. */
const int = (value: bigint | undefined): number => Number(BigInt.asUintN(32, value ?? 0n));
const hex = (value: number): string => `0x${value.toString(16)}`;

type Detail = (args: readonly bigint[]) => string | null;
const named =
  (index: number, table: Readonly<Record<number, string>>): Detail =>
  (args) =>
    table[int(args[index])] ?? hex(int(args[index]));

// From uapi/linux/sched.h. The low byte of clone's flags is a signal; CLONE_NEWTIME lies in it and is unshare's alone.
const NAMESPACES: readonly (readonly [number, string])[] = [
  [0x00020000, "CLONE_NEWNS"],
  [0x02000000, "CLONE_NEWCGROUP"],
  [0x04000000, "CLONE_NEWUTS"],
  [0x08000000, "CLONE_NEWIPC"],
  [0x10000000, "CLONE_NEWUSER"],
  [0x20000000, "CLONE_NEWPID"],
  [0x40000000, "CLONE_NEWNET"],
];
const TIME: readonly [number, string] = [0x80, "CLONE_NEWTIME"];

const namespaces =
  (index: number, table: typeof NAMESPACES, none: string): Detail =>
  (args) => {
    const flags = int(args[index]);
    const found = table.filter(([flag]) => (flags & flag) !== 0).map(([, name]) => name);
    return found.length === 0 ? none : found.join("|");
  };

const FAMILIES: Readonly<Record<number, string>> = {
  0: "AF_UNSPEC",
  1: "AF_UNIX",
  2: "AF_INET",
  3: "AF_AX25",
  10: "AF_INET6",
  15: "AF_KEY",
  16: "AF_NETLINK",
  17: "AF_PACKET",
  21: "AF_RDS",
  26: "AF_LLC",
  29: "AF_CAN",
  30: "AF_TIPC",
  31: "AF_BLUETOOTH",
  38: "AF_ALG",
  39: "AF_NFC",
  40: "AF_VSOCK",
  41: "AF_KCM",
  43: "AF_SMC",
  44: "AF_XDP",
};

const PTRACE: Readonly<Record<number, string>> = {
  0: "PTRACE_TRACEME",
  1: "PTRACE_PEEKTEXT",
  2: "PTRACE_PEEKDATA",
  4: "PTRACE_POKETEXT",
  5: "PTRACE_POKEDATA",
  7: "PTRACE_CONT",
  12: "PTRACE_GETREGS",
  13: "PTRACE_SETREGS",
  16: "PTRACE_ATTACH",
  16902: "PTRACE_SEIZE",
};

const PRCTL: Readonly<Record<number, string>> = {
  4: "PR_SET_DUMPABLE",
  8: "PR_SET_KEEPCAPS",
  15: "PR_SET_NAME",
  22: "PR_SET_SECCOMP",
  24: "PR_CAPBSET_DROP",
  28: "PR_SET_SECUREBITS",
  35: "PR_SET_MM",
  36: "PR_SET_CHILD_SUBREAPER",
  38: "PR_SET_NO_NEW_PRIVS",
  47: "PR_CAP_AMBIENT",
  1499557217: "PR_SET_PTRACER",
};

const BPF: Readonly<Record<number, string>> = {
  0: "BPF_MAP_CREATE",
  5: "BPF_PROG_LOAD",
  6: "BPF_OBJ_PIN",
  7: "BPF_OBJ_GET",
  8: "BPF_PROG_ATTACH",
  18: "BPF_BTF_LOAD",
  28: "BPF_LINK_CREATE",
};

const IOCTL: Readonly<Record<number, string>> = { 21522: "TIOCSTI", 21532: "TIOCLINUX" };
const SECCOMP: Detail = (args) => ((int(args[1]) & 8) !== 0 ? "NEW_LISTENER" : null);

const DETAIL: Readonly<Record<string, Detail>> = {
  socket: named(0, FAMILIES),
  socketpair: named(0, FAMILIES),
  clone: namespaces(0, NAMESPACES, "a process"),
  unshare: namespaces(0, [...NAMESPACES, TIME], "0"),
  setns: namespaces(1, [...NAMESPACES, TIME], "any"),
  ioctl: named(1, IOCTL),
  prctl: named(0, PRCTL),
  ptrace: named(0, PTRACE),
  bpf: named(0, BPF),
  personality: named(0, {}),
  seccomp: SECCOMP,
};
