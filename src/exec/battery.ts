/** One thing that an Op must fail at, or a fact about what it was given, as the probe (sandbox/probe.c) tries it. */
export interface Attempt {
  /** For people: what is tried. */
  readonly name: string;
  /** The probe's argument. */
  readonly probe: string;
  /** What the probe must answer: an errno's name, a signal's name, "OK", or a fact. */
  readonly expect: RegExp;
  /** Why it may fail on this host, and what to change. */
  readonly hint?: string;
  /** It needs /proc, which some hosts don't let a sandbox mount: then the answer may be ENOENT, and that is no failure. */
  readonly proc?: true;
}

const REFUSED = /^(EPERM|ENOSYS)$/;
const NO_FAMILY = /^(EPERM|EAFNOSUPPORT)$/;
const MASKED = /^(EACCES|EPERM|ENOENT)$/;
const HOST_USER = "Run the runner as a user of its own, with no files in reach.";

/** System calls that no Op makes, by the probe's name for each. */
const CALLS: readonly (readonly [name: string, call: string])[] = [
  ["change the root", "chroot"],
  ["exchange the root", "pivot_root"],
  ["open a file by its handle", "open_by_handle_at"],
  ["make a file system", "fsopen"],
  ["copy a mount", "open_tree"],
  ["move a mount", "move_mount"],
  ["change a mount", "mount_setattr"],
  ["make a network namespace", "unshare-net"],
  ["enter a namespace", "setns"],
  ["count events of the processor", "perf_event_open"],
  ["deal with page faults itself", "userfaultfd"],
  ["add a key", "add_key"],
  ["load a kernel", "kexec_load"],
  ["load a kernel from a file", "kexec_file_load"],
  ["load a module", "init_module"],
  ["load a module from a file", "finit_module"],
  ["unload a module", "delete_module"],
  ["swap", "swapon"],
  ["reboot", "reboot"],
  ["read the kernel's log", "syslog"],
  ["account processes", "acct"],
  ["set quotas", "quotactl"],
  ["use ports of the hardware", "iopl"],
  ["rename the host", "sethostname"],
  ["set the clock", "settimeofday"],
  ["watch the file system", "fanotify_init"],
  ["change its personality", "personality"],
  ["compare processes", "kcmp"],
  ["type into the terminal, high bits set", "tiocsti-high"],
  ["paste into the console", "tioclinux"],
  ["paste into the console, high bits set", "tioclinux-high"],
];

/** Of the calls that the battery tries, those whose refusal a run must report. */
export const REPORTED: readonly string[] = [
  ...["mount", "unshare", "clone", "socket", "ptrace", "process_vm_readv", "pidfd_getfd", "bpf", "setns"],
  ...["perf_event_open", "userfaultfd", "open_by_handle_at", "chroot", "init_module", "kexec_load", "reboot"],
];

/** Files of /proc that tell of the host or change it. */
const PROC_FILES = ["kcore", "kallsyms", "kmsg", "keys", "timer_list", "modules", "cmdline", "iomem"];

/** Mounts and what must hold for each. */
const MOUNTS: readonly (readonly [path: string, flags: RegExp])[] = [
  ["/", /^ro nosuid nodev/],
  ["/usr", /^ro nosuid nodev$/],
  ["/op", /^ro nosuid nodev/],
  ["/run/secrets", /^ro nosuid nodev/],
  ["/tmp", /^nosuid nodev noexec$/],
  ["/dev/shm", /^nosuid nodev noexec$/],
  ["/proc", /^(ro )?nosuid nodev( noexec)?$/],
];

/** Namespaces that an Op shares with nobody, as links in /proc/self/ns. */
export const NAMESPACES: readonly string[] = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"];

/** What is tried at every start, before any Op runs. All of it takes some milliseconds. */
export const BATTERY: readonly Attempt[] = [
  { name: "read the host's password hashes", probe: "read:/etc/shadow", expect: /^ENOENT$/, hint: HOST_USER },
  { name: "look into home directories", probe: "list:/home", expect: /^ENOENT$/ },
  { name: "look into root's home", probe: "list:/root", expect: /^ENOENT$/ },
  { name: "look into /var", probe: "list:/var", expect: /^ENOENT$/ },
  { name: "look into /sys", probe: "list:/sys", expect: /^ENOENT$/ },
  { name: "create a file in /", probe: "create:/x", expect: /^EROFS$/ },
  { name: "create a file in /usr", probe: "create:/usr/x", expect: /^EROFS$/ },
  { name: "create a file in /etc", probe: "create:/etc/x", expect: /^EROFS$/ },
  { name: "create a file in /op", probe: "create:/op/x", expect: /^EROFS$/ },
  { name: "create a file in /run/secrets", probe: "create:/run/secrets/x", expect: /^EROFS$/ },
  { name: "climb out by ..", probe: "climb:root", expect: /^ENOENT$/ },
  { name: "make a device", probe: "mknod:/tmp/device", expect: /^EPERM$/ },
  { name: "execute from /tmp", probe: "exec-copy:/tmp/copy", expect: /^EACCES$/ },
  { name: "execute from a memfd", probe: "exec-memfd", expect: /^(EACCES|EPERM|ENOSYS)$/ },
  { name: "see other processes", probe: "pids", expect: /^1 2 \d+$/, proc: true },
  {
    name: "read the environment of PID 1",
    probe: "read:/proc/1/environ",
    expect: /^(EACCES|EPERM)$/,
    proc: true,
  },
  {
    name: "change a kernel setting",
    probe: "write:/proc/sys/kernel/hostname",
    expect: /^(EROFS|EACCES)$/,
    proc: true,
  },
  { name: "use sysrq", probe: "write:/proc/sysrq-trigger", expect: /^(EROFS|EACCES|ENOENT)$/, proc: true },
  ...PROC_FILES.map((file) => ({
    name: `read /proc/${file}`,
    probe: `read:/proc/${file}`,
    expect: MASKED,
    proc: true as const,
  })),
  {
    name: "rewrite its own program",
    probe: "write:/proc/self/exe",
    expect: /^(EROFS|ETXTBSY|EACCES)$/,
    proc: true,
  },
  {
    name: "rewrite PID 1's program",
    probe: "write:/proc/1/exe",
    expect: /^(EROFS|EACCES|EPERM)$/,
    proc: true,
  },
  { name: "look into PID 1's root", probe: "list:/proc/1/root", expect: /^(EACCES|EPERM)$/, proc: true },
  { name: "write another process's memory", probe: "vm-write:1", expect: REFUSED },
  { name: "trace another process", probe: "ptrace:1", expect: REFUSED },
  { name: "read another process's memory", probe: "vm-read:1", expect: REFUSED },
  { name: "take another process's descriptor", probe: "pidfd-getfd:1", expect: REFUSED },
  { name: "see a network device but lo", probe: "interfaces", expect: /^lo$/, proc: true },
  { name: "reach an outside address", probe: "tcp:192.0.2.1 443", expect: /^(ENETUNREACH|EPERM)$/ },
  {
    name: "reach a loopback port",
    probe: "tcp:127.0.0.1 22",
    expect: /^(ENETUNREACH|EADDRNOTAVAIL|ECONNREFUSED|EPERM)$/,
  },
  { name: "reach the metadata address", probe: "tcp:169.254.169.254 80", expect: /^(ENETUNREACH|EPERM)$/ },
  { name: "ask a name server", probe: "udp:127.0.0.53", expect: /^(ENETUNREACH|EPERM|EADDRNOTAVAIL)$/ },
  { name: "reach Docker", probe: "unix:/run/docker.sock", expect: /^ENOENT$/ },
  { name: "reach the system bus", probe: "unix:/run/dbus/system_bus_socket", expect: /^ENOENT$/ },
  { name: "see sockets of the host", probe: "lines:/proc/net/unix", expect: /^1$/, proc: true },
  { name: "have a route", probe: "lines:/proc/net/route", expect: /^[01]$/, proc: true },
  { name: "open a netlink socket", probe: "socket:16 3 0", expect: NO_FAMILY },
  { name: "open a raw socket", probe: "socket:2 3 1", expect: NO_FAMILY },
  { name: "open a socket of the kernel's ciphers", probe: "socket:38 5 0", expect: NO_FAMILY },
  { name: "open an XDP socket", probe: "socket:44 3 0", expect: NO_FAMILY },
  { name: "open a packet socket", probe: "socket:17 3 0", expect: NO_FAMILY },
  { name: "open a vsock socket", probe: "socket:40 1 0", expect: NO_FAMILY },
  { name: "mount", probe: "call:mount", expect: REFUSED },
  { name: "unmount", probe: "call:umount2", expect: REFUSED },
  { name: "make a user namespace", probe: "call:unshare-user", expect: REFUSED },
  { name: "make a user namespace by clone", probe: "call:clone-user", expect: REFUSED },
  { name: "use clone3", probe: "call:clone3", expect: /^ENOSYS$/ },
  { name: "use io_uring", probe: "call:io_uring_setup", expect: /^ENOSYS$/ },
  { name: "use bpf", probe: "call:bpf", expect: REFUSED },
  { name: "use the key rings", probe: "call:keyctl", expect: REFUSED },
  { name: "use a call that nobody knows", probe: "call:unknown", expect: /^ENOSYS$/ },
  { name: "use x32 calls", probe: "call:x32", expect: /^(SIGSYS|ENOSYS)$/ },
  { name: "use i386 calls", probe: "int80", expect: /^(SIGSYS|SIGSEGV|ENOSYS)$/ },
  { name: "type into the terminal", probe: "call:tiocsti", expect: REFUSED },
  ...CALLS.map(([name, call]) => ({ name, probe: `call:${call}`, expect: REFUSED })),
  { name: "answer its own refusals", probe: "listener", expect: /^(EPERM|ENOSYS|EBUSY)$/ },
  ...["shm", "sem", "msg"].map((kind) => ({
    name: `see System V ${kind} of others`,
    probe: `lines:/proc/sysvipc/${kind}`,
    expect: /^1$/,
    proc: true as const,
  })),
  {
    name: "open a message queue of others",
    probe: "mq:/sallyport",
    expect: /^(ENOENT|EPERM|ENOSYS|EACCES)$/,
  },
  { name: "see shared memory of others", probe: "list:/dev/shm", expect: /^$/ },
  {
    name: "devices",
    probe: "list:/dev",
    expect: /^((null|zero|full|random|urandom|fd|stdin|stdout|stderr|shm)( |$))+$/,
  },
  { name: "open a terminal", probe: "read:/dev/tty", expect: /^(ENOENT|ENXIO)$/ },
  ...MOUNTS.map(([path, expect]) => ({ name: `mount of ${path}`, probe: `flags:${path}`, expect })),
  ...NAMESPACES.map((name) => ({
    name: `${name} namespace`,
    probe: `link-target:/proc/self/ns/${name}`,
    expect: new RegExp(`^${name}:\\[[0-9]+\\]$`),
    proc: true as const,
  })),
  { name: "start a thread", probe: "thread", expect: /^OK$/ },
  { name: "descriptors", probe: "descriptors", expect: /^0 1 2 3$/ },
  { name: "user and group", probe: "ids", expect: /^1000 1000 1000 1000$/ },
  { name: "become root", probe: "setuid:0", expect: /^(EPERM|EINVAL)$/ },
  { name: "host name", probe: "hostname", expect: /^op$/ },
  { name: "capabilities", probe: "status:CapEff", expect: /^0+$/, proc: true },
  { name: "bounding set", probe: "status:CapBnd", expect: /^0+$/, proc: true },
  { name: "no_new_privs", probe: "status:NoNewPrivs", expect: /^1$/, proc: true },
  { name: "seccomp filter", probe: "status:Seccomp", expect: /^2$/, proc: true },
  {
    name: "environment",
    probe: "environment",
    expect: /^(PATH|HOME|LANG|SALLYPORT_RUN|SALLYPORT_OP)( (PATH|HOME|LANG|SALLYPORT_RUN|SALLYPORT_OP))*$/,
  },
];

/** What a host lacks where an attempt of this kind succeeds. */
const LACKING: readonly (readonly [probe: RegExp, advice: string])[] = [
  [
    /^exec-/,
    "Nothing forbids to execute what an Op wrote: allow Landlock (landlock in lsm=), and let nothing stand between sallyport and the kernel's filter of system calls (gVisor, qemu-user).",
  ],
  [
    /^(call|socket|int80|listener|ptrace|vm-|pidfd-|mknod|status:Seccomp)/,
    "The filter of system calls does not hold: the kernel needs CONFIG_SECCOMP_FILTER, and no emulation in between (gVisor, qemu-user).",
  ],
  [
    /^(tcp|udp|unix|interfaces|lines:.proc.net|link-target:.proc.self.ns.net)/,
    "The Op has a network that is not its own: the kernel needs CONFIG_NET_NS, and sysctl user.max_net_namespaces above 0.",
  ],
  [
    /^(lines:.proc.sysvipc|mq|link-target:.proc.self.ns.ipc)/,
    "The Op shares memory or queues with others: the kernel needs CONFIG_IPC_NS, and sysctl user.max_ipc_namespaces above 0.",
  ],
  [
    /^(setuid|ids|status|link-target:.proc.self.ns.user)/,
    "The Op has rights of its own: the kernel needs CONFIG_USER_NS, and nothing may map more accounts into it.",
  ],
  [
    /^(pids|thread|link-target:.proc.self.ns.(pid|uts|cgroup)|hostname)/,
    "The Op sees what is not its own, or lacks what is: the kernel needs CONFIG_PID_NS, CONFIG_UTS_NS and CONFIG_CGROUPS.",
  ],
  [
    /^(environment|descriptors)/,
    "The launcher handed on what it should not: report it as a weakness of sallyport.",
  ],
  [
    /./,
    "A path of the host is in reach: the kernel needs mount namespaces (CONFIG_NAMESPACES, sysctl user.max_mnt_namespaces above 0) and mount_setattr (Linux 5.12).",
  ],
];

/** What to change on a host where the attempt went otherwise than it must. */
export function adviceOn(attempt: Attempt): string {
  return attempt.hint ?? LACKING.find(([probe]) => probe.test(attempt.probe))?.[1] ?? "";
}

/** Whether the probe's answer is what must be. `procMissing`: the launcher said that /proc could not be mounted. */
export function judge(attempt: Attempt, answer: string | undefined, procMissing: boolean): boolean {
  if (answer === undefined) return false;
  if (attempt.proc === true && procMissing && /^(ENOENT|ENOTDIR)?$/.test(answer)) return true;
  return attempt.expect.test(answer);
}

/** The probe's lines, by attempt. */
export function readAnswers(output: string): Map<string, string> {
  const answers = new Map<string, string>();
  for (const line of output.split("\n")) {
    const tab = line.indexOf("\t");
    if (tab > 0) answers.set(line.slice(0, tab), line.slice(tab + 1));
  }
  return answers;
}
