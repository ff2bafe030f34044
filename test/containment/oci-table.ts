import type { OciEngine } from "../../src/core/engines.ts";
import { OCI_DIFFERENCES } from "../../src/exec/oci-battery.ts";
import type { HostBait } from "./table.ts";

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
/** Names of descriptors of the init, which closes what is the Op's once that has begun; what they lead to can't be opened. */
const INIT_FDS = {
  "list:/proc/1/fd": { expect: /^(0( [1-5])*|EACCES|EPERM)$/ },
  "list:/proc/1/map_files": { expect: /^(EACCES|EPERM|ENOENT)?$/ },
};
/** Group 0 of a user namespace without capabilities, as `setuid:0` is user 0 of it. */
const AS_ZERO = {
  "peer:3": { expect: /^0 (65534|0) (EINVAL|ENOPROTOOPT)$/ },
  "right:group": { expect: /^(OK|EPERM|EINVAL)$/ },
};
/** It has no such file. */
const WITHOUT: Others = Object.fromEntries(
  [
    ...["read:/proc/1/stack", "read:/proc/1/syscall", "write:/proc/self/attr/current"],
    ...["coredump_filter", "setgroups", "autogroup", "clear_refs"].map((name) => `write:/proc/self/${name}`),
  ].map((probe) => [probe, { expect: /^ENOENT$/ }]),
);

/** Lines of the containment table whose answer differs from a native run's. All others are the same, word for word. */
export const tableDifferences = (bait: Pick<HostBait, "pid">): Readonly<Record<OciEngine, Others>> => ({
  crun: { ...COMMON, ...MASKED },
  runc: { ...OCI_DIFFERENCES.runc, ...COMMON, ...MASKED, ...INIT_FDS, ...AS_ZERO },
  gvisor: {
    ...OCI_DIFFERENCES.gvisor,
    ...COMMON,
    ...MASKED,
    ...INIT_FDS,
    ...AS_ZERO,
    ...WITHOUT,
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
    // What of the init is seen there is the gVisor kernel's own numbers and addresses.
    "read:/proc/1/maps": { expect: /^(OK|EACCES|EPERM)$/ },
    "read:/proc/1/auxv": { expect: /^(OK|EACCES|EPERM)$/ },
    "list:/proc/1/fdinfo": { expect: /^(0( [1-5])*|EACCES|EPERM)$/ },
    "link-target:/proc/1/ns/net": { expect: /^net:/ },
    // Devices, maps and priorities of gVisor's own: the host's device is as it was (looked at in oci.test.ts).
    "chmod:/dev/null": { expect: /^(OK|EPERM)$/ },
    "chown:/dev/null": { expect: /^(OK|EPERM)$/ },
    "times:/dev/null": { expect: /^(OK|EPERM)$/ },
    "lease:/usr/bin/env": { expect: /^(EINVAL|EACCES)$/ },
    "map-exec:/tmp/code": { expect: /^(OK|EACCES|EPERM)$/ },
    "map-exec:/dev/shm/code": { expect: /^(OK|EACCES|EPERM)$/ },
    "stat:/dev/fuse": { expect: /^(OK|ENOENT)$/ },
    "stat:/dev/ptmx": { expect: /^(OK|ENOENT)$/ },
    "peer:3": { expect: /^EBADF$/ },
    groups: { expect: /^$/ },
    "reopen:3": { expect: /^ENOENT$/ },
    "schedule:deadline": { expect: /^(ENOSYS|EPERM)$/ },
    "schedule:-5": { expect: /^(OK|EACCES|EPERM)$/ },
    // It has not got all the ways; each that it has finds nobody.
    [`reach:${bait.pid}`]: { expect: /^(ESRCH|ENOSYS)$/ },
    "read:/dev/tty": { expect: /^(EIO|ENOENT|ENXIO)$/ },
  },
});
