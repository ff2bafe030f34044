import type { OciEngine } from "../../src/core/engines.ts";
import { OCI_DIFFERENCES } from "../../src/exec/oci-battery.ts";

type Others = Readonly<Record<string, { expect: RegExp }>>;

/** An empty device lies over it: it opens, and holds nothing (oci.test.ts looks). */
const MASKED: Others = Object.fromEntries(
  [
    ...["kallsyms", "kcore", "keys", "timer_list", "modules", "cmdline", "bootconfig", "diskstats"],
    ...["partitions", "swaps", "iomem", "ioports", "interrupts", "softirqs"],
  ].map((name) => [`read:/proc/${name}`, { expect: /^(OK|EACCES|ENOENT|EPERM)$/ }]),
);
const COMMON: Others = {
  // The container's first process is the launcher's init, and has to lie somewhere.
  "list:/run": { expect: /^(init|secrets|empty| )+$/ },
};
/** Names of two descriptors of the init; what they lead to can't be opened. */
const INIT_FDS = { "list:/proc/1/fd": { expect: /^(0 4|EACCES|EPERM)$/ } };

/** Lines of the containment table whose answer differs from a native run's. All others are the same, word for word. */
export const TABLE_DIFFERENCES: Readonly<Record<OciEngine, Others>> = {
  crun: { ...COMMON, ...MASKED },
  runc: { ...OCI_DIFFERENCES.runc, ...COMMON, ...MASKED, ...INIT_FDS },
  gvisor: {
    ...OCI_DIFFERENCES.gvisor,
    ...COMMON,
    ...MASKED,
    ...INIT_FDS,
    // gVisor's own kernel, devices and /sys: what is opened, made or written there is a thing of the sandbox's memory.
    "list:/": { expect: /^(bin|sbin|lib|lib32|lib64|libx32|usr|etc|dev|proc|sys|op|run|tmp| )+$/ },
    "list:/dev": {
      expect: /^(null|zero|full|random|urandom|fd|stdin|stdout|stderr|shm|ptmx|pts|tty|net|fuse| )+$/,
    },
    "create:/usr/bin/x": { expect: /^(EROFS|EACCES)$/ },
    "create:/dev/x": { expect: /^(OK|EROFS|EACCES)$/ },
    "write:/proc/sys/kernel/core_pattern": { expect: /^(ENOENT|EROFS|EACCES)$/ },
    "write:/proc/self/oom_score_adj": { expect: /^(OK|EROFS|EACCES)$/ },
    "write:/proc/self/uid_map": { expect: /^(OK|EROFS|EACCES|EPERM)$/ },
    "list:/sys/fs/cgroup": { expect: /^(|ENOENT)$/ },
    "pidfd-getfd:1": { expect: /^(ENOSYS|EPERM)$/ },
    "link-target:/proc/self/fd/1": { expect: /^(host|pipe):/ },
    "link-target:/proc/self/fd/2": { expect: /^(host|pipe):/ },
    "link-target:/proc/self/fd/3": { expect: /^ENOENT$/ },
    "status:CapAmb": { expect: /^0*$/ },
    "read:/dev/tty": { expect: /^(EIO|ENOENT|ENXIO)$/ },
  },
};
