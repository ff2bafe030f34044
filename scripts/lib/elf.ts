import { closeSync, fstatSync, openSync, readFileSync, readSync, writeSync } from "node:fs";

/**
 * Adds the start code (start.c) and what it unpacks to a finished Node executable: two segments at the end, an entry
 * point, a moved program header table. Little-endian x86-64 ELF only (System V gABI; elf(5)).
 */
export interface Carried {
  /** The memfd's name, at most 31 bytes. */
  name: string;
  bytes: Buffer;
  /** A library goes to LD_PRELOAD; the other one (harden) to SALLYPORT_HARDEN_FD. */
  library: boolean;
}

const PAGE = 4096;
const PH = 56;
const PT = { load: 1, interp: 3, phdr: 6 };
const HIDDEN_INTERP = 0x6c796c73;
const MAGIC = 0x54524f5059a11a5n;
const CONFIG_HEAD = 48;
/** Node's own mark for an application in its file; the digit says whether there is one (src/node_sea.cc, postject-api.h). */
const FUSE = "NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2:1";
const CONFIG_BLOB = 56;

const up = (n: number, to: number): number => Math.ceil(n / to) * to;

function at(fd: number, offset: number, size: number): Buffer {
  const bytes = Buffer.alloc(size);
  if (readSync(fd, bytes, 0, size, offset) !== size) throw new Error(`the file ends before ${offset + size}`);
  return bytes;
}

function segment(
  type: number,
  flags: number,
  offset: number,
  address: number,
  size: number,
  align: number,
): Buffer {
  const ph = Buffer.alloc(PH);
  ph.writeUInt32LE(type, 0);
  ph.writeUInt32LE(flags, 4);
  for (const [i, value] of [offset, address, address, size, size, align].entries()) {
    ph.writeBigUInt64LE(BigInt(value), 8 + 8 * i);
  }
  return ph;
}

/** The address of the fuse's digit once `rows` are mapped. */
function fuseAddress(file: string, rows: readonly Buffer[]): number {
  const bytes = readFileSync(file);
  const found = bytes.indexOf(FUSE);
  if (found < 0 || bytes.indexOf(FUSE, found + 1) >= 0) throw new Error(`${file}: not exactly one fuse`);
  const digit = found + FUSE.length - 1;
  for (const row of rows) {
    const [offset, address, size] = [8, 16, 32].map((place) => Number(row.readBigUInt64LE(place)));
    if (row.readUInt32LE(0) === PT.load && digit >= offset! && digit < offset! + size!)
      return address! + digit - offset!;
  }
  throw new Error(`${file}: the fuse is in no segment`);
}

/** Changes `file` in place. `code` is start.bin, `start` the offset of its entry point. */
export function addStartCode(file: string, code: Buffer, start: number, carried: Carried[]): void {
  const fd = openSync(file, "r+");
  try {
    const head = at(fd, 0, 64);
    if (head.readUInt32BE(0) !== 0x7f454c46 || head.readUInt16LE(16) !== 2)
      throw new Error(`${file}: no ET_EXEC`);
    const entry = head.readBigUInt64LE(24);
    const count = head.readUInt16LE(56);
    const table = at(fd, Number(head.readBigUInt64LE(32)), count * PH);
    const rows = Array.from({ length: count }, (_, i) => table.subarray(i * PH, (i + 1) * PH));
    const end = Math.max(
      ...rows
        .filter((row) => row.readUInt32LE(0) === PT.load)
        .map((row) => Number(row.readBigUInt64LE(16) + row.readBigUInt64LE(40))),
    );

    // One read-only segment: the header table on a page of its own (start.c changes it), then the carried bytes.
    const offset = up(fstatSync(fd).size, PAGE);
    const address = up(end, PAGE) + PAGE;
    let size = PAGE;
    const places = carried.map((item) => {
      const place = size;
      size = up(size + item.bytes.length, 64);
      return place;
    });
    const codeAt = up(size, PAGE);

    const phnum = count + 2;
    if (phnum * PH > PAGE) throw new Error(`${file}: too many program headers`);
    let interpreters = 0;
    for (const row of rows) {
      if (row.readUInt32LE(0) === PT.interp) {
        row.writeUInt32LE(HIDDEN_INTERP, 0);
        interpreters++;
      }
      if (row.readUInt32LE(0) === PT.phdr) segment(PT.phdr, 4, offset, address, phnum * PH, 8).copy(row);
    }
    if (interpreters !== 1)
      throw new Error(`${file}: ${interpreters} interpreters; is the start code there already?`);
    const newTable = Buffer.concat([
      ...rows,
      segment(PT.load, 4, offset, address, size, PAGE),
      segment(PT.load, 5, offset + codeAt, address + codeAt, code.length, PAGE),
    ]);

    const patched = Buffer.from(code);
    if (patched.readBigUInt64LE(0) !== MAGIC)
      throw new Error("start.bin does not begin with its configuration");
    for (const [i, value] of [entry, address, phnum, carried.length, fuseAddress(file, rows)].entries()) {
      patched.writeBigUInt64LE(BigInt(value), 8 + 8 * i);
    }
    for (const [i, item] of carried.entries()) {
      const to = CONFIG_HEAD + CONFIG_BLOB * i;
      patched.writeBigUInt64LE(BigInt(address + (places[i] ?? 0)), to);
      patched.writeBigUInt64LE(BigInt(item.bytes.length), to + 8);
      patched.write(item.name.slice(0, 31), to + 16, "latin1");
      patched.writeBigUInt64LE(item.library ? 1n : 0n, to + 48);
    }

    writeSync(fd, newTable, 0, newTable.length, offset);
    for (const [i, item] of carried.entries()) {
      writeSync(fd, item.bytes, 0, item.bytes.length, offset + (places[i] ?? 0));
    }
    writeSync(fd, patched, 0, patched.length, offset + codeAt);
    head.writeBigUInt64LE(BigInt(address + codeAt + start), 24);
    head.writeBigUInt64LE(BigInt(offset), 32);
    head.writeUInt16LE(phnum, 56);
    writeSync(fd, head, 0, 64, 0);
  } finally {
    closeSync(fd);
  }
}
