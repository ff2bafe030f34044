import { assetText } from "../host/asset.ts";
import { callName } from "./denied-call.ts";

/** A rule of a profile in OCI form (runtime-spec, config-linux.md, "Seccomp"), as far as the ceiling uses it. */
interface Rule {
  readonly names: readonly string[];
  readonly action: string;
  readonly args?: readonly Condition[];
}
interface Condition {
  readonly index: number;
  readonly value: number;
  readonly valueTwo?: number;
  readonly op: string;
}

/** An OCI profile that allows the listed rules and refuses the rest with EPERM, which here is an event. */
export interface LearnedProfile {
  readonly comment: string;
  readonly defaultAction: "SCMP_ACT_ERRNO";
  readonly defaultErrnoRet: 1;
  readonly architectures: readonly ["SCMP_ARCH_X86_64"];
  readonly syscalls: readonly Rule[];
}

/** Calls that a process makes without having been seen to: its own start, its end, and what the kernel makes it do. */
const ALWAYS = ["execve", "exit", "exit_group", "restart_syscall", "rt_sigreturn"];

const BITMAP_BYTES = 64;

/** What was learned over any number of runs, as the narrowest part of the ceiling that allows all of it. */
export class Learned {
  readonly #ceiling: readonly Rule[];
  readonly #whole = new Set<string>(ALWAYS);
  readonly #rules = new Set<Rule>();

  constructor() {
    const { syscalls } = JSON.parse(assetText("policies/seccomp/ceiling.json")) as { syscalls: Rule[] };
    this.#ceiling = syscalls.filter((rule) => rule.action === "SCMP_ACT_ALLOW");
  }

  /** How many different calls. */
  get size(): number {
    return new Set([...this.#whole, ...[...this.#rules].flatMap((rule) => rule.names)]).size;
  }

  /** For the launcher: a bit for each call whose arguments the ceiling looks at, so that those are told too. */
  bitmap(): Buffer {
    const names = new Set(
      this.#ceiling.filter((rule) => rule.args !== undefined).flatMap((rule) => rule.names),
    );
    const out = Buffer.alloc(BITMAP_BYTES);
    for (let nr = 0; nr < 8 * BITMAP_BYTES; nr++)
      if (names.has(callName(nr) ?? "")) out[nr >> 3] = (out[nr >> 3] ?? 0) | (1 << (nr & 7));
    return out;
  }

  /** A call that the ceiling allowed. */
  add(nr: number, args: readonly bigint[]): void {
    const name = callName(nr);
    if (name === null) return;
    for (const rule of this.#ceiling) {
      if (!rule.names.includes(name)) continue;
      if (rule.args === undefined) this.#whole.add(name);
      else if (rule.args.every((condition) => holds(condition, args))) this.#rules.add(rule);
    }
  }

  profile(comment: string): LearnedProfile {
    const conditional = this.#ceiling.filter((rule) => this.#rules.has(rule));
    return {
      comment,
      defaultAction: "SCMP_ACT_ERRNO",
      defaultErrnoRet: 1,
      architectures: ["SCMP_ARCH_X86_64"],
      syscalls: [
        { names: [...this.#whole].sort(), action: "SCMP_ACT_ALLOW" },
        ...conditional.map(({ names, action, args }) => ({
          names,
          action,
          ...(args === undefined ? {} : { args }),
        })),
      ],
    };
  }
}

/** As libseccomp compares: 64 bits, unsigned. */
function holds({ index, value, valueTwo = 0, op }: Condition, args: readonly bigint[]): boolean {
  const given = BigInt.asUintN(64, args[index] ?? 0n);
  const wanted = BigInt(value);
  switch (op) {
    case "SCMP_CMP_MASKED_EQ":
      return (given & wanted) === BigInt(valueTwo);
    case "SCMP_CMP_EQ":
      return given === wanted;
    case "SCMP_CMP_NE":
      return given !== wanted;
    default:
      return false;
  }
}
