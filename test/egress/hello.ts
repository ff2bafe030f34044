/** Pieces of a TLS ClientHello, put together by hand so that each can be wrong. */
export const u8 = (n: number): Buffer => Buffer.from([n]);
export const u16 = (n: number): Buffer => Buffer.from([n >> 8, n & 255]);
export const with8 = (...parts: Uint8Array[]): Buffer => {
  const body = Buffer.concat(parts);
  return Buffer.concat([u8(body.length), body]);
};
export const with16 = (...parts: Uint8Array[]): Buffer => {
  const body = Buffer.concat(parts);
  return Buffer.concat([u16(body.length), body]);
};
export const extension = (type: number, ...data: Uint8Array[]): Buffer =>
  Buffer.concat([u16(type), with16(...data)]);
export const name = (text: string, type = 0): Buffer => Buffer.concat([u8(type), with16(Buffer.from(text))]);
export const sni = (...names: Uint8Array[]): Buffer => extension(0, with16(...names));

export type HelloParts = { version?: number; extensions?: readonly Uint8Array[] | null; suites?: Buffer };

/** The handshake message. */
export function message({
  version = 0x0303,
  extensions = [sni(name("api.test"))],
  suites,
}: HelloParts = {}): Buffer {
  const body = Buffer.concat([
    u16(version),
    Buffer.alloc(32, 7),
    with8(Buffer.alloc(32, 8)),
    with16(suites ?? Buffer.from([0x1a, 0x1a, 0x13, 0x01])),
    with8(u8(0)),
    ...(extensions === null ? [] : [with16(...extensions)]),
  ]);
  return Buffer.concat([u8(1), u8(body.length >> 16), u16(body.length & 0xffff), body]);
}

/** A message in records of at most `size` bytes. */
export function records(bytes: Buffer, size = 16384, type = 22): Buffer {
  const out: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += size)
    out.push(u8(type), u16(0x0301), with16(bytes.subarray(at, at + size)));
  return Buffer.concat(out);
}
export const hello = (parts?: HelloParts): Buffer => records(message(parts));

/** Every way to cut would be too many: one byte at a time, and random cuts; each must give the verdict of the whole. */
export function sameHoweverCut(
  bytes: Buffer,
  read: (bytes: Buffer) => { state: string },
  random: () => number,
): string {
  const whole = JSON.stringify(settled(bytes, read, () => bytes.length));
  for (const step of [() => 1, ...Array(4).fill(() => 1 + Math.floor(random() * 40))]) {
    const cut = settled(bytes, read, step as () => number);
    if (JSON.parse(whole).state !== cut.state) return `${whole} became ${JSON.stringify(cut)}`;
  }
  return "same";
}

function settled(
  bytes: Buffer,
  read: (bytes: Buffer) => { state: string },
  step: () => number,
): { state: string } {
  for (let end = 0; ; ) {
    end = Math.min(bytes.length, end + step());
    const verdict = read(bytes.subarray(0, end));
    if (verdict.state !== "more" || end === bytes.length) return verdict;
  }
}
