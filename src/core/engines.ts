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
