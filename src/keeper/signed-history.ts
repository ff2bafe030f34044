import { NOTHING_SIGNED, type SignedState } from "../audit/notary.ts";
import { getText, SETTINGS, setSetting } from "../store/settings.ts";
import type { Store } from "../store/store.ts";
import type { MessageOf } from "../wire/messages.ts";
import type { NotaryRefusal } from "./notary.ts";

type Options = {
  store: Store;
  /** Asks the notary which state it signed last. */
  ask: () => Promise<MessageOf<"notary.opened">>;
  /** Called with the reason when the notary's history is another one. */
  halt: (reason: string) => void;
};

/**
 * What the notary says that it signed, after an unlock and after its own restart alike: under which key, and whether that
 * is this log's beginning. The keeper's database could be an older one; the notary's word is what that shows by.
 */
export class SignedHistory {
  readonly #o: Options;
  #vkeys: readonly string[] = [];
  #state: SignedState = NOTHING_SIGNED;
  #fork: string | null = null;
  #isTold = false;

  constructor(o: Options) {
    this.#o = o;
  }

  /** Verifier keys of the notary, the current one first. */
  get vkeys(): readonly string[] {
    return this.#vkeys;
  }

  /** What the log must have as its beginning: the largest state that the notary named, or the one that does not fit. */
  get state(): SignedState {
    return this.#state;
  }

  /** Why the notary's history is not this log's; it stays so until the next unlock, whatever the notary says then. */
  get fork(): string | null {
    return this.#fork;
  }

  /** The size that the notary signed last; null when it holds another history, which then is in the log. */
  async ask(): Promise<number | null> {
    const { store, halt } = this.#o;
    const opened = await this.#o.ask();
    const said = { size: opened.size, root: Buffer.from(opened.root, "base64") };
    this.#vkeys = await rememberNotary(store, opened);
    const why = await forked(store, opened);
    if (this.#fork === null && (why !== null || said.size >= this.#state.size)) this.#state = said;
    this.#fork ??= why;
    if (this.#fork === null) return said.size;
    if (why === null) return null;
    halt(`The notary holds another history than this database: ${why}`);
    if (!this.#isTold) {
      this.#isTold = true;
      const data = { size: store.log.size(), signedSize: opened.size, signedRoot: opened.root };
      await this.#log("notary.fork", why, data).catch((error: unknown) => {
        this.#isTold = false;
        throw error;
      });
    }
    return null;
  }

  /** The notary would not sign what this log has become. */
  async refused({ detail }: NotaryRefusal): Promise<void> {
    this.#fork ??= detail;
    this.#o.halt(`The notary refused to sign the log: ${detail}`);
    await this.#log("notary.refused", detail);
  }

  async #log(type: "notary.fork" | "notary.refused", reason: string, data?: object): Promise<void> {
    await this.#o.store.mutate((tx) => {
      tx.log({
        type,
        outcome: "failure",
        actor: { kind: "system" },
        reason,
        ...(data === undefined ? {} : { data: { ...data } }),
      });
    });
  }
}

/** Every key that ever signed is kept: checkpoints under an older one must verify too. Returns them, the current one first. */
async function rememberNotary(store: Store, opened: MessageOf<"notary.opened">): Promise<string[]> {
  const text = await getText(store.read, SETTINGS.notaryKey);
  const known = text === undefined ? [] : text.split("\n");
  if (known[0] === opened.vkey) return known;
  const keys = [opened.vkey, ...known.filter((key) => key !== opened.vkey)];
  await store.mutate(async (tx) => {
    await setSetting(tx, SETTINGS.notaryKey, keys.join("\n"));
    tx.log({
      type: "notary.key",
      outcome: known.length === 0 ? "success" : "unknown",
      actor: { kind: "system" },
      data: { vkey: opened.vkey, replaced: known[0] ?? null, size: opened.size },
    });
  });
  return keys;
}

/** Why the notary's last signed state is not a prefix of this log, or null when it is. */
async function forked(store: Store, opened: MessageOf<"notary.opened">): Promise<string | null> {
  if (opened.size === 0) return null;
  if (opened.size > store.log.size()) {
    return `it signed ${opened.size} entries, and only ${store.log.size()} are here. An older database was put back.`;
  }
  const root = await store.log.rootAt(opened.size);
  return root.toString("base64") === opened.root
    ? null
    : `its root over the first ${opened.size} entries is another one.`;
}
