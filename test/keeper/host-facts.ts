import type { HostFacts } from "../../src/core/host-facts.ts";

/** A host with nothing to say against it. */
export const GOOD_HOST: HostFacts = {
  kernel: "6.12.1",
  uid: 0,
  vulnerabilities: { meltdown: "Not affected", mds: "Mitigation: Clear CPU buffers; SMT disabled" },
  smt: "off",
  lockdown: "none [integrity] confidentiality",
  yama: "1",
  userNamespaces: "15000",
  unprivilegedUserns: null,
  apparmorUserns: null,
  landlock: "abi=6",
  auditd: "running",
};
