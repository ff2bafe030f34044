import type { Attempt } from "../../src/exec/battery.ts";
import { waysTable } from "./table-ways.ts";

/** What stands on the host while the attempts run, so that each of them has something real to reach for. */
export interface HostBait {
  /** A TCP port on which the test listens, on loopback. */
  readonly port: number;
  /** An abstract socket name on which the test listens. */
  readonly abstract: string;
  /** A path of a Unix socket on which the test listens, readable by everybody. */
  readonly socket: string;
  /** A file that everybody may read. */
  readonly file: string;
  /** A file in /dev/shm that everybody may read. */
  readonly shared: string;
  /** System V shared memory, semaphores and a queue of this key, and a POSIX queue "/probe-KEY", open to everybody. */
  readonly key: number;
  /** A process of the host, of the user that the launcher runs as. */
  readonly pid: number;
  readonly hostname: string;
}

const REFUSED = /^EPERM$/;
const NO_SUCH = /^ENOENT$/;
const READ_ONLY = /^EROFS$/;

/** The lines of the containment list that one probe can try alone, group by group. The self-test's come on top. */
export function containmentTable(bait: HostBait): Readonly<Record<string, readonly Attempt[]>> {
  return {
    files: [
      { name: "the bait file of the host", probe: `read:${bait.file}`, expect: NO_SUCH },
      { name: "the host's log folder", probe: "list:/var/log", expect: NO_SUCH },
      { name: "the host's /etc/machine-id", probe: "read:/etc/machine-id", expect: NO_SUCH },
      { name: "the host's ssh keys", probe: "list:/etc/ssh", expect: NO_SUCH },
      {
        name: "the top level",
        probe: "list:/",
        expect: /^(bin|sbin|lib|lib32|lib64|libx32|usr|etc|dev|proc|op|run|tmp| )+$/,
      },
      { name: "/run", probe: "list:/run", expect: /^(secrets empty|empty secrets|secrets)$/ },
      {
        name: "/dev",
        probe: "list:/dev",
        expect: /^(null|zero|full|random|urandom|fd|stdin|stdout|stderr|shm| )+$/,
      },
      { name: "write /", probe: "create:/x", expect: READ_ONLY },
      { name: "write /bin", probe: "create:/usr/bin/x", expect: READ_ONLY },
      { name: "write /etc/passwd", probe: "write:/etc/passwd", expect: /^(EROFS|EACCES)$/ },
      { name: "write /op/probe", probe: "write:/op/probe", expect: /^(EROFS|EACCES)$/ },
      { name: "write /dev", probe: "create:/dev/x", expect: READ_ONLY },
      { name: "write /tmp", probe: "create:/tmp/fine", expect: /^OK$/ },
      { name: "write /dev/shm", probe: "create:/dev/shm/fine", expect: /^OK$/ },
      { name: "a hard link to a program", probe: "link:/tmp/l", expect: /^(EXDEV|EPERM)$/ },
      { name: "mknod", probe: "mknod:/tmp/n", expect: REFUSED },
      { name: "exec from /tmp", probe: "exec-copy:/tmp/c", expect: /^EACCES$/ },
      { name: "exec from /dev/shm", probe: "exec-copy:/dev/shm/c", expect: /^EACCES$/ },
      { name: "climb out", probe: "climb:root", expect: NO_SUCH },
      { name: "open_by_handle_at", probe: "call:open_by_handle_at", expect: REFUSED },
      ...[
        "mount",
        "umount2",
        "pivot_root",
        "chroot",
        "fsopen",
        "open_tree",
        "move_mount",
        "mount_setattr",
      ].map((call) => ({
        name: call,
        probe: `call:${call}`,
        expect: REFUSED,
      })),
    ],
    proc: [
      { name: "own processes only", probe: "pids", expect: /^1 2 \d+$/, proc: true },
      {
        name: "its own executable",
        probe: "write:/proc/self/exe",
        expect: /^(EROFS|ETXTBSY|EACCES)$/,
        proc: true,
      },
      {
        name: "PID 1's executable",
        probe: "write:/proc/1/exe",
        expect: /^(EROFS|EACCES|EPERM)$/,
        proc: true,
      },
      { name: "PID 1's root", probe: "list:/proc/1/root", expect: /^(EACCES|EPERM)$/, proc: true },
      { name: "PID 1's memory", probe: "read:/proc/1/mem", expect: /^(EACCES|EPERM)$/, proc: true },
      { name: "PID 1's descriptors", probe: "list:/proc/1/fd", expect: /^(EACCES|EPERM)$/, proc: true },
      ...[
        ...["kallsyms", "kcore", "keys", "timer_list", "modules", "cmdline", "bootconfig", "diskstats"],
        ...["partitions", "swaps", "iomem", "ioports", "interrupts", "softirqs"],
      ].map((file) => ({
        name: `/proc/${file}`,
        probe: `read:/proc/${file}`,
        expect: /^(EACCES|ENOENT)$/,
        proc: true as const,
      })),
      {
        name: "sysctl",
        probe: "write:/proc/sys/kernel/core_pattern",
        expect: /^(EROFS|EACCES)$/,
        proc: true,
      },
      { name: "oom score", probe: "write:/proc/self/oom_score_adj", expect: /^(EROFS|EACCES)$/, proc: true },
      { name: "id maps", probe: "write:/proc/self/uid_map", expect: /^(EROFS|EACCES|EPERM)$/, proc: true },
      { name: "cgroups", probe: "list:/sys/fs/cgroup", expect: NO_SUCH },
      { name: "the host's name", probe: "hostname", expect: /^op$/ },
    ],
    processes: [
      { name: "signal a process of the host", probe: `kill:${bait.pid}`, expect: /^ESRCH$/ },
      { name: "trace a process of the host", probe: `ptrace:${bait.pid}`, expect: REFUSED },
      { name: "trace PID 1", probe: "ptrace:1", expect: REFUSED },
      { name: "be traced", probe: "traceme", expect: REFUSED },
      { name: "process_vm_readv", probe: "vm-read:1", expect: REFUSED },
      { name: "pidfd_getfd", probe: "pidfd-getfd:1", expect: REFUSED },
      { name: "become root", probe: "setuid:0", expect: /^(EPERM|EINVAL)$/ },
      { name: "threads work", probe: "thread", expect: /^OK$/ },
    ],
    network: [
      { name: "devices", probe: "interfaces", expect: /^lo$/, proc: true },
      {
        name: "the host's loopback port",
        probe: `tcp:127.0.0.1 ${bait.port}`,
        expect: /^(ENETUNREACH|EADDRNOTAVAIL|EPERM)$/,
      },
      { name: "an outside address", probe: "tcp:192.0.2.1 80", expect: /^(ENETUNREACH|EPERM)$/ },
      { name: "the metadata address", probe: "tcp:169.254.169.254 80", expect: /^(ENETUNREACH|EPERM)$/ },
      { name: "DNS", probe: "udp:127.0.0.53", expect: /^(ENETUNREACH|EPERM|EADDRNOTAVAIL)$/ },
      {
        name: "the host's abstract socket",
        probe: `abstract:${bait.abstract}`,
        expect: /^(ECONNREFUSED|EPERM)$/,
      },
      { name: "a socket file of the host", probe: `unix:${bait.socket}`, expect: NO_SUCH },
      { name: "docker", probe: "unix:/var/run/docker.sock", expect: NO_SUCH },
      { name: "dbus", probe: "unix:/run/dbus/system_bus_socket", expect: NO_SUCH },
      { name: "netlink", probe: "socket:16 3 0", expect: /^(EPERM|EAFNOSUPPORT)$/ },
      { name: "packet", probe: "socket:17 3 0", expect: /^(EPERM|EAFNOSUPPORT)$/ },
      { name: "raw", probe: "socket:2 3 1", expect: /^(EPERM|EAFNOSUPPORT)$/ },
      { name: "vsock", probe: "socket:40 1 0", expect: /^(EPERM|EAFNOSUPPORT)$/ },
      { name: "alg", probe: "socket:38 5 0", expect: /^(EPERM|EAFNOSUPPORT)$/ },
      { name: "xdp", probe: "socket:44 3 0", expect: /^(EPERM|EAFNOSUPPORT)$/ },
    ],
    ipc: [
      {
        name: "a message queue of the host",
        probe: `mq:/probe-${bait.key}`,
        expect: /^(ENOENT|EPERM|ENOSYS|EACCES)$/,
      },
      { name: "shared memory of the host", probe: `sysv:${bait.key}`, expect: NO_SUCH },
      { name: "semaphores of the host", probe: `sem:${bait.key}`, expect: NO_SUCH },
      { name: "messages of the host", probe: `msg:${bait.key}`, expect: NO_SUCH },
      { name: "the host's /dev/shm", probe: `read:${bait.shared}`, expect: NO_SUCH },
      { name: "keyctl", probe: "call:keyctl", expect: /^(ENOSYS|EPERM)$/ },
      { name: "add_key", probe: "call:add_key", expect: /^(ENOSYS|EPERM)$/ },
    ],
    kernel: [
      ...["clone3", "io_uring_setup", "unknown"].map((call) => ({
        name: call,
        probe: `call:${call}`,
        expect: /^ENOSYS$/,
      })),
      ...[
        ...[
          "bpf",
          "perf_event_open",
          "userfaultfd",
          "unshare-user",
          "unshare-net",
          "clone-user",
          "setns",
          "kexec_load",
        ],
        ...[
          "init_module",
          "finit_module",
          "delete_module",
          "swapon",
          "reboot",
          "syslog",
          "acct",
          "quotactl",
          "iopl",
        ],
        ...[
          "sethostname",
          "settimeofday",
          "tiocsti",
          "tiocsti-high",
          "tioclinux",
          "fanotify_init",
          "lookup_dcookie",
        ],
        ...["personality", "kcmp", "process_madvise"],
      ].map((call) => ({ name: call, probe: `call:${call}`, expect: /^(EPERM|ENOSYS)$/ })),
      { name: "x32", probe: "call:x32", expect: /^SIGSYS$/ },
      { name: "int 0x80", probe: "int80", expect: /^(SIGSYS|SIGSEGV)$/ },
      { name: "a listener of its own", probe: "listener", expect: /^(EPERM|ENOSYS|EBUSY)$/ },
    ],
    inheritance: [
      { name: "descriptors", probe: "descriptors", expect: /^0 1 2 3$/ },
      { name: "stdin", probe: "link-target:/proc/self/fd/0", expect: /^(\/dev)?\/null$/, proc: true },
      { name: "stdout", probe: "link-target:/proc/self/fd/1", expect: /^pipe:/, proc: true },
      { name: "stderr", probe: "link-target:/proc/self/fd/2", expect: /^pipe:/, proc: true },
      { name: "control", probe: "link-target:/proc/self/fd/3", expect: /^socket:/, proc: true },
      { name: "effective capabilities", probe: "status:CapEff", expect: /^0+$/, proc: true },
      { name: "permitted capabilities", probe: "status:CapPrm", expect: /^0+$/, proc: true },
      { name: "inheritable capabilities", probe: "status:CapInh", expect: /^0+$/, proc: true },
      { name: "ambient capabilities", probe: "status:CapAmb", expect: /^0+$/, proc: true },
      { name: "bounding capabilities", probe: "status:CapBnd", expect: /^0+$/, proc: true },
      { name: "no_new_privs", probe: "status:NoNewPrivs", expect: /^1$/, proc: true },
      { name: "seccomp", probe: "status:Seccomp", expect: /^2$/, proc: true },
      { name: "no controlling terminal", probe: "read:/dev/tty", expect: /^(ENOENT|ENXIO)$/ },
    ],
    ...waysTable(bait),
    "what it was given": [
      // Outside of its process ids; of its accounts where that is its own outside. A descriptor of that process signals nobody.
      {
        name: "who is at the other end of fd 3",
        probe: "peer:3",
        expect: /^0 (65534|1000) (EINVAL|ENOPROTOOPT)$/,
      },
      { name: "a session of the host's", probe: "session", expect: /^own$/ },
      // One less than the kernel takes, or fewer where the launcher itself is behind some.
      { name: "Landlock around it", probe: "fences", expect: /^(1[0-5] E2BIG|ENOSYS|EOPNOTSUPP|EPERM)$/ },
      ...["acpi", "asound", "bus", "driver", "firmware", "fs", "irq", "scsi"].map((folder) => ({
        name: `/proc/${folder}`,
        probe: `list:/proc/${folder}`,
        expect: /^(|EACCES|ENOENT)$/,
      })),
      // EINVAL: a kernel before 6.3, where an Op has no memfd.
      { name: "make a memfd executable", probe: "memfd-mode", expect: /^(EPERM|EINVAL)$/ },
      { name: "its groups' places on the host", probe: "groups", expect: /^\/$/, proc: true },
    ],
  };
}
