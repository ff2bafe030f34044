/** A seccomp program run here, as the kernel would: `seccomp_data` is u32 nr, u32 arch, u64 ip, u64 args[6]. */
export interface Call {
  nr: number;
  arch?: number;
  args: readonly bigint[];
}

export const X86_64 = 0xc000003e;
export const ALLOW = 0x7fff0000;
export const NOTIFY = 0x7fc00000;
export const ERRNO = 0x00050000;
export const KILL = 0x80000000;

/** What the program returns for the call. Throws on an instruction that no seccomp program has, or an end without return. */
export function run(program: Buffer, call: Call): number {
  const data = Buffer.alloc(64);
  data.writeUInt32LE(call.nr >>> 0, 0);
  data.writeUInt32LE(call.arch ?? X86_64, 4);
  for (let i = 0; i < 6; i++) data.writeBigUInt64LE(BigInt.asUintN(64, call.args[i] ?? 0n), 16 + 8 * i);
  let a = 0;
  for (let pc = 0; pc < program.length / 8; pc++) {
    const code = program.readUInt16LE(8 * pc);
    const k = program.readUInt32LE(8 * pc + 4);
    const jump = (taken: boolean): void => {
      pc += program.readUInt8(8 * pc + (taken ? 2 : 3));
    };
    if (code === 0x20) a = data.readUInt32LE(k);
    else if (code === 0x54) a = (a & k) >>> 0;
    else if (code === 0x05) pc += k;
    else if (code === 0x15) jump(a === k);
    else if (code === 0x25) jump(a > k);
    else if (code === 0x35) jump(a >= k);
    else if (code === 0x45) jump((a & k) !== 0);
    else if (code === 0x06) return k;
    else throw new Error(`instruction ${pc}: code ${code.toString(16)}`);
  }
  throw new Error("the program ends without a return");
}

export const allows = (program: Buffer, call: Call): boolean => run(program, call) === ALLOW;
