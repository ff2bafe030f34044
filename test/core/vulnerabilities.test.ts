import t from "tap";
import { parseVulnerability, vulnerabilityAdvice } from "../../src/core/vulnerabilities.ts";

/** Each line as a kernel writes it (arch/x86/kernel/cpu/bugs.c, arch/arm64/kernel/proton-pack.c, drivers/base/cpu.c). */
const LINES: readonly [name: string, text: string, state: string, advice: RegExp | null][] = [
  ["meltdown", "Not affected\n", "not affected", null],
  ["meltdown", "Mitigation: PTI", "mitigated", null],
  ["meltdown", "Vulnerable", "vulnerable", /mitigations=off/],
  ["meltdown", "Unknown (XEN PV detected, hypervisor mitigation required)", "unknown", /hypervisor/],
  ["spectre_v1", "Mitigation: usercopy/swapgs barriers and __user pointer sanitization", "mitigated", null],
  [
    "spectre_v1",
    "Vulnerable: __user pointer sanitization and usercopy barriers only; no swapgs barriers",
    "vulnerable",
    /mitigations=off/,
  ],
  [
    "spectre_v2",
    "Mitigation: Retpolines; STIBP: disabled; RSB filling; PBRSB-eIBRS: Not affected; BHI: Retpoline",
    "mitigated",
    null,
  ],
  [
    "spectre_v2",
    "Mitigation: Enhanced / Automatic IBRS; IBPB: conditional; RSB filling; PBRSB-eIBRS: SW sequence; BHI: BHI_DIS_S",
    "mitigated",
    null,
  ],
  [
    "spectre_v2",
    "Mitigation: Enhanced / Automatic IBRS; IBPB: conditional; PBRSB-eIBRS: Vulnerable; BHI: Vulnerable",
    "partly",
    /kernel and microcode/,
  ],
  ["spectre_v2", "Vulnerable: eIBRS with unprivileged eBPF", "vulnerable", /unprivileged_bpf_disabled=1/],
  ["spectre_v2", "Vulnerable: LFENCE", "vulnerable", /mitigations=off/],
  ["spectre_v2", "Mitigation: CSV2, BHB", "mitigated", null],
  ["spec_store_bypass", "Mitigation: Speculative Store Bypass disabled via prctl", "mitigated", null],
  ["spec_store_bypass", "Vulnerable", "vulnerable", /SSBD/],
  [
    "l1tf",
    "Mitigation: PTE Inversion; VMX: conditional cache flushes, SMT vulnerable",
    "partly",
    /mitigations=auto,nosmt/,
  ],
  ["l1tf", "PTE Inversion; VMX: conditional cache flushes, SMT disabled", "mitigated", null],
  ["l1tf", "Mitigation: PTE Inversion; VMX: vulnerable", "partly", /mitigations=off/],
  ["mds", "Mitigation: Clear CPU buffers; SMT disabled", "mitigated", null],
  ["mds", "Mitigation: Clear CPU buffers; SMT vulnerable", "partly", /hyper-threading/],
  ["mds", "Mitigation: Clear CPU buffers; SMT Host state unknown", "mitigated", null],
  [
    "mds",
    "Vulnerable: Clear CPU buffers attempted, no microcode; SMT vulnerable",
    "vulnerable",
    /newest microcode/,
  ],
  ["mds", "Vulnerable; SMT vulnerable", "vulnerable", /hyper-threading/],
  ["tsx_async_abort", "Mitigation: TSX disabled", "mitigated", null],
  ["itlb_multihit", "KVM: Mitigation: Split huge pages", "mitigated", null],
  ["itlb_multihit", "KVM: Mitigation: VMX disabled", "mitigated", null],
  ["itlb_multihit", "KVM: Vulnerable", "vulnerable", /mitigations=off/],
  ["itlb_multihit", "Processor vulnerable", "vulnerable", /mitigations=off/],
  ["srbds", "Vulnerable: No microcode", "vulnerable", /newest microcode/],
  ["srbds", "Unknown: Dependent on hypervisor status", "unknown", /hypervisor/],
  ["mmio_stale_data", "Unknown: No mitigations", "unknown", /hypervisor/],
  ["retbleed", "Mitigation: untrained return thunk; SMT vulnerable", "partly", /hyper-threading/],
  ["retbleed", "Mitigation: untrained return thunk; SMT enabled with STIBP protection", "mitigated", null],
  [
    "retbleed",
    "Vulnerable: untrained return thunk / IBPB on non-AMD based uarch",
    "vulnerable",
    /mitigations=off/,
  ],
  ["spec_rstack_overflow", "Mitigation: Safe RET", "mitigated", null],
  ["spec_rstack_overflow", "Mitigation: SMT disabled", "mitigated", null],
  ["spec_rstack_overflow", "Vulnerable: Safe RET, no microcode", "vulnerable", /newest microcode/],
  ["gather_data_sampling", "Mitigation: Microcode (locked)", "mitigated", null],
  ["reg_file_data_sampling", "Mitigation: Clear Register File", "mitigated", null],
  ["ghostwrite", "Mitigation: xtheadvector disabled", "mitigated", null],
  ["indirect_target_selection", "Mitigation: Aligned branch/return thunks", "mitigated", null],
  ["old_microcode", "Vulnerable", "vulnerable", /newest microcode/],
  ["old_microcode", "Unknown (running under hypervisor)", "unknown", /hypervisor/],
  ["tomorrows", "Something nobody has seen", "unknown", /hypervisor/],
  ["tomorrows", "", "unknown", /hypervisor/],
];

t.test("what each kernel writes", (t) => {
  for (const [name, text, state, advice] of LINES) {
    t.equal(parseVulnerability(text).state, state, `${name}: ${text}`);
    const said = vulnerabilityAdvice(name, text);
    if (advice === null) t.equal(said, null);
    else t.match(said, advice, `${name}: ${text}`);
  }
  t.equal(parseVulnerability("Mitigation: Clear CPU buffers; SMT vulnerable").smt, true);
  t.equal(parseVulnerability("Mitigation: Clear CPU buffers; SMT mitigated").smt, false);
  t.end();
});
