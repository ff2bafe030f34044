import { record } from "./tlv.ts";

const KIND = { directory: 1, file: 2, socket: 3 } as const;
const TYPE = 13;

/**
 * Something of the host, seen at /run/resources/NAME, without exec, setuid and devices. `dev` and `ino`: what was checked;
 * the launcher refuses anything else at that path, and a path with a link in it.
 */
export interface SpecBind {
  readonly name: string;
  /** Absolute. */
  readonly path: string;
  readonly kind: keyof typeof KIND;
  readonly writable: boolean;
  readonly dev: bigint;
  readonly ino: bigint;
}

/** struct record_bind, name, path. Neither may hold a NUL: the launcher refuses it. */
export function bindRecord(bind: SpecBind): Buffer {
  const name = Buffer.from(bind.name);
  const header = Buffer.alloc(24);
  header.writeUInt8(KIND[bind.kind], 0);
  header.writeUInt8(bind.writable ? 1 : 0, 1);
  header.writeUInt16LE(name.length, 2);
  header.writeBigUInt64LE(bind.dev, 8);
  header.writeBigUInt64LE(bind.ino, 16);
  return record(TYPE, header, name, Buffer.from(bind.path));
}
