import { readFileSync } from "node:fs";
import type { IncomingMessage } from "node:http";
import { Agent, request } from "node:https";
import { isIP } from "node:net";
import type { VaultFault } from "../core/vault-faults.ts";

/** Bytes of an answer. */
const ANSWER_BYTES = 256 * 1024;
const HEADER_BYTES = 16 * 1024;

/** Why a vault gave nothing. `detail`: an error's code or an HTTP status, never what the vault said. */
export class Fault extends Error {
  override readonly name = "Fault";
  readonly fault: VaultFault;
  readonly detail: string | null;

  constructor(fault: VaultFault, detail: string | null = null, options?: { cause?: unknown }) {
    super(fault, options);
    this.fault = fault;
    this.detail = detail;
  }
}

/** The caller wipes the body. */
export type Answer = { status: number; body: Buffer };

export type Asked = {
  method: "GET" | "POST";
  /** With its query. */
  path: string;
  headers: Readonly<Record<string, string>>;
  /** Wiped once it is sent. */
  body?: Buffer;
  signal: AbortSignal;
};

/** Where distributions keep the certificates that they trust. */
const SYSTEM_CAS = [
  "/etc/ssl/certs/ca-certificates.crt",
  "/etc/pki/tls/certs/ca-bundle.crt",
  "/etc/ssl/cert.pem",
];

/**
 * HTTPS to one vault and to nothing else: TLS of 1.2 or newer, its name checked against the CA that root named (else the
 * system's), a connection of its own for each request, no proxy, no redirect followed.
 */
export class Endpoint {
  readonly #host: string;
  readonly #port: number;
  readonly #ca: readonly string[];
  #agent: Agent | undefined;

  constructor(o: { address: string; ca: string | null }) {
    const url = new URL(o.address);
    this.#host = url.hostname.replace(/^\[|\]$/g, "");
    this.#port = url.port === "" ? 443 : Number(url.port);
    this.#ca = o.ca === null ? SYSTEM_CAS : [o.ca];
  }

  /** Throws Fault. */
  async ask(o: Asked): Promise<Answer> {
    try {
      return await this.#exchange(o);
    } catch (error) {
      throw faultOf(error, o.signal);
    } finally {
      o.body?.fill(0);
    }
  }

  #exchange(o: Asked): Promise<Answer> {
    const agent = this.#connections();
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    const sent = request(
      {
        agent,
        host: this.#host,
        port: this.#port,
        method: o.method,
        path: o.path,
        headers: {
          ...o.headers,
          ...(o.body === undefined
            ? {}
            : { "content-type": "application/json", "content-length": o.body.length }),
        },
        maxHeaderSize: HEADER_BYTES,
        insecureHTTPParser: false,
        signal: o.signal,
      },
      (response) => {
        read(response).then(resolve, (error: unknown) => {
          sent.destroy();
          reject(error);
        });
      },
    );
    // The parser has copied what it needs by then: its listener came first.
    sent.on("socket", (socket) => socket.on("data", (chunk: Buffer) => chunk.fill(0)));
    sent.on("error", reject);
    sent.end(o.body);
    return promise;
  }

  #connections(): Agent {
    this.#agent ??= new Agent({
      keepAlive: false,
      maxCachedSessions: 0,
      ca: this.#readCa(),
      minVersion: "TLSv1.2",
      rejectUnauthorized: true,
      // RFC 6066: an address is no server name.
      ...(isIP(this.#host) === 0 ? { servername: this.#host } : {}),
    });
    return this.#agent;
  }

  #readCa(): string {
    for (const file of this.#ca) {
      try {
        const text = readFileSync(file, "latin1");
        if (text.includes("-----BEGIN CERTIFICATE-----")) return text;
      } catch {
        // The next of them, or none.
      }
    }
    throw new Fault("no_ca");
  }
}

/** Each chunk is copied once, into a buffer that the caller wipes, and overwritten. */
async function read(response: IncomingMessage): Promise<Answer> {
  const encoded = response.headers["content-encoding"];
  if (encoded !== undefined && encoded !== "identity") throw new Fault("malformed", "content-encoding");
  if (Number(response.headers["content-length"] ?? 0) > ANSWER_BYTES) throw new Fault("too_large");
  const whole = Buffer.allocUnsafeSlow(ANSWER_BYTES);
  let length = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      const tooLarge = length + chunk.length > ANSWER_BYTES;
      if (!tooLarge) length += chunk.copy(whole, length);
      chunk.fill(0);
      if (tooLarge) throw new Fault("too_large");
    }
    if (!response.complete) throw new Fault("malformed", "cut off");
    const body = Buffer.allocUnsafeSlow(length);
    whole.copy(body, 0, 0, length);
    return { status: response.statusCode ?? 0, body };
  } finally {
    whole.fill(0);
  }
}

function faultOf(error: unknown, signal: AbortSignal): Fault {
  if (error instanceof Fault) return error;
  if (signal.aborted) return new Fault("timeout", null, { cause: error });
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  const detail = /^[A-Z0-9_]{1,60}$/.test(code) ? code : null;
  if (code.startsWith("HPE_")) return new Fault("malformed", detail, { cause: error });
  const isTls =
    /^(ERR_TLS|ERR_SSL|ERR_OSSL|CERT_|EPROTO$|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|HOSTNAME_|INVALID_)/;
  if (isTls.test(code)) return new Fault("tls", detail, { cause: error });
  const isOurs = code === "" || (code.startsWith("ERR_") && code !== "ERR_STREAM_PREMATURE_CLOSE");
  return new Fault(isOurs ? "internal" : "unreachable", detail, { cause: error });
}
