/**
 * Files of /sys/devices/system/cpu/vulnerabilities: one a weakness of the processor, one line each
 * (Documentation/ABI/testing/sysfs-devices-system-cpu, Documentation/admin-guide/hw-vuln, arch/x86/kernel/cpu/bugs.c).
 */
export type Vulnerability = {
  /** `partly`: mitigated, with a part that is said to be vulnerable ("SMT vulnerable", "BHI: Vulnerable"). */
  state: "not affected" | "mitigated" | "partly" | "vulnerable" | "unknown";
  /** Another thread of the same core can still use it. */
  smt: boolean;
};

export function parseVulnerability(text: string): Vulnerability {
  // itlb_multihit's is of KVM: "KVM: Mitigation: Split huge pages".
  const line = text.trim().replace(/^KVM: /, "");
  const smt = /\bSMT vulnerable\b/i.test(line);
  if (line === "Not affected") return { state: "not affected", smt: false };
  if (/^(Processor vulnerable|Vulnerable)\b/.test(line)) return { state: "vulnerable", smt };
  // l1tf of kernels before 4.19 names its mitigation without the word.
  if (/^(Mitigation:|PTE Inversion)/.test(line))
    return { state: smt || /\bvulnerable\b/i.test(line) ? "partly" : "mitigated", smt };
  return { state: "unknown", smt };
}

const MICROCODE =
  "install the newest microcode (Debian: intel-microcode or amd64-microcode; in a virtual machine, its host's) and start anew";
const SIBLINGS =
  "turn off hyper-threading: boot with mitigations=auto,nosmt, or write off to /sys/devices/system/cpu/smt/control";
const HYPERVISOR = "ask who runs the hypervisor, of which the kernel knows nothing more";

/** What to do, as one sentence's end; null where all is fine. */
export function vulnerabilityAdvice(name: string, text: string): string | null {
  const { state, smt } = parseVulnerability(text);
  if (state === "not affected" || state === "mitigated") return null;
  if (state === "unknown") return HYPERVISOR;
  if (name === "old_microcode" || /no microcode|microcode (needed|missing)/i.test(text)) return MICROCODE;
  if (/unprivileged eBPF/i.test(text))
    return "set sysctl kernel.unprivileged_bpf_disabled=1, so that nobody but root loads eBPF programs";
  if (smt) return SIBLINGS;
  if (name === "spec_store_bypass")
    return "don't boot with mitigations=off or spec_store_bypass_disable=off; where it stays, the processor or the virtual machine's host doesn't offer SSBD: update the microcode there";
  return "don't boot with mitigations=off (mitigations=auto is the default); where it stays, update kernel and microcode, in a virtual machine its host's too";
}
