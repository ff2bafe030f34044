import { join } from "node:path";
import type { Dirs } from "../../../src/host/dirs.ts";
import type { Attempt } from "./role-probe.ts";

/** What stands on the host while the attempts run. */
export type Bait = {
  dirs: Dirs;
  /** A directory of the same account that is no role's. */
  home: string;
  /** Listens on 127.0.0.1. */
  port: number;
  /** A Unix socket on which somebody listens, by path and by abstract name. */
  socket: string;
  abstract: string;
  /** A process of the same account (or of root's) that is no role. */
  pid: number;
};

export type Row = {
  name: string;
  attempt: Attempt;
  /** What must come of it, for the roles that differ from the others. */
  roles: Readonly<Record<string, RegExp>>;
  others: RegExp;
  /** The Landlock ABI that refuses it, where no filter does. */
  landlock?: number;
};

const OK = /^ok$/;
const NO = /^EPERM$/;
const NO_FILE = /^EACCES$/;
/** The roles with outbound network. */
const OUTBOUND = { gateway: OK, egress: OK, courier: OK };
const NO_CALL = /^ENOSYS$/;
/** AF_NETLINK is answered as by a kernel without it: glibc and c-ares look. */
const NO_FAMILY = /^EAFNOSUPPORT$/;

/** x86-64, as the filters are. */
const SYS = {
  socket: 41,
  connect: 42,
  bind: 49,
  listen: 50,
  clone: 56,
  vfork: 58,
  execve: 59,
  kill: 62,
  truncate: 76,
  chmod: 90,
  ptrace: 101,
  rtSigqueueinfo: 129,
  tkill: 200,
  tgkill: 234,
  inotifyInit: 294,
  prlimit: 302,
  accept4: 288,
  execveat: 322,
} as const;
const AF = { unix: 1, inet: 2, inet6: 10, netlink: 16, packet: 17, alg: 38, vsock: 40, xdp: 44 } as const;
const STREAM = 1;
/** So that an accept that may be made does not wait. */
const NONBLOCK = 2048;
const DGRAM = 2;
const RAW = 3;
const MPTCP = 262;

const hex = (...bytes: (number | string)[]) =>
  Buffer.concat(bytes.map((b) => (typeof b === "number" ? Buffer.from([b]) : Buffer.from(b)))).toString(
    "hex",
  );
const path = (text: string) => hex(text, 0);
const inet = (port: number) => hex(AF.inet, 0, port >> 8, port & 255, 127, 0, 0, 1, "\0".repeat(8));
const inet6 = (port: number) =>
  hex(AF.inet6, 0, port >> 8, port & 255, "\0".repeat(4), "\0".repeat(15), 1, "\0".repeat(4));
const unix = (name: string) => hex(AF.unix, 0, name, 0);

/** The rows of DESIGN's table, each as one thing to try. A role that is added is one more key where it differs. */
export function roleRows(bait: Bait): Row[] {
  return [...fileRows(bait), ...networkRows(bait), ...execRows(), ...processRows(bait), ...kernelRows()];
}

function fileRows({ dirs, home, pid }: Bait): Row[] {
  const rows: Row[] = [];
  const row = (name: string, attempt: Attempt, roles: Row["roles"], others = NO_FILE, landlock = 1) =>
    rows.push({ name, attempt, roles, others, landlock });
  const whole = (name: string, dir: string, file: string, roles: Row["roles"]) => {
    row(`read ${name}`, { fs: "read", path: join(dir, file) }, roles);
    row(`list the directory of ${name}`, { fs: "list", path: dir }, roles);
    row(`open ${name} for writing`, { fs: "write", path: join(dir, file) }, roles);
    row(`append to ${name}`, { fs: "append", path: join(dir, file) }, roles);
    row(`make a file beside ${name}`, { fs: "create", path: join(dir, "made") }, roles);
    row(`truncate ${name}`, { call: SYS.truncate, args: [path(join(dir, file)), 0] }, roles, NO_FILE, 3);
  };
  // The notary's directory is in the keeper's while one account has both.
  const keepers = { keeper: OK };
  whole("the database", dirs.state, "sallyport.db", keepers);
  whole("the keyring", dirs.state, "keyring.json", keepers);
  whole("the notary's key", join(dirs.state, "notary"), "key", { keeper: OK, notary: OK });
  whole("the log's checkpoint", dirs.log, "checkpoint", keepers);
  whole("the directory of sockets", dirs.run, "file", keepers);
  whole("somebody's home", home, "file", {});
  row(
    "rename the database",
    { fs: "rename", path: join(dirs.state, "keyring.json") },
    { keeper: /^(ok|ENOENT)$/ },
  );
  row("remove the log", { fs: "unlink", path: join(dirs.log, "checkpoint") }, { keeper: /^(ok|ENOENT)$/ });
  row("make a directory", { fs: "mkdir", path: join(home, "made") }, {});
  row("read the host's accounts", { fs: "read", path: "/etc/passwd" }, OUTBOUND);
  row("change the host's accounts", { fs: "write", path: "/etc/passwd" }, {});
  row("list /root", { fs: "list", path: "/root" }, {});
  row("make a file in /tmp", { fs: "create", path: `/tmp/sallyport-role-${pid}` }, {});
  row("make a file in /dev/shm", { fs: "create", path: `/dev/shm/sallyport-role-${pid}` }, {});
  row("change its own program", { fs: "write", path: process.execPath }, {}, /^(EACCES|ETXTBSY)$/);
  row(
    "read a processor's weaknesses",
    { fs: "list", path: "/sys/devices/system/cpu/vulnerabilities" },
    { runner: OK },
  );
  row("read the processors", { fs: "list", path: "/sys/devices/system/cpu" }, {});
  row("read its own status", { fs: "read", path: "/proc/self/status" }, {}, OK);
  for (const name of ["environ", "mem", "maps"])
    row(`read another process's ${name}`, { fs: "read", path: `/proc/${pid}/${name}` }, {});
  row(
    "read through another process's root",
    { fs: "read", path: `/proc/${pid}/root${join(home, "file")}` },
    {},
  );
  row("read through another process's descriptor", { fs: "read", path: `/proc/${pid}/fd/0` }, {});
  row("set another process's oom score", { fs: "write", path: `/proc/${pid}/oom_score_adj` }, {});
  row("change a kernel setting", { fs: "write", path: "/proc/sys/kernel/core_pattern" }, {});
  row("change a cgroup", { fs: "write", path: "/sys/fs/cgroup/cgroup.procs" }, {}, /^(EACCES|ENOENT)$/);
  rows.push({
    name: "make a file setuid",
    attempt: { call: SYS.chmod, args: [path(join(home, "file")), 0o4755] },
    // Its own files are the database's.
    roles: { keeper: OK },
    others: NO,
  });
  return rows;
}

function networkRows({ port, socket, abstract, dirs, home }: Bait): Row[] {
  const open = (family: number, type: number, protocol = 0) => ({
    call: SYS.socket,
    args: [family, type, protocol],
  });
  const row = (name: string, attempt: Attempt, roles: Row["roles"], others = NO): Row => ({
    name,
    attempt,
    roles,
    others,
  });
  const connect = (address: string) => ({ call: SYS.connect, args: [address, address.length / 2] });
  const bind = (address: string) => ({ call: SYS.bind, args: [address, address.length / 2] });
  const listen = { call: SYS.listen, args: [1], next: { call: SYS.accept4, args: [0, 0, 0] } };
  // Told that it listens, as it accepts on the listeners that runs hand over: on a socket of its own nothing can be accepted.
  const ACCEPTS = { egress: /^EINVAL$/ };
  const name = hex(AF.unix, 0, 0, abstract);
  return [
    row("connect by TCP", { ...open(AF.inet, STREAM), next: connect(inet(port)) }, OUTBOUND),
    {
      // The courier's are those of its vaults.
      ...row(
        "connect by TCP to another port",
        { ...open(AF.inet, STREAM), next: connect(inet(1)) },
        { gateway: /^ECONNREFUSED$/, egress: /^ECONNREFUSED$/, courier: NO_FILE },
      ),
      landlock: 4,
    },
    row("open a TCP socket of IPv6", open(AF.inet6, STREAM), OUTBOUND),
    row("open a UDP socket", open(AF.inet, DGRAM), OUTBOUND),
    row("listen on TCP", { ...open(AF.inet, STREAM | NONBLOCK), next: listen }, ACCEPTS),
    row("listen on TCP of IPv6", { ...open(AF.inet6, STREAM | NONBLOCK), next: listen }, ACCEPTS),
    row("listen on Multipath TCP", { ...open(AF.inet, STREAM | NONBLOCK, MPTCP), next: listen }, ACCEPTS),
    row("take a port of TCP", { ...open(AF.inet, STREAM), next: bind(inet(0)) }, {}),
    row("take a port of Multipath TCP", { ...open(AF.inet, STREAM, MPTCP), next: bind(inet(0)) }, {}),
    row("take a port of UDP", { ...open(AF.inet, DGRAM), next: bind(inet(0)) }, {}),
    row("take a port of UDP of IPv6", { ...open(AF.inet6, DGRAM), next: bind(inet6(0)) }, {}),
    row("open a raw socket", open(AF.inet, RAW, 1), {}),
    row("open a packet socket", open(AF.packet, RAW, 3), {}),
    row("open a vsock socket", open(AF.vsock, STREAM), {}),
    row("open a socket of the kernel's ciphers", open(AF.alg, 5), {}),
    row("open an XDP socket", open(AF.xdp, RAW), {}),
    row("open a netlink socket", open(AF.netlink, RAW), OUTBOUND, NO_FAMILY),
    row("connect to a Unix socket", { ...open(AF.unix, STREAM), next: connect(unix(socket)) }, {}),
    row("connect to an abstract socket", { ...open(AF.unix, STREAM), next: connect(name) }, {}),
    row("open a Unix socket of datagrams", open(AF.unix, DGRAM), {}),
    {
      ...row(
        "bind its Unix socket",
        { ...open(AF.unix, STREAM), next: bind(unix(join(dirs.run, "s"))), once: "pool" },
        { keeper: OK },
      ),
    },
    {
      ...row(
        "bind a Unix socket elsewhere",
        { ...open(AF.unix, STREAM), next: bind(unix(join(home, "s"))) },
        { keeper: NO_FILE },
      ),
      landlock: 1,
    },
  ];
}

function execRows(): Row[] {
  const program = path("/bin/true");
  const calls: [string, Attempt, RegExp?][] = [
    ["execve", { call: SYS.execve, args: [program, 0, 0] }],
    ["execveat", { call: SYS.execveat, args: [-100, program, 0, 0, 0] }],
    // CLONE_THREAD is what makes a thread of it; this is fork, with SIGCHLD.
    ["fork by clone", { call: SYS.clone, args: [17, 0, 0, 0, 0] }],
    ["fork", { call: 57, args: [] }],
    ["vfork", { call: SYS.vfork, args: [] }],
    ["a process that shares memory", { call: SYS.clone, args: [0x4111, 0, 0, 0, 0] }],
    ["clone3", { call: 435, args: ["00".repeat(88), 88] }, NO_CALL],
  ];
  return calls.map(([name, attempt, others = NO]) => ({ name, attempt, roles: {}, others }));
}

function processRows({ pid }: Bait): Row[] {
  const row = (name: string, call: number, args: (number | string)[]): Row => ({
    name,
    attempt: { call, args },
    roles: {},
    others: NO,
  });
  const none = "00".repeat(128);
  return [
    row("kill", SYS.kill, [pid, 0]),
    row("kill all of the account", SYS.kill, [-1, 0]),
    row("tkill", SYS.tkill, [pid, 0]),
    row("tgkill", SYS.tgkill, [pid, pid, 0]),
    row("queue a signal", SYS.rtSigqueueinfo, [pid, 0, none]),
    row("queue a signal to a thread", 297, [pid, pid, 0, none]),
    row("open a process", 434, [pid, 0]),
    row("signal by a process's descriptor", 424, [0, 0, 0, 0]),
    row("take another's descriptor", 438, [0, 0, 0]),
    row("trace", SYS.ptrace, [16, pid, 0, 0]),
    row("read another's memory", 310, [pid, none, 1, none, 1, 0]),
    row("write another's memory", 311, [pid, none, 1, none, 1, 0]),
    row("compare descriptors", 312, [pid, pid, 0, 0, 0]),
    // Of itself it must be possible: Node asks for its own.
    row("read another's limits", SYS.prlimit, [pid, 7, 0, none]),
    row("lower another's limits", SYS.prlimit, [pid, 7, "ff".repeat(16), 0]),
    { ...row("read its own limits", SYS.prlimit, [0, 7, 0, none]), others: OK },
    row("choose another's processors", 203, [pid, 8, "ff".repeat(8)]),
    row("choose another's scheduler", 144, [pid, 0, none]),
    row("choose another's parameters", 142, [pid, none]),
    row("choose another's attributes", 314, [pid, none, 0]),
    row("choose another's priority", 141, [0, pid, 19]),
    row("choose its account's priority", 141, [2, 0, 19]),
    row("choose another's input priority", 251, [1, pid, 0]),
    row("watch directories", SYS.inotifyInit, [0]),
    row("watch the file system", 300, [0, 0]),
  ];
}

/** What no role needs of the kernel. */
function kernelRows(): Row[] {
  const none = "00".repeat(128);
  const calls: [string, number, (number | string)[], RegExp?][] = [
    ["mount", 165, [path("none"), path("/tmp"), path("tmpfs"), 0, 0]],
    ["unmount", 166, [path("/tmp"), 0]],
    ["pivot_root", 155, [path("."), path(".")]],
    ["chroot", 161, [path("/tmp")]],
    ["unshare", 272, [0x10000000]],
    ["setns", 308, [0, 0]],
    ["make a device", 133, [path("/tmp/sallyport-device"), 0o20600, 0x105]],
    ["open by handle", 304, [-100, none, 0]],
    ["bpf", 321, [0, none, 64]],
    ["perf_event_open", 298, [none, 0, -1, -1, 0]],
    ["userfaultfd", 323, [0]],
    ["io_uring", 425, [1, none], NO_CALL],
    ["keyctl", 250, [0, -3, 1], NO_CALL],
    ["init_module", 175, [none, 0, path("")]],
    ["finit_module", 313, [-1, path(""), 0]],
    ["kexec_load", 246, [0, 0, 0, 0]],
    ["reboot", 169, [0, 0, 0, 0]],
    ["swapon", 167, [path("/tmp"), 0]],
    ["syslog", 103, [3, none, 1]],
    ["acct", 163, [path("/tmp/acct")]],
    ["personality", 135, [0x0040000]],
    ["iopl", 172, [3]],
    ["setuid", 105, [0]],
    ["setgid", 106, [0]],
    ["setresuid", 117, [0, 0, 0]],
    ["setgroups", 116, [0, 0]],
    ["capset", 126, [none, none]],
    ["sethostname", 170, [path("x"), 1]],
    ["settimeofday", 164, [none, 0]],
    ["shmget", 29, [4711, 4096, 0o1666]],
    ["semget", 64, [4711, 1, 0o1666]],
    ["msgget", 68, [4711, 0o1666]],
    ["mq_open", 240, [path("sallyport"), 0o102, 0o600, 0]],
    ["a call that nobody knows", 999, [], /^(EPERM|ENOSYS)$/],
  ];
  return calls.map(([name, call, args, others = NO]) => ({
    name,
    attempt: { call, args },
    roles: {},
    others,
  }));
}
