import { connect, type Socket } from "node:net";
import { type Block, parseAddress, refusalOf } from "../core/addresses.ts";
import { readClientHello, readServerStart } from "./client-hello.ts";
import { type Door, ENDED, openDoor } from "./door.ts";
import type { Wish } from "./requests.ts";
import { settle } from "./settle.ts";
import { readClientBanner, readServerBanner } from "./ssh-banner.ts";
import { refused, type Verdict } from "./verdict.ts";

/** One place that a run may go to. `host`: lower-case name, or an address without brackets. */
export type Target = {
  readonly scheme: "tls" | "ssh";
  readonly host: string;
  readonly port: number;
  /** It may resolve to a private address. */
  readonly private: boolean;
};

/** One connection's end, or on "connected" its beginning. `ms`: from its acceptance. */
export type Report = {
  readonly outcome: "connected" | "closed" | "refused" | "failed";
  /** As in a manifest; "" where the Op did not get as far as to say. */
  readonly target: string;
  readonly address: string | null;
  readonly bytesOut: number;
  readonly bytesIn: number;
  readonly ms: number;
  readonly reason: string | null;
};

/** All addresses of a name; rejects where there are none. */
export type Lookup = (host: string) => Promise<readonly string[]>;

export type Rules = {
  readonly targets: readonly Target[];
  readonly allowed: readonly Block[];
  readonly lookup: Lookup;
  readonly times: Times;
};
export type Times = {
  /** The Op's request, and its first bytes for the server. */
  readonly requestMs: number;
  readonly connectMs: number;
  readonly idleMs: number;
};
export const TIMES: Times = { requestMs: 10_000, connectMs: 5000, idleMs: 600_000 };

const ADDRESSES = 4;
/** As the keeper takes it: it can quote two names of 253 characters, both of an Op's choosing. */
const REASON_CHARS = 400;
/** A fatal alert "access_denied" (RFC 8446 section 6), so that the client says why its connection ended. */
const ACCESS_DENIED = Buffer.from([21, 3, 3, 0, 2, 2, 49]);

const textOf = ({ host, port }: Pick<Wish, "host" | "port">, scheme = ""): string =>
  `${scheme}${host.includes(":") ? `[${host}]` : host}:${port}`;

type Known = { target: string; address: string | null; upstream: Socket | null };

/**
 * Serves one connection of an Op, from its request to its end: granted target, checked address, then the first bytes that
 * must be TLS for that name, or SSH. Never rejects; `report` is called once with the end, and before with "connected".
 */
export async function serveTunnel(
  client: Socket,
  kind: Door["kind"],
  rules: Rules,
  report: (report: Report) => void,
): Promise<void> {
  const began = performance.now();
  const known: Known = { target: "", address: null, upstream: null };
  const tell = (outcome: Report["outcome"], reason: string | null) => {
    const { target, address, upstream } = known;
    const bytes = { bytesOut: upstream?.bytesWritten ?? 0, bytesIn: upstream?.bytesRead ?? 0 };
    const ms = Math.round(performance.now() - began);
    report({ outcome, target, address, ...bytes, ms, reason: reason?.slice(0, REASON_CHARS) ?? null });
  };
  client.on("error", () => client.destroy());
  // A dead run's connection ends here, whatever was being waited for.
  client.once("close", () => known.upstream?.destroy());
  try {
    const end = await run(client, kind, rules, known, tell);
    tell(end.outcome, end.reason);
  } catch (error) {
    tell("failed", error instanceof Error ? error.message.slice(0, 200) : "unknown");
  } finally {
    known.upstream?.destroy();
    client.destroySoon();
  }
}

type End = { outcome: "closed" | "refused" | "failed"; reason: string | null };

async function run(
  client: Socket,
  kind: Door["kind"],
  rules: Rules,
  known: Known,
  tell: (outcome: "connected", reason: string | null) => void,
): Promise<End> {
  const door = await openDoor(client, kind, rules.times.requestMs);
  if ("reason" in door) return door;
  const { wish } = door;
  known.target = textOf(wish);
  const target = rules.targets.find((t) => t.port === wish.port && sameHost(t.host, wish.host));
  if (target === undefined) return door.refuse("the Op's manifest does not name this target");
  known.target = textOf(wish, target.scheme === "ssh" ? "ssh://" : "");
  const upstream = await dial(client, target, rules, known);
  if ("outcome" in upstream)
    return upstream.outcome === "refused" ? door.refuse(upstream.reason!) : door.fail(upstream.reason!);
  known.upstream = upstream;
  if (client.destroyed) return ENDED;
  door.accept();
  const opening = await settle(client, {
    judge: (bytes) => judgeClient(target, bytes),
    held: Buffer.from(wish.rest),
    ms: rules.times.requestMs,
  });
  if (opening.verdict.state === "ended") return ENDED;
  if (opening.verdict.state === "refused") {
    if (target.scheme === "tls") client.end(ACCESS_DENIED);
    return { outcome: "refused", reason: opening.verdict.reason };
  }
  tell("connected", opening.verdict.note);
  return carry(client, upstream, opening.held, target.scheme, rules.times.idleMs);
}

function sameHost(granted: string, asked: string): boolean {
  if (granted === asked) return true;
  const [a, b] = [parseAddress(granted), parseAddress(asked)];
  return a !== null && b !== null && a.equals(b);
}

function judgeClient(target: Target, bytes: Buffer): Verdict<{ readonly note: string | null }> {
  if (target.scheme === "ssh") {
    const banner = readClientBanner(bytes);
    return banner.state === "ok" ? { state: "ok", note: null } : banner;
  }
  const hello = readClientHello(bytes);
  if (hello.state !== "ok") return hello;
  // A name is never an address (RFC 6066 section 3): for one, no name is what a client sends.
  const expected = parseAddress(target.host) === null ? target.host : null;
  if (hello.sni !== expected && !(expected === null && hello.sni === target.host))
    return refused(
      `the TLS ClientHello is for ${hello.sni === null ? "no name" : hello.sni}, not for ${expected ?? "the bare address"}`,
    );
  const note = hello.ech ? "the ClientHello holds an encrypted one, whose name can't be seen" : null;
  return { state: "ok", note };
}

/** Resolves once, checks every address, and connects to one that was checked: no second answer can be another. */
async function dial(client: Socket, target: Target, rules: Rules, known: Known): Promise<Socket | End> {
  let found: readonly string[];
  try {
    found =
      parseAddress(target.host) === null
        ? await within(rules.times.requestMs, rules.lookup(target.host))
        : [target.host];
  } catch (error) {
    return { outcome: "failed", reason: error instanceof Late ? error.message : "the name has no address" };
  }
  let refusal = "the name has no address";
  const good: string[] = [];
  for (const text of found) {
    const address = parseAddress(text);
    const why = address === null ? "no address" : refusalOf(address, target.private, rules.allowed);
    if (why === null) good.push(text);
    else {
      known.address = text;
      refusal = `it is ${why}`;
    }
  }
  if (good.length === 0) return { outcome: found.length === 0 ? "failed" : "refused", reason: refusal };
  let failure = "";
  for (const address of good.slice(0, ADDRESSES)) {
    // The run may have ended while the name was looked up.
    if (client.destroyed) return ENDED;
    known.address = address;
    const socket = await connectTo(address, target.port, rules.times.connectMs);
    if (typeof socket !== "string") return socket;
    failure = socket;
  }
  return { outcome: "failed", reason: `no connection: ${failure}` };
}

class Late extends Error {}

/** A resolver that waits for a server that is away goes on; nobody waits for it. */
function within<T>(ms: number, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Late("the name's address did not come in time")), ms);
    work.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

/** The socket, or the error's name. */
function connectTo(host: string, port: number, ms: number): Promise<Socket | string> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, allowHalfOpen: true });
    const timer = setTimeout(() => failed({ code: "ETIMEDOUT" }), ms);
    const failed = (error: { code?: string }) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(error.code ?? "error");
    };
    socket.once("error", failed);
    socket.once("connect", () => {
      clearTimeout(timer);
      socket.off("error", failed);
      socket.on("error", () => socket.destroy());
      socket.pause();
      resolve(socket);
    });
  });
}

/** Both ways until both have ended; the server's first bytes must be of the protocol too. */
async function carry(
  client: Socket,
  upstream: Socket,
  opening: Buffer,
  scheme: Target["scheme"],
  idleMs: number,
): Promise<End> {
  let idle = false;
  const closed = new Promise<void>((resolve) => {
    upstream.once("close", resolve);
    client.once("close", resolve);
  });
  upstream.setKeepAlive(true, 60_000);
  upstream.setTimeout(idleMs, () => {
    idle = true;
    upstream.destroy();
  });
  upstream.write(opening);
  client.pipe(upstream);
  const answer = await settle(upstream, {
    judge: scheme === "ssh" ? readServerBanner : readServerStart,
    ms: idleMs,
  });
  if (answer.verdict.state === "refused") return { outcome: "refused", reason: answer.verdict.reason };
  if (answer.held.length > 0) client.write(answer.held);
  if (answer.verdict.state === "ended") {
    client.end();
    return { outcome: "closed", reason: "the server did not answer" };
  }
  upstream.pipe(client);
  // allowHalfOpen: each way ends by itself; the sockets close when both have.
  await closed;
  // The last bytes for the client may still be on their way out of this process.
  if (!client.destroyed && client.writableEnded && !client.writableFinished)
    await new Promise<void>((resolve) => client.once("close", resolve).once("finish", resolve));
  return { outcome: "closed", reason: idle ? `nothing was sent for ${idleMs / 1000} s` : null };
}
