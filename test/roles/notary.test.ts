import { type ChildProcess, spawn } from "node:child_process";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { openCheckpoint } from "../../src/audit/checkpoint.ts";
import { EMPTY_ROOT, proveConsistency, rootAt } from "../../src/audit/merkle.ts";
import { selfExec } from "../../src/host/self.ts";
import { randomKey } from "../../src/keys/memory.ts";
import { Connection } from "../../src/wire/connection.ts";
import type { Message, MessageOf } from "../../src/wire/messages.ts";
import { flipped, StoredTree } from "../audit/trees.ts";
import { FILE_TIMEOUT } from "../faults/support.ts";

t.setTimeout(FILE_TIMEOUT);

const ORIGIN = "sallyport.example/log";
const base = mkdtempSync(join(tmpdir(), "notary-"));
const children = new Set<ChildProcess>();
t.teardown(() => {
  for (const child of children) child.kill("SIGKILL");
  rmSync(base, { recursive: true, force: true });
});
let dirs = 0;
const newDir = (): string => join(base, `n${dirs++}`);
const tree = StoredTree.of(Array.from({ length: 50 }, (_, i) => Buffer.from(`entry ${i}`)));

/** The real role in a process of its own, and the keeper's end of its connection. */
class Notary {
  readonly child: ChildProcess;
  readonly exited: Promise<number | null>;
  readonly connection: Connection;
  stderr = "";
  #answers: Message[] = [];
  #waiting: (() => void) | undefined;

  constructor(dir: string) {
    const { file, args } = selfExec();
    this.child = spawn(file, [...args, "role", "notary", "--dir", dir], {
      stdio: ["ignore", "ignore", "pipe", "pipe"],
      env: { ...process.env, SALLYPORT_PEER_FD: "3" },
    });
    children.add(this.child);
    this.child.stderr!.on("data", (chunk) => {
      this.stderr += chunk;
    });
    this.exited = new Promise((resolve) => this.child.on("exit", (code) => resolve(code)));
    this.connection = new Connection({
      stream: this.child.stdio[3] as Socket,
      self: "keeper",
      peer: "notary",
      state: () => "open",
      onMessage: (message) => {
        this.#answers.push(message);
        this.#waiting?.();
      },
      onViolation: (what) => t.fail(`violation: ${what}`),
      onClose: () => this.#waiting?.(),
    });
  }

  async next(): Promise<Message> {
    while (this.#answers.length === 0 && this.connection.isOpen)
      await new Promise<void>((resolve) => {
        this.#waiting = resolve;
      });
    const message = this.#answers.shift();
    if (message === undefined) throw new Error(`the notary ended: ${this.stderr}`);
    return message;
  }

  async open(half: Buffer, origin = ORIGIN): Promise<Message> {
    const hello = await this.next();
    if (hello.type !== "role.hello") throw new Error(`expected hello, got ${hello.type}`);
    this.connection.send({ type: "notary.open", origin }, [half]);
    return this.next();
  }

  ask(o: { fromSize: number; size: number; root: Buffer; consistency: Buffer[] }): Promise<Message> {
    this.connection.send({
      type: "notary.sign",
      fromSize: o.fromSize,
      size: o.size,
      root: o.root.toString("base64"),
      consistency: o.consistency.map((hash) => hash.toString("base64")),
    });
    return this.next();
  }

  async sign(from: number, size: number, of: StoredTree = tree): Promise<Message> {
    const root = await rootAt(size, of.source);
    return this.ask({
      fromSize: from,
      size,
      root,
      consistency: await proveConsistency(from, size, of.source),
    });
  }

  async end(): Promise<number | null> {
    this.connection.close();
    return this.exited;
  }
}

/** A directory in which `size` entries were signed, its half and its verifier key. */
async function used(size = 20): Promise<{ dir: string; half: Buffer; vkey: string }> {
  const dir = newDir();
  const half = randomKey();
  const notary = new Notary(dir);
  const { vkey } = (await notary.open(half)) as MessageOf<"notary.opened">;
  if (size > 0) await notary.sign(0, size);
  await notary.end();
  return { dir, half, vkey };
}

t.test("a new key is fresh until something was signed; then it extends, across a restart", async (t) => {
  const dir = newDir();
  const half = randomKey();
  const first = new Notary(dir);
  const opened = (await first.open(half)) as MessageOf<"notary.opened">;
  t.match(opened, { type: "notary.opened", size: 0, root: EMPTY_ROOT.toString("base64"), fresh: true });
  t.ok(opened.vkey.startsWith(`${ORIGIN}+`));
  t.match(await first.sign(0, 7), { type: "notary.signed", size: 7 });
  const signed = (await first.sign(7, 20)) as MessageOf<"notary.signed">;
  t.match(openCheckpoint(signed.checkpoint, ORIGIN, [opened.vkey]), { origin: ORIGIN, size: 20 });
  t.same(await first.sign(20, 20), signed, "the same state again is the same signature");
  t.equal(await first.end(), 0, "it ends with its connection");

  const second = new Notary(dir);
  const root = (await rootAt(20, tree.source)).toString("base64");
  t.same(await second.open(half), { type: "notary.opened", vkey: opened.vkey, size: 20, root, fresh: false });
  t.match(await second.sign(20, 50), { type: "notary.signed", size: 50 });
  await second.end();
});

t.test("it refuses whatever does not extend what it signed, and says why", async (t) => {
  const { dir, half } = await used(20);
  const notary = new Notary(dir);
  t.match(await notary.open(half), { size: 20 });
  const forged = StoredTree.of(
    Array.from({ length: 50 }, (_, i) => Buffer.from(i === 3 ? "forged" : `entry ${i}`)),
  );
  const root = await rootAt(50, tree.source);
  const proof = await proveConsistency(20, 50, tree.source);
  const refusals: [string, Message, RegExp][] = [
    ["smaller", await notary.sign(10, 10), /cut or an older copy/],
    ["smaller, honest from", await notary.sign(0, 19), /cut or an older copy/],
    ["another proof start", await notary.sign(10, 50), /starts at 10 entries, but 20/],
    ["other entries, same size", await notary.sign(20, 20, forged), /entries were changed/],
    ["rewritten history", await notary.sign(20, 50, forged), /does not show/],
    ["no proof", await notary.ask({ fromSize: 20, size: 50, root, consistency: [] }), /does not show/],
    [
      "flipped proof",
      await notary.ask({ fromSize: 20, size: 50, root, consistency: proof.with(0, flipped(proof[0]!)) }),
      /does not show/,
    ],
    [
      "flipped root",
      await notary.ask({ fromSize: 20, size: 50, root: flipped(root), consistency: proof }),
      /does not show/,
    ],
  ];
  for (const [name, answer, reason] of refusals) t.match(answer, { type: "notary.refused", reason }, name);
  t.match(
    await notary.sign(20, 50),
    { type: "notary.signed", size: 50 },
    "an honest request is still served",
  );
  t.match(await notary.sign(20, 50), { type: "notary.refused" }, "a stale one is not");
  await notary.end();
});

t.test(
  "nothing is signed before it is open; asked again it says what it signed, to the same half only",
  async (t) => {
    const notary = new Notary(newDir());
    await notary.next();
    t.match(await notary.sign(0, 5), { type: "notary.refused", reason: /not open/ });
    const half = randomKey();
    notary.connection.send({ type: "notary.open", origin: ORIGIN }, [half]);
    t.match(await notary.next(), { type: "notary.opened" });
    notary.connection.send({ type: "notary.open", origin: ORIGIN }, [half]);
    t.match(await notary.next(), { type: "notary.opened", size: 0 });
    notary.connection.send({ type: "notary.open", origin: ORIGIN }, [randomKey()]);
    t.match(await notary.next(), { type: "notary.refused", reason: /does not open/ });
    t.match(
      await notary.sign(0, 5),
      { type: "notary.refused", reason: /not open/ },
      "a wrong half closes it",
    );
    await notary.end();
    const short = new Notary(newDir());
    t.match(await short.open(Buffer.alloc(16)), { type: "notary.refused", reason: /32 bytes/ });
    await short.end();
  },
);

t.test("neither half alone opens the key; another log's name does not either", async (t) => {
  const { dir, half } = await used();
  const cases: [string, () => Promise<Message>, RegExp][] = [
    ["wrong keeper half", () => opening(dir, randomKey()), /does not open/],
    ["wrong origin", () => opening(dir, half, "other/log"), /another log/],
  ];
  for (const [name, open, reason] of cases) t.match(await open(), { type: "notary.refused", reason }, name);
  const own = readFileSync(join(dir, "half"));
  writeFileSync(join(dir, "half"), flipped(own));
  t.match(await opening(dir, half), { type: "notary.refused", reason: /does not open/ }, "wrong own half");
  writeFileSync(join(dir, "half"), own);
  t.match(await opening(dir, half), { type: "notary.opened" });
  for (const name of readdirSync(dir)) {
    t.equal(statSync(join(dir, name)).mode & 0o077, 0, `${name} is the notary's alone`);
    t.notOk(readFileSync(join(dir, name)).includes(half), "the keeper's half is not kept");
  }
});

async function opening(dir: string, half: Buffer, origin = ORIGIN): Promise<Message> {
  const notary = new Notary(dir);
  const answer = await notary.open(half, origin);
  await notary.end();
  return answer;
}

t.test("lost, damaged and rolled back state: never silently", async (t) => {
  const { dir, half, vkey } = await used(20);
  const save = Object.fromEntries(
    ["half", "key.json", "signed.json"].map((name) => [name, readFileSync(join(dir, name))]),
  );
  const restore = () => {
    for (const [name, bytes] of Object.entries(save)) writeFileSync(join(dir, name), bytes);
  };
  for (const name of Object.keys(save)) {
    rmSync(join(dir, name));
    t.match(
      await opening(dir, half),
      { type: "notary.refused", reason: /is missing.*Restore/ },
      `${name} lost`,
    );
    restore();
    for (const change of [
      (b: Buffer) => b.subarray(0, -9),
      () => Buffer.alloc(0),
      () => Buffer.alloc(9000, 0x20),
    ]) {
      writeFileSync(join(dir, name), change(save[name]!));
      t.match(await opening(dir, half), { type: "notary.refused", reason: /Restore/ }, `${name} damaged`);
      restore();
    }
  }
  const json = JSON.parse(save["signed.json"]!.toString());
  writeFileSync(join(dir, "signed.json"), JSON.stringify({ ...json, size: 5 }));
  t.match(await opening(dir, half), { type: "notary.refused", reason: /changed by someone else/ });
  restore();
  const key = JSON.parse(save["key.json"]!.toString());
  writeFileSync(join(dir, "key.json"), JSON.stringify({ ...key, vkey: `${key.vkey.slice(0, -2)}AA` }));
  t.match(await opening(dir, half), { type: "notary.refused", reason: /does not open/ });
  restore();
  t.match(await opening(dir, half), { type: "notary.opened", vkey, size: 20 }, "restored, it opens");

  for (const name of Object.keys(save)) rmSync(join(dir, name));
  const fresh = (await opening(dir, half)) as MessageOf<"notary.opened">;
  t.match(
    fresh,
    { type: "notary.opened", size: 0, fresh: true },
    "an empty directory is a new key, and says so",
  );
  t.not(fresh.vkey, vkey);
  t.match(await opening(dir, half), { vkey: fresh.vkey, fresh: true }, "fresh until it signed something");
});

t.test("killed while making its key, it starts over; killed after a signature, it remembers", async (t) => {
  const { dir, half } = await used(0);
  rmSync(join(dir, "key.json"));
  t.match(await opening(dir, half), { type: "notary.opened", fresh: true });
  rmSync(join(dir, "signed.json"));
  rmSync(join(dir, "key.json"));
  t.match(await opening(dir, half), { type: "notary.opened", fresh: true });

  writeFileSync(join(dir, "signed.json.new-0123456789ab"), "half written");
  for (let size = 1; size <= 5; size++) {
    const notary = new Notary(dir);
    t.match(await notary.open(half), { size: size - 1 });
    t.match(await notary.sign(size - 1, size), { type: "notary.signed" });
    notary.child.kill("SIGKILL");
    await notary.exited;
  }
  t.notOk(
    readdirSync(dir).some((name) => name.includes(".new")),
    "no temporary file stays",
  );
});

t.test("what can't be remembered is not signed", async (t) => {
  const dir = newDir();
  const notary = new Notary(dir);
  await notary.open(randomKey());
  rmSync(dir, { recursive: true });
  t.match(await notary.sign(0, 5), { type: "notary.refused", reason: /can't remember/ });
  mkdirSync(dir, { mode: 0o700 });
  t.match(await notary.sign(0, 5), { type: "notary.signed", size: 5 }, "once it can, it signs");
  await notary.end();
});

t.test("one notary a directory; a directory that others reach; bad usage", async (t) => {
  const { dir, half } = await used();
  const first = new Notary(dir);
  await first.open(half);
  const second = new Notary(dir);
  t.equal(await second.exited, 1);
  t.match(second.stderr, /Another sallyport already runs/);
  await first.end();
  chmodSync(dir, 0o750);
  const third = new Notary(dir);
  t.equal(await third.exited, 1);
  t.match(third.stderr, /mode 0700/);
  const { file, args } = selfExec();
  const none = spawn(file, [...args, "role", "notary"], { stdio: "ignore" });
  t.equal(await new Promise((resolve) => none.on("exit", resolve)), 2);
});
