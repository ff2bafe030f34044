/** What no probe tries alone: what is tried, what must come of it, by which test, and which engines that one tries. */
export interface Elsewhere {
  readonly attempt: string;
  readonly comes: string;
  /** From test/containment. */
  readonly file: string;
  /** How the test's name begins; "": that of each is made up of what it tries. */
  readonly test: string;
  readonly engines: string;
}

const NATIVE = "native";

const by =
  (file: string, engines: string = NATIVE) =>
  (attempt: string, comes: string, test: string): Elsewhere => ({ attempt, comes, file, test, engines });

const battery = by("battery.test.ts");
const neighbours = by("neighbours.test.ts");
const resources = by("resources.test.ts");
const oci = by("oci.test.ts", "crun, runc, gvisor");
const network = by("../e2e/network.test.ts");
const sweeps = by("sweeps.test.ts", "native, crun, runc");
const hosts = by("hosts.test.ts");
const cores = by("cores.test.ts", "native, crun, runc, gvisor");

export const ELSEWHERE: readonly Elsewhere[] = [
  battery("execute a setuid program", "it runs as the Op", "a setuid program stays who it is"),
  battery("crash", "no core, and none can be had", "a crash leaves no core"),
  battery(
    "change files, a device, mounts, the name and a process of the host by any attempt above",
    "as they were",
    "what they tried to change of the host",
  ),
  battery(
    "the same attempts outside of a sandbox",
    "they succeed: something real is reached for",
    "the same probe outside",
  ),
  by("battery.test.ts", "native, crun, runc")(
    "change a device that belongs to the account outside",
    "EROFS; it can be used",
    "a device of its own account",
  ),
  battery(
    "do what Landlock alone refuses",
    "refused, unless the launcher says that there is none",
    "Landlock stands",
  ),
  battery(
    "mount events from and to the host",
    "private, also where the host shares its mounts",
    "mounts that the host shares",
  ),
  oci("change anything of the host by any attempt above", "as it was", "what it tried to change of the host"),
  oci("read what is masked in /proc", "nothing is in there", "masked files of /proc"),
  oci("see the engine, its bundle, its state", "not there", "the engine, its bundle"),
  oci("kill(-1)", "reaches the own tree only", "kill(-1)"),
  oci("fill disk, processes, descriptors", "the limit's error", "disk, processes and descriptors"),
  neighbours(
    "see a sibling: processes, abstract sockets, System V objects, queues, /dev/shm, /tmp; hand it a descriptor",
    "nothing of it is there, no place to meet",
    "what one has, the other does not find",
  ),
  neighbours("kill(-1), a worse priority for the whole account", "the own tree only", "kill(-1) and a worse"),
  neighbours("crash, kill itself, run out of memory", "the neighbour lives", "one that ends by"),
  neighbours(
    "hoard descriptors, pipes, sockets, timers, signals, watches, inotify, descriptors in flight",
    "the neighbour has enough; new ones start",
    "one that hoards",
  ),
  resources("fill /tmp and /dev/shm, by bytes and by files", "ENOSPC at the limit", "disk and inodes"),
  resources("a file of a TiB", "takes 4 KiB, can't be filled", "a file of a TiB"),
  resources("fork bomb", "EAGAIN at the limit; the record says so", "processes"),
  resources("memory bomb, on the heap and in /tmp", "the run is ended; the record says so", "memory"),
  resources(
    "memory bomb in System V segments, memfds, pipes and sockets",
    "the run is ended; the record says so",
    "memory of no process",
  ),
  resources(
    "more descriptors, locked memory, timers, queued signals, inotify instances",
    "the limit's error",
    "what each process is given",
  ),
  resources("spin, leave zombies", "ended at the time limit; reaped by PID 1", "CPU spin and zombies"),
  resources("flood stderr and fd 3", "cut at the limit; the run ends", "floods of stderr and fd 3"),
  resources("flood stdout", "cut at the limit; no other Op waits", "an output flood of two Ops"),
  by("../exec/death-matrix.test.ts")(
    "ignore TERM, double fork, setsid, stop itself, fork on and on",
    "dead within the second after cancel, lock, time limit, death of launcher or runner",
    "",
  ),
  by("../faults/death-matrix.test.ts")(
    "outlive a lock, or kill -9 of runner, launcher or keeper",
    "dead, nothing left",
    "Ops that do not want to end",
  ),
  by("../faults/engine-deaths.test.ts", "crun, runc, gvisor")("the same under an engine", "the same", ""),
  by("../sandbox/leftovers.test.ts")(
    "hundreds of runs; kill -9 of the launcher while it makes some",
    "no process, descriptor, thread or cgroup is left",
    "what runs leave behind",
  ),
  by("../sandbox/every-call.test.ts")(
    "run when a call of the set-up fails, each in turn",
    "the Op never starts",
    "each system call of a set-up",
  ),
  by("../exec/runtime.test.ts")(
    "rewrite the Node that it runs in, or what lies beside it",
    "refused, by every way",
    "node: the Node that it runs in",
  ),
  by("../sandbox/bind.test.ts")(
    "climb out of a resource of the host, write to one to read, make one setuid",
    "stays inside; EROFS; EPERM",
    "a directory, as",
  ),
  by("../sandbox/bind.test.ts")(
    "exchange a resource for a link before it is bound",
    "the run does not start",
    "what is not what was checked",
  ),
  by("../e2e/resources.test.ts")("see another Op's resource", "not there", "another Op sees none of it"),
  network(
    "reach what the grant does not name: other ports, hosts, names, metadata, plain text",
    "refused, each an event",
    "what is refused",
  ),
  network("reach another run's proxy", "refused; the other's tunnel is the only one", "another run's proxy"),
  by("../e2e/network.test.ts", "crun, runc, gvisor")(
    "reach its target past the proxy",
    "no connection",
    "the same under ",
  ),
  sweeps(
    "write each file and directory that there is",
    "nothing but /tmp, /dev/shm and five devices",
    "each file and directory",
  ),
  sweeps(
    "each family and kind of a socket",
    "Unix sockets; with a network internet sockets too",
    "each socket",
  ),
  sweeps(
    "each number of a system call that its profile does not allow",
    "EPERM and reported, or ENOSYS and not",
    "each number of a system call",
  ),
  cores(
    "ask for another core limit: 0 would start the host's core program",
    "it stays 1",
    "asking for a core limit",
  ),
  hosts(
    "use what its launcher was started with: descriptors, environment, umask, signals, a session",
    "not there, or ordinary",
    "what a shell leaves",
  ),
  hosts("use its launcher's groups", "it has none", "groups of the host"),
  hosts("use its launcher's priority: nice, real time, disk", "it has the ordinary one", "a better place"),
  hosts(
    "use its launcher's protection from the kernel that needs memory",
    "it has none",
    "protection from the kernel",
  ),
];
