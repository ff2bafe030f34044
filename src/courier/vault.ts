import { SECRET_BYTES } from "../core/secret-value.ts";
import type { VaultSource } from "../core/vault-source.ts";
import type { VaultPlace } from "../host/vault-shape.ts";
import { find, MalformedJson, unescaped, wholeNumber } from "./json-bytes.ts";
import { type Answer, Endpoint, Fault } from "./request.ts";

/** The secret id is the vault's from here on, which wipes it. */
export type Credential = { roleId: string; secretId: Buffer };
export type Place = Omit<VaultSource, "vault">;
/** `expires`: ms since the epoch; null: never. */
type Token = { text: string; from: number; expires: number | null; renewable: boolean };
type Use<T> = (token: string, signal: AbortSignal) => Promise<T>;

/** For all that one question needs: a login, the answer, a second try. */
const ANSWER_MS = 10_000;
const REVOKE_MS = 700;
const TOKEN_BYTES = 4096;
const SECRET_ID = /^[!#-[\]-~]{1,512}$/;

/**
 * One outside vault, over the KV version 2 API of HashiCorp Vault and OpenBao, with AppRole. Between two questions it keeps its
 * token and nothing else. Every method throws Fault.
 */
export class Vault {
  readonly #place: VaultPlace;
  readonly #endpoint: Endpoint;
  readonly #now: () => number;
  #credential: Credential | undefined;
  #token: Token | undefined;
  #entering: Promise<string> | undefined;

  constructor(place: VaultPlace, now: () => number = Date.now) {
    this.#place = place;
    this.#endpoint = new Endpoint(place);
    this.#now = now;
  }

  /** Used from here on, in place of what there was. */
  use(credential: Credential): void {
    this.#drop();
    this.#credential?.secretId.fill(0);
    this.#credential = credential;
  }

  /** Tries a credential at once; the one before stays where it is refused. */
  async login(credential: Credential): Promise<void> {
    try {
      const token = await this.#enter(credential, AbortSignal.timeout(ANSWER_MS));
      this.use(credential);
      this.#token = token;
    } catch (error) {
      if (this.#credential !== credential) credential.secretId.fill(0);
      throw error;
    }
  }

  /** The secret id behind a response-wrapping token, which is good once. */
  async unwrap(wrapping: Buffer): Promise<Buffer> {
    const headers = { "x-vault-token": headerOf(wrapping) };
    const answer = await this.#post("sys/wrapping/unwrap", headers, AbortSignal.timeout(ANSWER_MS));
    return taking(answer, ({ status, body }) => {
      if (status === 400 || status === 403 || status === 404)
        throw new Fault("unwrap_refused", String(status));
      check(status);
      const span = find(body, ["data", "secret_id"]);
      if (span?.kind !== "string") throw new Fault("malformed", "secret_id");
      return unescaped(body, span);
    });
  }

  async fetch(source: Place): Promise<{ version: number; value: Buffer }> {
    return this.#asking((token, signal) => this.#read(source, token, signal));
  }

  /** Which version `fetch` would give now, without asking for the value where the vault tells of versions alone. */
  async look(source: Place): Promise<number> {
    return this.#asking(async (token, signal) => {
      const answer = await this.#get(this.#pathOf("metadata", source), token, signal);
      const told = taking(answer, ({ status, body }) =>
        status === 403 ? null : versionIn(status, body, source),
      );
      if (told !== null) return told;
      const { version, value } = await this.#read(source, token, signal);
      value.fill(0);
      return version;
    });
  }

  /** Forgets the credential and has the vault revoke the token, as far as that is done in time. */
  async end(): Promise<void> {
    this.#credential?.secretId.fill(0);
    this.#credential = undefined;
    await this.#drop();
  }

  async #read(
    source: Place,
    token: string,
    signal: AbortSignal,
  ): Promise<{ version: number; value: Buffer }> {
    const query = source.version === null ? "" : `?version=${source.version}`;
    const answer = await this.#get(`${this.#pathOf("data", source)}${query}`, token, signal);
    return taking(answer, ({ status, body }) => {
      // A version that was deleted is a 404 that still tells of it.
      if (status === 404 && find(body, ["data", "metadata", "version"]) !== undefined)
        throw new Fault("deleted");
      check(status);
      const version = wholeNumber(body, find(body, ["data", "metadata", "version"]));
      if (version === null || version === 0 || (source.version !== null && version !== source.version))
        throw new Fault("malformed", "version");
      const data = find(body, ["data", "data"]);
      if (data?.kind === "null") throw new Fault("deleted");
      if (data?.kind !== "object") throw new Fault("malformed", "data");
      const span = find(body, ["data", "data", source.key]);
      if (span === undefined) throw new Fault("no_key");
      if (span.kind !== "string") throw new Fault("not_text");
      const value = unescaped(body, span);
      if (value.length <= SECRET_BYTES) return { version, value };
      value.fill(0);
      throw new Fault("too_large");
    });
  }

  /** A refusal may only mean that the token was revoked meanwhile: one login, one more try. */
  async #asking<T>(use: Use<T>): Promise<T> {
    const signal = AbortSignal.timeout(ANSWER_MS);
    const token = await this.#present(signal);
    try {
      return await use(token, signal);
    } catch (error) {
      if (!(error instanceof Fault) || error.fault !== "forbidden") throw error;
      if (this.#token?.text === token) this.#drop();
      return await use(await this.#present(signal), signal);
    }
  }

  /** The token: as it is, renewed when a third of its time is left, or of a new login. */
  #present(signal: AbortSignal): Promise<string> {
    const token = this.#token;
    const left = token === undefined ? 0 : (token.expires ?? Number.POSITIVE_INFINITY) - this.#now();
    if (token !== undefined && (token.expires === null || left > (token.expires - token.from) / 3))
      return Promise.resolve(token.text);
    this.#entering ??= this.#renewed(left > 0 ? token : undefined, signal).finally(() => {
      this.#entering = undefined;
    });
    return this.#entering;
  }

  async #renewed(token: Token | undefined, signal: AbortSignal): Promise<string> {
    const credential = this.#credential;
    if (credential === undefined) throw new Fault("no_login");
    let fresh: Token | undefined;
    if (token?.renewable === true) fresh = await this.#renew(token, signal);
    // What is not renewed any more, for it reached its last day, is followed by another.
    if (fresh === undefined) {
      if (token !== undefined) this.#drop();
      fresh = await this.#enter(credential, signal);
    }
    // Another credential came meanwhile: this token is of the one before.
    if (this.#credential === credential) this.#token = fresh;
    else void this.#revoke(fresh.text);
    return fresh.text;
  }

  async #enter({ roleId, secretId }: Credential, signal: AbortSignal): Promise<Token> {
    if (!SECRET_ID.test(roleId)) throw new Fault("login_refused", "role id");
    const body = joined(`{"role_id":"${roleId}","secret_id":"`, secretId, '"}');
    const answer = await this.#post(`auth/${this.#place.auth}/login`, {}, signal, body);
    return taking(answer, ({ status, body }) => {
      if (status === 400 || status === 403) throw new Fault("login_refused", String(status));
      check(status);
      const span = find(body, ["auth", "client_token"]);
      if (span?.kind !== "string" || span.to - span.from > TOKEN_BYTES) throw new Fault("malformed", "token");
      return this.#tokenIn(body, headerOf(unescaped(body, span)));
    });
  }

  /** Undefined where the vault does not renew it; longer than it lived at first a renewal need not make it. */
  async #renew(token: Token, signal: AbortSignal): Promise<Token | undefined> {
    const answer = await this.#post("auth/token/renew-self", { "x-vault-token": token.text }, signal);
    return taking(answer, ({ status, body }) => {
      if (status !== 200) return undefined;
      const renewed = this.#tokenIn(body, token.text);
      const life = (token.expires ?? 0) - token.from;
      return renewed.expires !== null && renewed.expires - renewed.from < life / 2 ? undefined : renewed;
    });
  }

  #tokenIn(body: Buffer, text: string): Token {
    const seconds = wholeNumber(body, find(body, ["auth", "lease_duration"]));
    if (seconds === null) throw new Fault("malformed", "lease_duration");
    const from = this.#now();
    const renewable = find(body, ["auth", "renewable"])?.kind === "true";
    return { text, from, expires: seconds === 0 ? null : from + seconds * 1000, renewable };
  }

  #drop(): Promise<void> {
    const token = this.#token;
    this.#token = undefined;
    return token === undefined ? Promise.resolve() : this.#revoke(token.text);
  }

  /** Never throws: a token that could not be revoked ends with its own time. */
  async #revoke(token: string): Promise<void> {
    const headers = { "x-vault-token": token };
    await this.#post("auth/token/revoke-self", headers, AbortSignal.timeout(REVOKE_MS)).catch(
      () => undefined,
    );
  }

  #pathOf(what: "data" | "metadata", { path }: Place): string {
    return [...this.#place.mount.split("/"), what, ...path.split("/")].map(encodeURIComponent).join("/");
  }

  #get(path: string, token: string, signal: AbortSignal): Promise<Answer> {
    const headers = this.#headers({ "x-vault-token": token });
    return this.#endpoint.ask({ method: "GET", path: `/v1/${path}`, headers, signal });
  }

  #post(path: string, more: Record<string, string>, signal: AbortSignal, body?: Buffer): Promise<Answer> {
    const headers = this.#headers(more);
    const sent = body ?? Buffer.from("{}");
    return this.#endpoint.ask({ method: "POST", path: `/v1/${path}`, headers, signal, body: sent });
  }

  #headers(more: Record<string, string>): Record<string, string> {
    const { namespace } = this.#place;
    // Agents of both products can be told to take no request without the first.
    return {
      "x-vault-request": "true",
      ...(namespace === null ? {} : { "x-vault-namespace": namespace }),
      ...more,
    };
  }
}

/** A credential's bytes as they are typed: one line, of what JSON needs no escape for. */
export function isSecretId(bytes: Uint8Array): boolean {
  return (
    bytes.length >= 1 &&
    bytes.length <= 512 &&
    bytes.every((byte) => byte > 0x20 && byte < 0x7f && byte !== 0x22 && byte !== 0x5c)
  );
}

/** Wipes the answer when the work on it is done. */
function taking<T>({ status, body }: Answer, take: (answer: Answer) => T): T {
  try {
    return take({ status, body });
  } catch (error) {
    if (error instanceof MalformedJson) throw new Fault("malformed", null, { cause: error });
    throw error;
  } finally {
    body.fill(0);
  }
}

function check(status: number): void {
  if (status === 200) return;
  const detail = String(status);
  if (status >= 300 && status < 400) throw new Fault("redirected", detail);
  if (status === 403) throw new Fault("forbidden", detail);
  if (status === 404) throw new Fault("not_found", detail);
  if (status === 429) throw new Fault("limited", detail);
  throw new Fault(status >= 500 ? "unavailable" : "malformed", detail);
}

/** What the metadata says: the version that is asked for is there, else why not. */
function versionIn(status: number, body: Buffer, { version }: Place): number {
  check(status);
  const current = wholeNumber(body, find(body, ["data", "current_version"]));
  if (current === null) throw new Fault("malformed", "current_version");
  const asked = version ?? current;
  const entry = ["data", "versions", String(asked)];
  if (find(body, entry)?.kind !== "object") throw new Fault(asked === 0 ? "not_found" : "deleted");
  if (find(body, [...entry, "destroyed"])?.kind === "true") throw new Fault("deleted");
  const deletion = find(body, [...entry, "deletion_time"]);
  // A time in the future is when delete_version_after will have it deleted.
  if (deletion?.kind === "string" && deletion.to > deletion.from) {
    const time = Date.parse(body.toString("latin1", deletion.from, deletion.to));
    if (!(time > Date.now())) throw new Fault("deleted");
  }
  return asked;
}

/** A header's value has to be a string in Node; the bytes are wiped. */
function headerOf(token: Buffer): string {
  const isText =
    token.length >= 1 &&
    token.length <= TOKEN_BYTES &&
    token.every((byte: number) => byte > 0x20 && byte < 0x7f);
  const text = token.toString("latin1");
  token.fill(0);
  if (!isText) throw new Fault("malformed", "token");
  return text;
}

function joined(before: string, middle: Uint8Array, after: string): Buffer {
  const whole = Buffer.allocUnsafeSlow(before.length + middle.length + after.length);
  whole.write(before, 0, "latin1");
  whole.set(middle, before.length);
  whole.write(after, before.length + middle.length, "latin1");
  return whole;
}
