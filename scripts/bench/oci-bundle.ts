import { readFileSync } from "node:fs";
import { repoPath } from "../../src/host/self.ts";

type Rule = { action: string; errnoRet?: number };

/**
 * The config.json of a bundle that gives a command what a run of ours has, for the OCI runtimes to be measured with. gVisor makes
 * user namespaces of its own and wants none.
 */
export function ociBundle(args: readonly string[], hasUserNamespace = true): string {
  const seccomp = JSON.parse(readFileSync(repoPath("policies/seccomp/default.json"), "utf8")) as {
    syscalls: Rule[];
  };
  // A notification wants a listener, which none of the measured runs has.
  for (const rule of seccomp.syscalls)
    if (rule.action === "SCMP_ACT_NOTIFY") Object.assign(rule, { action: "SCMP_ACT_ERRNO", errnoRet: 1 });
  const quiet = ["nosuid", "nodev", "noexec"];
  const tmpfs = (where: string, ...options: string[]) => ({
    destination: where,
    type: "tmpfs",
    source: "tmpfs",
    options: [...quiet, ...options],
  });
  // The runtimes prepare the root as root of the new namespace, who must own the folder; only root may map both.
  const own = process.getuid?.() ?? 0;
  const map =
    own === 0
      ? [0, 1000].map((id) => ({ containerID: id, hostID: id, size: 1 }))
      : [{ containerID: 1000, hostID: own, size: 1 }];
  return JSON.stringify({
    ociVersion: "1.0.2",
    process: {
      terminal: false,
      user: { uid: 1000, gid: 1000 },
      args,
      env: ["PATH=/usr/bin:/bin"],
      cwd: "/",
      capabilities: {},
      noNewPrivileges: true,
    },
    root: { path: "rootfs", readonly: true },
    hostname: "op",
    mounts: [
      {
        destination: "/usr",
        type: "bind",
        source: "/usr",
        options: ["rbind", "ro", "nosuid", "nodev"],
      },
      ...["bin", "lib", "lib64"].map((name) => ({
        destination: `/${name}`,
        type: "bind",
        source: `/usr/${name}`,
        options: ["bind", "ro", "nosuid", "nodev"],
      })),
      { destination: "/proc", type: "proc", source: "proc", options: quiet },
      {
        destination: "/dev",
        type: "tmpfs",
        source: "tmpfs",
        options: ["nosuid", "mode=755", "size=65536k"],
      },
      tmpfs("/dev/shm", "mode=1777", "size=16m"),
      tmpfs("/tmp", "mode=1777", "size=64m"),
    ],
    linux: {
      namespaces: [...(hasUserNamespace ? ["user"] : []), "pid", "network", "ipc", "uts", "mount"].map(
        (type) => ({
          type,
        }),
      ),
      ...(hasUserNamespace ? { uidMappings: map, gidMappings: map } : {}),
      seccomp: { ...seccomp, comment: undefined },
    },
  });
}
