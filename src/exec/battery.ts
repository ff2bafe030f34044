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
const HOST_USER = "Run the runner as a user of its own, with no files in reach.";

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
  { name: "open a packet socket", probe: "socket:17 3 0", expect: /^(EPERM|EAFNOSUPPORT)$/ },
  { name: "open a vsock socket", probe: "socket:40 1 0", expect: /^(EPERM|EAFNOSUPPORT)$/ },
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
