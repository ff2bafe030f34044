import type { Actor } from "../audit/event.ts";
import { SallyportError } from "../core/errors.ts";
import { Secret } from "../core/secret.ts";
import { secretFault } from "../core/secret-value.ts";
import { faultText, type VaultFault } from "../core/vault-faults.ts";
import { checkSource, sourceText, unknownVault, type VaultSource } from "../core/vault-source.ts";
import { keyCopy, wipe } from "../keys/memory.ts";
import type { Store } from "../store/store.ts";
import { getCredential, removeCredential, setCredential } from "../store/vaults.ts";
import type { Message, MessageOf } from "../wire/messages.ts";
import type { Peers } from "./peers.ts";

/** Longer than the courier takes at most: what it says of the vault is worth more than that it said nothing. */
const ANSWER_MS = 12_000;

/** For whom it is asked; goes into the log with a failure. */
export type VaultAbout = { actor: Actor; run?: string; op?: string; namespace?: string };
/** The caller wipes the value, or hands it to a connection, which does. */
export type Fetched = { version: string; value: Secret };

type Asked =
  | Omit<MessageOf<"courier.login">, "id">
  | Omit<MessageOf<"courier.fetch">, "id">
  | Omit<MessageOf<"courier.look">, "id">;
type Answer = { message: Message; parts: Buffer[] };
type Failed = Pick<MessageOf<"courier.failed">, "fault" | "detail">;
type Pending = { vault: string; answers: Message["type"]; settle: (got: Answer | Failed) => void };

const ANSWERS = {
  "courier.login": "courier.logged_in",
  "courier.fetch": "courier.fetched",
  "courier.look": "courier.looked",
} as const;

/**
 * Asks the courier for what lies in outside vaults. Nothing that it gives is kept: a value is fetched again for each run, and an
 * outage is the run's refusal.
 */
export class VaultClient {
  readonly #store: Store;
  readonly #peers: Pick<Peers, "send">;
  readonly #vaults: ReadonlyMap<string, string>;
  readonly #pending = new Map<number, Pending>();
  #next = 1;

  /** `vaults`: name to address. */
  constructor(o: { store: Store; peers: Pick<Peers, "send">; vaults: ReadonlyMap<string, string> }) {
    this.#store = o.store;
    this.#peers = o.peers;
    this.#vaults = o.vaults;
  }

  get names(): string[] {
    return [...this.#vaults.keys()];
  }

  /** Throws `input_invalid`. */
  check(source: VaultSource): VaultSource {
    return checkSource(source, this.names);
  }

  /**
   * The value as it is in the vault now, for one run. `expect`: the version that was approved; where the vault gives another,
   * `conflict`. Throws `vault_failed`, which is in the log by then.
   */
  async fetch(source: VaultSource, about: VaultAbout, expect?: string): Promise<Fetched> {
    const { vault, path, key, version: asked } = this.check(source);
    const { message, parts } = await this.#ask(
      { type: "courier.fetch", vault, path, key, version: asked },
      about,
    );
    const version = String((message as MessageOf<"courier.fetched">).version);
    const value = new Secret(parts[0]!);
    if (value.use(secretFault) !== null) {
      value.wipe();
      throw await this.#failed(vault, { fault: "unfit", detail: null }, about);
    }
    if (expect === undefined || expect === version) return { version, value };
    value.wipe();
    throw new SallyportError(
      "conflict",
      `${sourceText(source, null)} is at version ${version} in the vault by now; ${expect} is what was approved. Ask for the run again.`,
    );
  }

  /** Which version `fetch` would give, for an approval to bind. Throws `vault_failed`, which is in the log by then. */
  async version(source: VaultSource, about: VaultAbout): Promise<string> {
    const { vault, path, key, version } = this.check(source);
    const { message } = await this.#ask({ type: "courier.look", vault, path, key, version }, about);
    return String((message as MessageOf<"courier.looked">).version);
  }

  /** Tried, then kept; wipes `secretId`. Throws `vault_failed` where the vault does not take it: then nothing is kept. */
  async login(
    vault: string,
    credential: { roleId: string; secretId: Buffer; wrapped: boolean },
    actor: Actor,
  ): Promise<void> {
    this.#addressOf(vault);
    const { roleId, secretId, wrapped } = credential;
    const data = { vault, wrapped };
    let unwrapped: Buffer | undefined;
    try {
      const ask = { type: "courier.login", vault, roleId, wrapped, now: true } as const;
      const { parts } = await this.#ask(ask, null, [new Secret(keyCopy(secretId))]);
      unwrapped = parts[0];
      if (wrapped && unwrapped === undefined) throw this.#error(vault, { fault: "malformed", detail: null });
      const kept = unwrapped ?? secretId;
      await this.#store.mutate(async (tx) => {
        await setCredential(tx, vault, { roleId, secretId: kept });
        tx.log({ type: "vault.login", outcome: "success", actor, data });
      });
    } catch (error) {
      if (error instanceof VaultFailed)
        await this.#store.mutate((tx) => {
          const { fault } = error;
          tx.log({
            type: "vault.login",
            outcome: "failure",
            actor,
            reason: error.detail,
            data: { ...data, fault },
          });
        });
      throw error;
    } finally {
      wipe(secretId, unwrapped);
    }
  }

  /** Also of a vault that sallyport.yaml names no more. Throws `not_found` where no credential is kept. */
  async logout(vault: string, actor: Actor): Promise<void> {
    await this.#store.mutate(async (tx) => {
      if (!(await removeCredential(tx, vault)))
        throw new SallyportError("not_found", `No credential of the vault ${vault} is kept.`);
      tx.log({ type: "vault.logout", outcome: "success", actor, data: { vault } });
    });
    this.#peers.send("courier", { type: "courier.logout", vault });
  }

  async list(): Promise<{ vault: string; address: string; credential: boolean }[]> {
    const listed = [];
    for (const [vault, address] of this.#vaults) {
      const credential = await getCredential(this.#store.read, vault);
      wipe(credential?.secretId);
      listed.push({ vault, address, credential: credential !== undefined });
    }
    return listed;
  }

  /** The courier is there, or came back: it gets the credentials, and logs in when something is asked for. */
  async joined(): Promise<void> {
    for (const vault of this.names) {
      const credential = await getCredential(this.#store.read, vault);
      if (credential === undefined) continue;
      const { roleId, secretId } = credential;
      const id = this.#next++;
      const login = { type: "courier.login", id, vault, roleId, wrapped: false, now: false } as const;
      this.#peers.send("courier", login, [new Secret(keyCopy(secretId))]);
      wipe(secretId);
    }
  }

  lost(): void {
    for (const { settle } of [...this.#pending.values()]) settle({ fault: "courier", detail: null });
  }

  receive(message: Message, parts: Buffer[]): void {
    const pending = "id" in message ? this.#pending.get(message.id as number) : undefined;
    if (pending === undefined) wipe(...parts);
    else if (message.type === "courier.failed") pending.settle(message);
    else if (message.type === pending.answers) pending.settle({ message, parts });
    else {
      wipe(...parts);
      pending.settle({ fault: "internal", detail: null });
    }
  }

  /** `about` null: the caller logs what comes of it. */
  async #ask(question: Asked, about: VaultAbout | null, parts: Secret[] = []): Promise<Answer> {
    const { vault } = question;
    const got = await this.#exchange(question, parts);
    if ("message" in got) return got;
    throw about === null ? this.#error(vault, got) : await this.#failed(vault, got, about);
  }

  async #failed(vault: string, { fault, detail }: Failed, about: VaultAbout): Promise<VaultFailed> {
    const error = this.#error(vault, { fault, detail });
    await this.#store.mutate((tx) => {
      tx.log({
        type: "vault.failed",
        outcome: "failure",
        ...about,
        reason: error.detail,
        data: { vault, fault, detail },
      });
    });
    return error;
  }

  #exchange(question: Asked, parts: Secret[]): Promise<Answer | Failed> {
    const id = this.#next++;
    const { promise, resolve } = Promise.withResolvers<Answer | Failed>();
    const settle = (got: Answer | Failed) => {
      clearTimeout(timer);
      this.#pending.delete(id);
      resolve(got);
    };
    const timer = setTimeout(() => settle({ fault: "timeout", detail: null }), ANSWER_MS);
    this.#pending.set(id, { vault: question.vault, answers: ANSWERS[question.type], settle });
    if (!this.#peers.send("courier", { ...question, id } as MessageOf<"courier.login">, parts))
      settle({ fault: "courier", detail: null });
    return promise;
  }

  #error(vault: string, { fault, detail }: Failed): VaultFailed {
    return new VaultFailed(fault, faultText(vault, this.#addressOf(vault), fault, detail));
  }

  /** Throws `not_found`. */
  #addressOf(vault: string): string {
    const address = this.#vaults.get(vault);
    if (address === undefined) throw new SallyportError("not_found", unknownVault(vault, this.names));
    return address;
  }
}

class VaultFailed extends SallyportError {
  readonly fault: VaultFault;

  constructor(fault: VaultFault, detail: string) {
    super("vault_failed", detail);
    this.fault = fault;
  }
}
