import { realpathSync } from "node:fs";
import { basename } from "node:path";
import type { Dirs } from "./dirs.ts";

/** What root may not list, since an Op that has it has the host, or sallyport itself. */

/** These, what is below them, and what holds them. */
const SYSTEM = [
  "/proc",
  "/sys",
  "/dev",
  "/boot",
  "/etc",
  "/root",
  "/usr",
  "/bin",
  "/sbin",
  "/lib",
  "/lib32",
  "/lib64",
  "/libx32",
  "/var/lib/sallyport",
  "/var/log/sallyport",
  "/run/sallyport",
];
/** These alone: what is below them may be listed. */
const TOO_WIDE = [
  "/",
  "/run",
  "/var",
  "/var/lib",
  "/var/log",
  "/var/tmp",
  "/tmp",
  "/home",
  "/srv",
  "/opt",
  "/mnt",
];
/** Of daemons that do for anybody who is let in what root can, by directory and by the socket's own name. */
const CONTROL = [
  "/run/systemd",
  "/run/dbus",
  "/run/udev",
  "/run/user",
  "/run/docker",
  "/run/containerd",
  "/run/crio",
  "/run/podman",
  "/run/buildkit",
  "/run/libvirt",
  "/run/lxd",
  "/run/incus",
  "/run/snapd",
  "/var/lib/docker",
  "/var/lib/containerd",
  "/var/lib/containers",
  "/var/lib/kubelet",
  "/var/lib/lxd",
  "/var/lib/incus",
  "/var/lib/libvirt",
  "/var/lib/systemd",
  "/var/lib/dbus",
  "/var/snap",
];
const CONTROL_NAME =
  /^(docker|containerd|crio|podman|buildkitd|dockershim|cri-dockerd|snapd|snapd-snap|libvirt-sock(-ro|-admin)?|virt[a-z]+d-sock|system_bus_socket|lxd|incus)(\.sock|\.socket|\.ttrpc)?$/;

export type Place = "system" | "control" | "own" | "wide";

const within = (path: string, dir: string): boolean =>
  path === dir || path.startsWith(dir === "/" ? dir : `${dir}/`);

/** `own`: directories and files of this sallyport, whose links are followed here. Null: it may be listed. */
export function forbiddenPlace(path: string, own: readonly string[]): Place | null {
  if (TOO_WIDE.includes(path)) return "wide";
  const touches = (dir: string): boolean => within(path, dir) || within(dir, path);
  if (own.flatMap((dir) => [dir, real(dir)]).some(touches)) return "own";
  if (CONTROL.some(touches) || CONTROL_NAME.test(basename(path))) return "control";
  // docker.sock lies in /run itself.
  return SYSTEM.some(touches) ? "system" : null;
}

/** What of the host is sallyport's own. */
export function ownPlaces(dirs: Dirs, executable: string, config: string, runtimes: string): string[] {
  return [dirs.state, dirs.run, dirs.log, executable, config, runtimes];
}

function real(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}
