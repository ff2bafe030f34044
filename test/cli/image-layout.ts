import { createHash } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync, zstdCompressSync } from "node:zlib";

/** OCI image layouts for tests, good ones and such as nobody makes by accident. */

export interface Member {
  readonly name: string;
  readonly type?: string;
  readonly link?: string;
  readonly mode?: number;
  readonly bytes?: Buffer | string;
  /** Instead of the true size. */
  readonly size?: number | Buffer;
  /** Records of a pax header before it. */
  readonly pax?: Readonly<Record<string, string>>;
  /** A wrong checksum. */
  readonly sum?: number;
}

export function tar(members: readonly Member[]): Buffer {
  return Buffer.concat([...members.flatMap(memberBytes), Buffer.alloc(1024)]);
}

function memberBytes(m: Member): Buffer[] {
  const out: Buffer[] = [];
  if (m.pax !== undefined) {
    const body = Object.entries(m.pax)
      .map(([key, value]) => paxRecord(key, value))
      .join("");
    out.push(...memberBytes({ name: "pax", type: "x", bytes: Buffer.from(body, "utf8") }));
  }
  const bytes = Buffer.from(m.bytes ?? "");
  const head = Buffer.alloc(512);
  head.write(m.name, 0, 100, "latin1");
  head.write((m.mode ?? 0o644).toString(8).padStart(7, "0"), 100);
  head.write("0000000", 108);
  head.write("0000000", 116);
  if (Buffer.isBuffer(m.size)) m.size.copy(head, 124);
  else head.write((m.size ?? bytes.length).toString(8).padStart(11, "0"), 124);
  head.write("00000000000", 136);
  head.write("        ", 148);
  head.write(m.type ?? "0", 156);
  head.write(m.link ?? "", 157, 100, "latin1");
  head.write("ustar\0" + "00", 257);
  const sum = m.sum ?? head.reduce((total, byte) => total + byte, 0);
  head.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  out.push(head, bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512));
  return out;
}

function paxRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  let length = Buffer.byteLength(rest) + 1;
  while (Buffer.byteLength(`${length}${rest}`) !== length) length++;
  return `${length}${rest}`;
}

export const sha256 = (bytes: Uint8Array): string =>
  `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
type Packing = "none" | "gzip" | "zstd";
const TYPES: Readonly<Record<Packing, string>> = { none: "tar", gzip: "tar+gzip", zstd: "tar+zstd" };

export interface Made {
  readonly digest: string;
  /** Everything of it by its path in the layout. */
  readonly files: Map<string, Buffer>;
}

/** The files of a layout with one image for linux/amd64 whose layers are these tars. */
export function makeLayout(
  layers: readonly {
    readonly tar: Buffer;
    readonly packing?: Packing;
    readonly mediaType?: string;
    readonly diffId?: string;
  }[],
  change: {
    platform?: { os: string; architecture: string };
    manifest?: object;
    index?: (own: object) => object[];
  } = {},
): Made {
  const files = new Map<string, Buffer>();
  const blob = (bytes: Buffer, mediaType: string) => {
    const digest = sha256(bytes);
    files.set(`blobs/${digest.replace(":", "/")}`, bytes);
    return { mediaType, digest, size: bytes.length };
  };
  const json = (value: unknown) => Buffer.from(JSON.stringify(value));
  const descriptors = layers.map((layer) => {
    const packing = layer.packing ?? "none";
    const bytes =
      packing === "gzip" ? gzipSync(layer.tar) : packing === "zstd" ? zstdCompressSync(layer.tar) : layer.tar;
    return blob(bytes, layer.mediaType ?? `application/vnd.oci.image.layer.v1.${TYPES[packing]}`);
  });
  const platform = change.platform ?? { os: "linux", architecture: "amd64" };
  const config = blob(
    json({ ...platform, rootfs: { type: "layers", diff_ids: layers.map((l) => l.diffId ?? sha256(l.tar)) } }),
    "application/vnd.oci.image.config.v1+json",
  );
  const manifest = blob(
    json({ schemaVersion: 2, config, layers: descriptors, ...change.manifest }),
    "application/vnd.oci.image.manifest.v1+json",
  );
  const own = { ...manifest, platform };
  files.set("index.json", json({ schemaVersion: 2, manifests: change.index?.(own) ?? [own] }));
  files.set("oci-layout", json({ imageLayoutVersion: "1.0.0" }));
  return { digest: manifest.digest, files };
}

export function writeLayout(dir: string, { files }: Made): string {
  mkdirSync(join(dir, "blobs/sha256"), { recursive: true });
  for (const [name, bytes] of files) writeFileSync(join(dir, name), bytes);
  return dir;
}

/** As `docker save` and `skopeo copy oci-archive:` give it. */
export function layoutTar({ files }: Made): Buffer {
  return tar([...files].map(([name, bytes]) => ({ name, bytes })));
}
