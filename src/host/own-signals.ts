/**
 * A seccomp program (classic BPF, seccomp(2)) that lets tgkill reach this process alone. A compiled profile can't: the number is
 * known only here. Landlock has such a fence from its ABI 6 (Linux 6.12) on; Node needs the call to end itself by abort().
 */
export function ownSignalsOnly(pid: number): Buffer {
  const X86_64 = 0xc000003e;
  const TGKILL = 234;
  const [load, equal, end] = [0x20, 0x15, 0x06];
  // Offsets in struct seccomp_data.
  const [nr, arch, firstArgument] = [0, 4, 16];
  const [allow, refuse] = [0x7fff0000, 0x00050001];
  return Buffer.concat([
    step(load, 0, 0, arch),
    // Others end in the role's own filter.
    step(equal, 0, 5, X86_64),
    step(load, 0, 0, nr),
    step(equal, 0, 3, TGKILL),
    step(load, 0, 0, firstArgument),
    step(equal, 1, 0, pid),
    step(end, 0, 0, refuse),
    step(end, 0, 0, allow),
  ]);
}

function step(code: number, whenTrue: number, whenFalse: number, value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt16LE(code, 0);
  bytes.writeUInt8(whenTrue, 2);
  bytes.writeUInt8(whenFalse, 3);
  bytes.writeUInt32LE(value, 4);
  return bytes;
}
