import { createHash } from "node:crypto";
import { closeSync, constants, createReadStream, fstatSync, openSync, readSync, statSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { SallyportError } from "../../core/errors.ts";
import { BLOCK, readHeader } from "./tar.ts";

/** An OCI image layout (github.com/opencontainers/image-spec, image-layout.md), a directory or an uncompressed tar of one. */

const JSON_BYTES = 4 * 1024 * 1024;
const MAX_LAYERS = 128;
const MAX_BLOBS = 4096;
const INDEX_DEPTH = 4;
const MAX_MANIFESTS = 1024;

const bad = (detail: string): SallyportError => new SallyportError("image_invalid", detail);

const Platform = z.object({ os: z.string().max(64), architecture: z.string().max(64) });
const Descriptor = z.object({
  mediaType: z.string().max(255),
  digest: z.string().regex(/^sha256:[0-9a-f]{64}$/, "must be a sha256 digest"),
  size: z.int().min(0),
  platform: Platform.optional(),
});
export type Descriptor = z.infer<typeof Descriptor>;
const Layout = z.object({ imageLayoutVersion: z.literal("1.0.0") });
const Index = z.object({ schemaVersion: z.literal(2), manifests: z.array(Descriptor).max(1024) });
const Manifest = z.object({
  schemaVersion: z.literal(2),
  config: Descriptor,
  layers: z.array(Descriptor).min(1).max(MAX_LAYERS),
});
const Config = Platform.extend({
  rootfs: z.object({
    type: z.literal("layers"),
    diff_ids: z.array(z.string().regex(/^sha256:[0-9a-f]{64}$/)).max(MAX_LAYERS),
  }),
});

const INDEXES = [
  "application/vnd.oci.image.index.v1+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
];
const MANIFESTS = [
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.docker.distribution.manifest.v2+json",
];
const CONFIGS = [
  "application/vnd.oci.image.config.v1+json",
  "application/vnd.docker.container.image.v1+json",
];
const LAYERS: Readonly<Record<string, Compression>> = {
  "application/vnd.oci.image.layer.v1.tar": "none",
  "application/vnd.oci.image.layer.v1.tar+gzip": "gzip",
  "application/vnd.oci.image.layer.v1.tar+zstd": "zstd",
  "application/vnd.docker.image.rootfs.diff.tar": "none",
  "application/vnd.docker.image.rootfs.diff.tar.gzip": "gzip",
  "application/vnd.docker.image.rootfs.diff.tar.zstd": "zstd",
};

export type Compression = "none" | "gzip" | "zstd";
export interface Layer {
  readonly descriptor: Descriptor;
  readonly compression: Compression;
  /** Digest of the uncompressed tar. */
  readonly diffId: string;
}
export interface Image {
  /** Of the manifest, which names everything else by digest. */
  readonly digest: string;
  readonly layers: readonly Layer[];
}

type Place = { readonly file: string; readonly offset: number; readonly size: number };

/** Where each file of the layout is; nothing of it is unpacked. */
export class ImageLayout {
  readonly #places: (name: string) => Place;
  #seen = 0;

  constructor(path: string) {
    let stat: ReturnType<typeof statSync>;
    try {
      stat = statSync(path);
    } catch (cause) {
      throw bad(`${path} can't be read: ${(cause as Error).message}.`);
    }
    if (stat.isDirectory()) this.#places = (name) => fileOf(join(path, name));
    else {
      const index = indexTar(path);
      this.#places = (name) => {
        const place = index.get(name);
        if (place === undefined) throw bad(`${path} holds no ${name}; it is no tar of an OCI image layout.`);
        return place;
      };
    }
  }

  /** The image for linux/amd64. Throws `image_invalid`. */
  image(): Image {
    parse(Layout, this.#json("oci-layout", undefined), "oci-layout");
    const index = parse(Index, this.#json("index.json", undefined), "index.json");
    const found = this.#manifests(index, 0);
    const [digest, ...others] = [...new Set(found.map((m) => m.digest))];
    if (digest === undefined) throw bad("It holds no image for linux/amd64.");
    if (others.length > 0)
      throw bad(
        `It holds ${others.length + 1} images for linux/amd64; copy the one that is meant into a layout of its own, as with: skopeo copy ... oci:DIR`,
      );
    const chosen = found[0]!;
    const manifest = parse(Manifest, this.#blobJson(chosen), "the manifest");
    const config = this.#config(manifest.config);
    const ids = config.rootfs.diff_ids;
    if (ids.length !== manifest.layers.length)
      throw bad(`The configuration counts ${ids.length} layers, the manifest ${manifest.layers.length}.`);
    const layers = manifest.layers.map((descriptor, i): Layer => {
      const compression = LAYERS[descriptor.mediaType];
      if (compression === undefined)
        throw bad(
          `Layer ${i + 1} is of the type ${descriptor.mediaType}; it must be tar, tar+gzip or tar+zstd.`,
        );
      return { descriptor, compression, diffId: ids[i]! };
    });
    return { digest, layers };
  }

  /** A blob's bytes as they are stored. That they have its digest is for the reader to check. */
  open({ digest, size }: Descriptor): AsyncIterable<Buffer> {
    const place = this.#blob(digest, size);
    if (size === 0) return emptyStream();
    const { file, offset } = place;
    return createReadStream(file, {
      start: offset,
      end: offset + size - 1,
      highWaterMark: 256 * 1024,
      flags: "r",
    });
  }

  #manifests(index: z.infer<typeof Index>, depth: number): Descriptor[] {
    this.#seen += index.manifests.length;
    if (depth === INDEX_DEPTH || this.#seen > MAX_MANIFESTS)
      throw bad("Its indexes name more, or lead deeper, than is followed.");
    return index.manifests.flatMap((descriptor) => {
      const { platform, mediaType } = descriptor;
      if (platform !== undefined && !isOurs(platform)) return [];
      if (INDEXES.includes(mediaType))
        return this.#manifests(parse(Index, this.#blobJson(descriptor), "an index"), depth + 1);
      if (!MANIFESTS.includes(mediaType)) return [];
      if (platform !== undefined) return [descriptor];
      const manifest = parse(Manifest, this.#blobJson(descriptor), "the manifest");
      return isOurs(this.#config(manifest.config)) ? [descriptor] : [];
    });
  }

  #config(descriptor: Descriptor): z.infer<typeof Config> {
    if (!CONFIGS.includes(descriptor.mediaType))
      throw bad(`Its configuration is of the type ${descriptor.mediaType}; it is no image that can be run.`);
    return parse(Config, this.#blobJson(descriptor), "the configuration");
  }

  #blob(digest: string, size: number): Place {
    const place = this.#places(`blobs/${digest.replace(":", "/")}`);
    if (place.size !== size)
      throw bad(`The blob ${digest} has ${place.size} bytes, where ${size} were named.`);
    return place;
  }

  #blobJson({ digest, size }: Descriptor): unknown {
    this.#blob(digest, size);
    return this.#json(`blobs/${digest.replace(":", "/")}`, digest);
  }

  #json(name: string, digest: string | undefined): unknown {
    const { file, offset, size } = this.#places(name);
    if (size > JSON_BYTES) throw bad(`${name} has ${size} bytes; at most ${JSON_BYTES} are read.`);
    const bytes = readAt(file, offset, size);
    if (digest !== undefined) checkDigest(createHash("sha256").update(bytes).digest("hex"), digest);
    try {
      return JSON.parse(bytes.toString("utf8")) as unknown;
    } catch (cause) {
      throw new SallyportError("image_invalid", `${name} is no JSON.`, { cause });
    }
  }
}

/** Throws `image_invalid` unless the hex is that of the digest. */
export function checkDigest(hex: string, digest: string): void {
  if (digest !== `sha256:${hex}`)
    throw bad(`The blob ${digest} is damaged: its bytes have the digest sha256:${hex}.`);
}

const isOurs = ({ os, architecture }: z.infer<typeof Platform>): boolean =>
  os === "linux" && architecture === "amd64";

async function* emptyStream(): AsyncGenerator<Buffer> {}

function parse<T extends z.ZodType>(schema: T, value: unknown, what: string): z.infer<T> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw bad(`${what}: ${issue?.path.join(".") ?? ""} ${issue?.message ?? ""}`.replaceAll(/ +/g, " ").trim());
}

/** A plain file: no pipe that never ends, no link that leads elsewhere. */
function fileOf(file: string): Place {
  let fd: number;
  try {
    fd = openSync(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (cause) {
    throw new SallyportError(
      "image_invalid",
      `${file} can't be read (${(cause as NodeJS.ErrnoException).code}); is it an OCI image layout? Make one with: skopeo copy docker://IMAGE oci:DIR`,
      { cause },
    );
  }
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile()) throw bad(`${file} is no plain file.`);
    return { file, offset: 0, size: stat.size };
  } finally {
    closeSync(fd);
  }
}

function readAt(file: string, offset: number, size: number): Buffer {
  const fd = openSync(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const bytes = Buffer.alloc(size);
    for (let done = 0; done < size; ) {
      const n = readSync(fd, bytes, done, size - done, offset + done);
      if (n === 0) throw bad(`${file} ends before its time.`);
      done += n;
    }
    return bytes;
  } finally {
    closeSync(fd);
  }
}

function indexTar(file: string): Map<string, Place> {
  const { size } = fileOf(file);
  if (readAt(file, 0, Math.min(size, 2)).equals(Buffer.from([0x1f, 0x8b])))
    throw bad(`${file} is compressed; decompress it first, as with: gunzip.`);
  const found = new Map<string, Place>();
  for (let at = 0; at + BLOCK <= size; ) {
    const header = readHeader(readAt(file, at, BLOCK));
    if (header === null) break;
    at += BLOCK;
    if (header.size > size - at) throw bad(`${file} is cut short.`);
    const isFile = header.type === "0" || header.type === "\0";
    if (isFile) found.set(header.name.replace(/^\.\//, ""), { file, offset: at, size: header.size });
    if (found.size > MAX_BLOBS) throw bad(`${file} holds more than ${MAX_BLOBS} files.`);
    at += Math.ceil(header.size / BLOCK) * BLOCK;
  }
  return found;
}
