/** The launcher's spec encoding (sandbox/spec.h): u16 type, u16 zero, u32 length, bytes; all little endian. */
export function record(type: number, ...values: Uint8Array[]): Buffer {
  return Buffer.concat(pieces(type, ...values));
}

/** The same with nothing copied: the header, and the values as they are. */
export function pieces(type: number, ...values: Uint8Array[]): Uint8Array[] {
  const header = Buffer.alloc(8);
  header.writeUInt16LE(type, 0);
  header.writeUInt32LE(
    values.reduce((sum, value) => sum + value.length, 0),
    4,
  );
  return [header, ...values];
}

export function u32(...values: number[]): Buffer {
  const out = Buffer.alloc(4 * values.length);
  for (const [i, value] of values.entries()) out.writeUInt32LE(value, 4 * i);
  return out;
}
