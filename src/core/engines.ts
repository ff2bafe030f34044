import type { Manifest } from "./manifest.ts";
import { NODE_PATH } from "./manifest-command.ts";
import type { ResourceModes } from "./resources.ts";

/** What may start an Op: the launcher itself, or an OCI runtime of the host inside the launcher's outer sandbox. */
export const ENGINES = ["native", "crun", "runc", "gvisor", "kata"] as const;
export type Engine = (typeof ENGINES)[number];

/** Those that this version can drive. Kata's own command line no longer takes a bundle (since 2.0), and it needs /dev/kvm. */
export const OCI_ENGINES = ["crun", "runc", "gvisor"] as const;
export type OciEngine = (typeof OCI_ENGINES)[number];

/** Name of the program of an engine. */
export const ENGINE_PROGRAM: Readonly<Record<OciEngine | "kata", string>> = {
  crun: "crun",
  runc: "runc",
  gvisor: "runsc",
  kata: "kata-runtime",
};

/** Why this engine can't run an Op that asks for these, though each is there; null where it can. */
export function engineConflict(
  engine: Engine,
  { root, command, resources }: Pick<Manifest, "root" | "command" | "resources">,
  listed: ResourceModes = new Map(),
): string | null {
  if (engine === "native") return null;
  if (root !== undefined)
    return `an imported root file system (root: ${root}) goes with engine: native alone; an engine of the host must not be given an image's libraries`;
  const isNode = command.kind === "runtime" ? command.runtime === "node" : command.argv[0] === NODE_PATH;
  if (engine === "gvisor" && isNode)
    return "runtime: node needs memory files that can't be executed (MFD_NOEXEC_SEAL), which gVisor does not know; take native, crun or runc, or have run: name a Node of the host";
  const socket = resources.find((name) => listed.get(name) === "socket");
  if (engine === "gvisor" && socket !== undefined)
    return `the resource ${socket} is a socket of the host, which gVisor does not connect to; take native, crun or runc`;
  return null;
}
