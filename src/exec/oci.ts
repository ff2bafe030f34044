import type { Engine, OciEngine } from "../core/engines.ts";
import { SallyportError } from "../core/errors.ts";
import type { LaunchSpec, SpecFile } from "./spec.ts";

/**
 * An OCI bundle (runtime-spec 1.0) of a grant. The launcher has put the Op's root together as for a run of its own, read-only
 * below /rootfs, so that the configuration only has to add what a container is: namespaces, no capability, a masked /proc.
 * Its process is the launcher's own init, which gets argv, environment, limits and the compiled filter over its stdin: no
 * secret is written down, and the filter with its reports is the same one under every engine that runs on the host's kernel.
 */
export function withEngine(spec: LaunchSpec, engine: Engine | undefined): LaunchSpec {
  if (engine === undefined || engine === "native") return spec;
  if (engine === "kata")
    throw new SallyportError("launch_failed", "Kata has no command line that takes a bundle.");
  const config: SpecFile = {
    tree: "bundle",
    path: "config.json",
    mode: 0o444,
    bytes: Buffer.from(JSON.stringify(ociConfig(spec, engine))),
  };
  return { ...spec, engine, files: [...spec.files, config] };
}

const MASKED_FILES = [
  ...["kcore", "kallsyms", "keys", "key-users", "timer_list", "latency_stats", "sched_debug", "vmallocinfo"],
  ...[
    "modules",
    "config.gz",
    "cmdline",
    "bootconfig",
    "diskstats",
    "partitions",
    "swaps",
    "iomem",
    "ioports",
  ],
  ...[
    "interrupts",
    "softirqs",
    "acpi",
    "scsi",
    "asound",
    "driver",
    "firmware",
    "bus",
    "fs",
    "irq",
    "sysrq-trigger",
  ],
];
/** gVisor has its own, and can't write to a device below a read-only mount. crun 1.8 drops what is mounted below a bind. */
const DEVICES: Readonly<Record<OciEngine, readonly string[]>> = {
  crun: ["/dev", ...["null", "zero", "full", "random", "urandom", "shm"].map((name) => `/dev/${name}`)],
  runc: ["/dev"],
  gvisor: [],
};
/** gVisor knows a mount's flags only from here. */
const GVISOR_TMP = [
  { destination: "/tmp", type: "bind", source: "/rootfs/tmp", options: ["rbind", "rw", "noexec"] },
  { destination: "/dev/shm", type: "tmpfs", source: "tmpfs", options: ["noexec", "mode=1777", "size=16m"] },
];
/** The others see what is mounted in the root; gVisor opens the root read-only with all that is below it. */
const gvisorResources = ({ binds = [] }: Pick<LaunchSpec, "binds">) =>
  binds.map(({ name, writable }) => ({
    destination: `/run/resources/${name}`,
    type: "bind",
    source: `/rootfs/run/resources/${name}`,
    options: ["rbind", writable ? "rw" : "ro", "noexec"],
  }));
const READONLY = ["sys"];

/** Who the Op is in its own user namespace. runc has to be root of it, and gVisor shows files with the owner they have outside. */
const UID: Readonly<Record<OciEngine, number>> = { crun: 1000, runc: 0, gvisor: 0 };

export function ociConfig(spec: LaunchSpec, engine: OciEngine): unknown {
  const id = UID[engine];
  const mapping = [{ containerID: id, hostID: 0, size: 1 }];
  // With the flags that the launcher gave them, which can't be taken away in here.
  const bind = (path: string) => ({
    destination: path,
    type: "bind",
    source: `/rootfs${path}`,
    options: [engine === "crun" ? "bind" : "rbind"],
  });
  const user = engine === "gvisor" ? [] : [{ type: "user" }];
  return {
    ociVersion: "1.0.0",
    process: {
      terminal: false,
      user: { uid: id, gid: id },
      args: ["/run/init", "op", "0"],
      env: [],
      cwd: "/",
      capabilities: { bounding: [], effective: [], permitted: [], inheritable: [], ambient: [] },
      noNewPrivileges: true,
    },
    root: { path: "/rootfs", readonly: true },
    hostname: spec.hostname,
    mounts: [
      { destination: "/proc", type: "proc", source: "proc", options: ["nosuid", "noexec", "nodev"] },
      ...DEVICES[engine].map(bind),
      ...(engine === "gvisor" ? [...GVISOR_TMP, ...gvisorResources(spec)] : [bind("/tmp")]),
    ],
    linux: {
      namespaces: [...["pid", "mount", "ipc", "uts"].map((type) => ({ type })), ...user],
      ...(engine === "gvisor" ? {} : { uidMappings: mapping, gidMappings: mapping }),
      maskedPaths: MASKED_FILES.map((name) => `/proc/${name}`),
      readonlyPaths: READONLY.map((name) => `/proc/${name}`),
    },
  };
}
