import {
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  rmdirSync,
  symlinkSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { SallyportError } from "../../core/errors.ts";
import type { TarEntry } from "./tar.ts";

/** What the run's own /etc has; a plain file of each name is where the launcher puts it (sandbox/root.c). */
const OWN_ETC = ["passwd", "group", "hosts", "nsswitch.conf", "resolv.conf"];
const DEPTH = 128;
const COMPONENT_BYTES = 255;
const FOLLOWED = 40;
/** Parts of one path, those of the links on its way too. */
const STEPS = 4096;
/** Bytes of all names and link targets, which are kept in memory. */
const NAMES_BYTES = 128 * 1024 * 1024;

interface Directory {
  readonly kind: "directory";
  readonly path: string;
  readonly children: Map<string, Node>;
  layer: number;
}
type Leaf = {
  readonly kind: "file" | "symlink";
  readonly path: string;
  readonly link: string;
  readonly layer: number;
};
type Node = Directory | Leaf;

export interface TreeLimits {
  /** Bytes of the files' content, those that a later layer takes away too. */
  readonly bytes: number;
  /** Entries of all layers. */
  readonly entries: number;
}

const bad = (detail: string): SallyportError => new SallyportError("image_invalid", detail);
const show = (name: string): string => JSON.stringify(name.slice(0, 120));

/**
 * A root file system as layers are laid one over the other (OCI image-spec, layer.md). What is where is kept here; on the disk
 * there are only directories and plain files until `finish`, and each file is made anew (O_EXCL): so that no path that is
 * handed to the kernel leads through a link that an entry made. Owners, times, attributes, setuid bits and devices are dropped.
 */
export class Tree {
  readonly #base: Buffer;
  readonly #limits: TreeLimits;
  readonly #root: Directory = { kind: "directory", path: "", children: new Map(), layer: 0 };
  #layer = 0;
  #bytes = 0;
  #entries = 0;
  #names = 0;
  /** Devices, pipes, and what else is not there afterwards. */
  dropped = 0;

  /** `base`: an empty directory of ours, which nobody else enters. */
  constructor(base: string, limits: TreeLimits) {
    this.#base = Buffer.from(`${base}/`);
    this.#limits = limits;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get entries(): number {
    return this.#entries;
  }

  nextLayer(): void {
    this.#layer++;
  }

  /** `content` gives the file's bytes, piece by piece. */
  async add(entry: TarEntry, content: () => Promise<Buffer | null>): Promise<void> {
    this.#count();
    this.#names += entry.name.length + entry.link.length;
    if (this.#names > NAMES_BYTES) throw bad(`Its names have more than ${NAMES_BYTES} bytes together.`);
    const parts = partsOf(entry.name);
    const name = parts.pop();
    if (name === undefined) {
      // "./": the root itself.
      if (entry.kind !== "directory") throw bad("An entry takes the place of the root directory.");
      return;
    }
    const parent = this.#directory(parts);
    if (name.startsWith(".wh.")) this.#whiteout(parent, name);
    else if (entry.kind === "directory") this.#makeDirectory(parent, name);
    else if (entry.kind === "file") await this.#makeFile(parent, name, entry, content);
    else if (entry.kind === "symlink") this.#makeLink(parent, name, entry.link);
    else if (entry.kind === "hardlink") this.#makeHardLink(parent, name, entry.link);
    else {
      this.#remove(parent, name, Number.POSITIVE_INFINITY);
      this.dropped++;
    }
  }

  #count(): void {
    if (++this.#entries > this.#limits.entries)
      throw bad(`It holds more than ${this.#limits.entries} files and directories.`);
  }

  /** The run's own files get their places, links are made, everything is read-only and on the disk. */
  finish(): void {
    const etc = this.#root.children.get("etc");
    if (etc !== undefined && etc.kind !== "directory")
      this.#remove(this.#root, "etc", Number.POSITIVE_INFINITY);
    const directory = this.#makeDirectory(this.#root, "etc");
    for (const name of OWN_ETC) {
      if (directory.children.get(name)?.kind === "file") continue;
      this.#remove(directory, name, Number.POSITIVE_INFINITY);
      this.#create(directory, name, () => undefined, 0o444);
    }
    this.#finish(this.#root);
  }

  #finish(directory: Directory): void {
    for (const child of directory.children.values()) {
      if (child.kind === "directory") this.#finish(child);
      else if (child.kind === "symlink") symlinkSync(Buffer.from(child.link, "latin1"), this.#at(child.path));
      else sync(this.#at(child.path));
    }
    const path = this.#at(directory.path);
    chmodSync(path, 0o555);
    sync(path);
  }

  #at(path: string): Buffer {
    return Buffer.concat([this.#base, Buffer.from(path, "latin1")]);
  }

  /** Follows the links that layers have made as a process whose root directory this tree is would; makes what is missing. */
  #directory(given: readonly string[]): Directory {
    const ahead = [...given];
    const way: Directory[] = [this.#root];
    let followed = 0;
    let steps = 0;
    for (let part = ahead.shift(); part !== undefined; part = ahead.shift()) {
      const here = way.at(-1)!;
      if (++steps > STEPS) throw bad(`${show(given.join("/"))} leads through too many directories.`);
      if (part === "..") {
        if (way.length > 1) way.pop();
        continue;
      }
      const child = here.children.get(part);
      if (child === undefined || child.kind === "directory") {
        if (way.length > DEPTH) throw bad(`${show(given.join("/"))} is more than ${DEPTH} directories deep.`);
        // A path of its own for each entry would be a hundred directories of its own.
        if (child === undefined) this.#count();
        way.push(child ?? this.#makeDirectory(here, part));
      } else if (child.kind === "symlink") {
        if (++followed > FOLLOWED) throw bad(`${show(given.join("/"))} leads through too many links.`);
        if (child.link.startsWith("/")) way.length = 1;
        ahead.unshift(...child.link.split("/").filter((p) => p !== "" && p !== "."));
      } else throw bad(`${show(child.path)} is a file, and a directory to another entry.`);
    }
    return way.at(-1)!;
  }

  #makeDirectory(parent: Directory, name: string): Directory {
    const there = parent.children.get(name);
    if (there?.kind === "directory") {
      there.layer = this.#layer;
      return there;
    }
    if (there !== undefined) this.#remove(parent, name, Number.POSITIVE_INFINITY);
    const path = pathOf(parent, name);
    mkdirSync(this.#at(path), 0o700);
    const made: Directory = { kind: "directory", path, children: new Map(), layer: this.#layer };
    parent.children.set(name, made);
    return made;
  }

  async #makeFile(
    parent: Directory,
    name: string,
    entry: TarEntry,
    content: () => Promise<Buffer | null>,
  ): Promise<void> {
    if (entry.size > this.#limits.bytes - this.#bytes)
      throw bad(`Its files have more than ${this.#limits.bytes} bytes together; --max-size allows more.`);
    this.#bytes += entry.size;
    this.#remove(parent, name, Number.POSITIVE_INFINITY);
    const fd = this.#create(parent, name, (made) => made, (entry.mode & 0o111) === 0 ? 0o444 : 0o555)!;
    try {
      for (let piece = await content(); piece !== null; piece = await content()) writeAll(fd, piece);
    } finally {
      closeSync(fd);
    }
  }

  /** `keep` may keep the descriptor open, by giving it back. */
  #create(
    parent: Directory,
    name: string,
    keep: (fd: number) => number | undefined,
    mode: number,
  ): number | undefined {
    const path = pathOf(parent, name);
    const { O_CREAT, O_EXCL, O_WRONLY, O_NOFOLLOW } = constants;
    const fd = openSync(this.#at(path), O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, 0o600);
    fchmodSync(fd, mode);
    parent.children.set(name, { kind: "file", path, link: "", layer: this.#layer });
    const kept = keep(fd);
    if (kept === undefined) closeSync(fd);
    return kept;
  }

  #makeLink(parent: Directory, name: string, link: string): void {
    if (link === "" || link.length > 4095) throw bad(`The link ${show(name)} leads to no name that can be.`);
    this.#remove(parent, name, Number.POSITIVE_INFINITY);
    const path = pathOf(parent, name);
    parent.children.set(name, { kind: "symlink", path, link, layer: this.#layer });
  }

  #makeHardLink(parent: Directory, name: string, link: string): void {
    const parts = partsOf(link);
    const last = parts.pop();
    const target = last === undefined ? undefined : this.#directory(parts).children.get(last);
    if (target === undefined || target.kind === "directory")
      throw bad(
        `The hard link ${show(pathOf(parent, name))} leads to ${show(link)}, which is no file of the image.`,
      );
    const path = pathOf(parent, name);
    if (target.path === path) return;
    this.#remove(parent, name, Number.POSITIVE_INFINITY);
    // Removing the name may have removed what it leads to.
    if (target.kind === "file") linkSync(this.#at(target.path), this.#at(path));
    parent.children.set(name, { ...target, path, layer: this.#layer });
  }

  /** ".wh.NAME" takes NAME of the layers below away, ".wh..wh..opq" all that they have in the directory. */
  #whiteout(parent: Directory, marker: string): void {
    if (marker === ".wh..wh..opq") {
      for (const name of [...parent.children.keys()]) this.#remove(parent, name, this.#layer);
      return;
    }
    const name = marker.slice(".wh.".length);
    // AUFS's own bookkeeping, which some images still carry.
    if (name.startsWith(".wh.")) return;
    if (name === "" || name === "." || name === "..")
      throw bad(`The whiteout ${show(marker)} names no file.`);
    this.#remove(parent, name, this.#layer);
  }

  /** What is of a layer before `before`; a directory stays while something in it does. */
  #remove(parent: Directory, name: string, before: number): void {
    const node = parent.children.get(name);
    if (node === undefined) return;
    if (node.kind === "directory") {
      for (const child of [...node.children.keys()]) this.#remove(node, child, before);
      if (node.children.size > 0 || node.layer >= before) return;
      rmdirSync(this.#at(node.path));
    } else {
      if (node.layer >= before) return;
      if (node.kind === "file") unlinkSync(this.#at(node.path));
    }
    parent.children.delete(name);
  }
}

/** The parts of an entry's name; a leading "/" is the image's root, as in every other reader of layers. */
function partsOf(name: string): string[] {
  const parts = name.split("/").filter((part) => part !== "" && part !== ".");
  if (parts.includes("..")) throw bad(`The name ${show(name)} climbs out of its directory.`);
  if (parts.length > DEPTH) throw bad(`${show(name)} is more than ${DEPTH} directories deep.`);
  if (parts.some((part) => part.length > COMPONENT_BYTES))
    throw bad(`A part of ${show(name)} is longer than ${COMPONENT_BYTES} bytes.`);
  return parts;
}

const pathOf = (parent: Directory, name: string): string => {
  const path = parent.path === "" ? name : `${parent.path}/${name}`;
  if (path.length > 3072) throw bad(`The path ${show(path)} is longer than 3072 bytes.`);
  return path;
};

function writeAll(fd: number, bytes: Buffer): void {
  for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done);
}

function sync(path: Buffer): void {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
