import type { Attempt } from "../../src/exec/battery.ts";
import type { HostBait } from "./table.ts";

const DENIED = /^(EACCES|EPERM)$/;
const READ_ONLY = /^(EROFS|EACCES)$/;
/** Where the name, its mount or its folder refuses first. */
const NOT_MINE = /^(EROFS|EACCES|EPERM|EXDEV)$/;
const NO_SUCH = /^ENOENT$/;
const REFUSED = /^EPERM$/;

const all = (
  expect: RegExp,
  attempts: Readonly<Record<string, string>>,
  more: { proc?: true } = {},
): Attempt[] => Object.entries(attempts).map(([name, probe]) => ({ name, probe, expect, ...more }));

/** What looks for a way around: by what the Op was given, by what it makes itself, by odd arguments. */
export function waysTable(bait: HostBait): Readonly<Record<string, readonly Attempt[]>> {
  return {
    "ways around the mounts": [
      ...all(NO_SUCH, {
        "the bait by a link in /tmp": `symlink:${bait.file}`,
        "the password hashes by a link in /tmp": "symlink:/etc/shadow",
        "the bait from the secrets upwards": `read:/run/secrets/../..${bait.file}`,
        "the host's resources, when none is granted": "list:/run/resources",
        "the host's sockets of sallyport": "list:/run/sallyport",
      }),
      ...all(
        NO_SUCH,
        {
          "the bait by /proc/self/root": `read:/proc/self/root${bait.file}`,
          "the bait from /proc/self/cwd upwards": `read:/proc/self/cwd/../..${bait.file}`,
        },
        { proc: true },
      ),
      ...all(NOT_MINE, {
        "empty a program": "truncate:/usr/bin/env",
        "write a program by a map of it": "map-write:/usr/bin/env",
        "change a program's mode": "chmod:/usr/bin/env",
        "change a program's times": "times:/usr/bin/env",
        "mark a program": "xattr:/usr/bin/env",
        "move a program away": "rename:/usr/bin/env",
        "stall who writes to a program": "lease:/usr/bin/env",
        "change its own program's mode": "chmod:/op/probe",
        "move its own program": "rename:/op/probe",
        "a hard link to its own program": "hard-link:/op/probe",
        "a hard link to /etc/passwd": "hard-link:/etc/passwd",
        "change a device's mode": "chmod:/dev/null",
        "take a device": "chown:/dev/null",
        "change a device's times": "times:/dev/null",
        "mark a device": "xattr:/dev/null",
        "a hard link to a device": "hard-link:/dev/null",
      }),
      { name: "load code from /tmp", probe: "map-exec:/tmp/code", expect: DENIED },
      { name: "load code from /dev/shm", probe: "map-exec:/dev/shm/code", expect: DENIED },
      { name: "mounts that tell others", probe: "propagation", expect: /^none$/, proc: true },
      { name: "what stdin is, opened anew", probe: "reopen:0", expect: /^(CHR|EACCES)$/, proc: true },
      { name: "what stdout is, opened anew", probe: "reopen:1", expect: /^(FIFO|EACCES)$/, proc: true },
      { name: "what stderr is, opened anew", probe: "reopen:2", expect: /^(FIFO|EACCES)$/, proc: true },
      { name: "what fd 3 is, opened anew", probe: "reopen:3", expect: /^(ENXIO|EACCES)$/, proc: true },
      ...all(NO_SUCH, {
        "page faults by a device": "stat:/dev/userfaultfd",
        "file systems by a device": "stat:/dev/fuse",
        "virtual machines by a device": "stat:/dev/kvm",
        "terminals by a device": "stat:/dev/ptmx",
        "memory by a device": "stat:/dev/mem",
      }),
    ],
    "pid 1 and itself": [
      ...all(
        DENIED,
        {
          "PID 1's memory, to write": "write:/proc/1/mem",
          "PID 1's map": "read:/proc/1/maps",
          "PID 1's vectors": "read:/proc/1/auxv",
          "PID 1's stack": "read:/proc/1/stack",
          "PID 1's call": "read:/proc/1/syscall",
          "PID 1's descriptors in detail": "list:/proc/1/fdinfo",
          "PID 1's mapped files": "list:/proc/1/map_files",
          "PID 1's folder": "link-target:/proc/1/cwd",
          "PID 1's program": "link-target:/proc/1/exe",
          "PID 1's network": "link-target:/proc/1/ns/net",
          "the bait by PID 1's root": `read:/proc/1/root${bait.file}`,
        },
        { proc: true },
      ),
      ...all(
        READ_ONLY,
        {
          "its own memory past its maps": "write:/proc/self/mem",
          "its own label": "write:/proc/self/attr/current",
          "its own groups": "write:/proc/self/setgroups",
          "its own dump filter": "write:/proc/self/coredump_filter",
          "its own session's share": "write:/proc/self/autogroup",
          "its own pages' marks": "write:/proc/self/clear_refs",
        },
        { proc: true },
      ),
    ],
    rights: [
      ...all(/^(EPERM|EINVAL|EACCES)$/, {
        capabilities: "right:capabilities",
        "an ambient capability": "right:ambient",
        "the bits that make root root": "right:securebits",
        "new privileges by exec": "right:new-privileges",
        "no filter of calls": "right:no-seccomp",
        "another map of its memory": "right:memory-map",
        "another name of its program": "right:exe-file",
        "memory before all others": "right:io-flusher",
        "disks before all others": "right:io-priority",
        "other groups": "right:groups",
        "group 0": "right:group",
        "the clock's pace": "right:adjtimex",
        "real time": "schedule:fifo",
        deadlines: "schedule:deadline",
        "a better priority": "schedule:-5",
        "more descriptors": "raise:7",
        "more locked memory": "raise:8",
        "PID 1 and root as a peer's credentials": "forge",
      }),
      { name: "a process of the host, ten ways", probe: `reach:${bait.pid}`, expect: /^ESRCH$/ },
      // Of its own processes only: battery.test.ts looks at one of the same account outside.
      { name: "worse priority for all of its account", probe: "nice-user:19", expect: /^OK$/ },
    ],
    "calls by other doors": [
      ...all(
        REFUSED,
        Object.fromEntries(
          [
            ...[
              "clone-user-high",
              "clone-mounts",
              "clone-processes",
              "clone-net",
              "clone-ipc",
              "clone-names",
            ],
            ...["clone-cgroup", "unshare-time", "fsconfig", "fsmount", "fspick", "swapoff", "clock_settime"],
            ...["setdomainname", "vhangup", "ioperm"],
          ].map((call) => [call, `call:${call}`]),
        ),
      ),
      ...all(
        /^ENOSYS$/,
        Object.fromEntries(
          [
            "request_key",
            "modify_ldt",
            "move_pages",
            "migrate_pages",
            "name_to_handle_at",
            "memfd_secret",
          ].map((call) => [call, `call:${call}`]),
        ),
      ),
    ],
  };
}
