import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server, type ServerOptions } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";

/**
 * A server that speaks what is used of the HTTP API of HashiCorp Vault and OpenBao: AppRole login, tokens with a time to live,
 * response wrapping, KV version 2 with metadata. Status codes and bodies as their API documentation gives them.
 */
type Version = { data: Record<string, unknown>; deleted: string; destroyed: boolean };
type Token = { expires: number; renewable: boolean; uses: "kv" | "unwrap" };
type Reply = { status: number; body: unknown; headers?: Record<string, string> };

export const ROLE_ID = "59d6d1ca-47bb-4e7e-a40b-8be3bc5a0ba8";

export class VaultServer {
  readonly requests: { method: string; path: string; headers: IncomingMessage["headers"] }[] = [];
  readonly tokens = new Map<string, Token>();
  readonly revoked: string[] = [];
  secretId = "84896a0c-1347-aa90-a4f6-aca8b7558780";
  mount = "secret";
  /** Of tokens, in seconds. */
  ttl = 3600;
  /** What a renewal gives at most. */
  renewedTtl = 3600;
  renewable = true;
  /** Paths whose metadata the policy does not let read. */
  metadataForbidden = false;
  forbidden = false;
  /** Answers in the server's place where it returns true. */
  fault: ((request: IncomingMessage, response: ServerResponse) => boolean) | undefined;
  readonly #secrets = new Map<string, Version[]>();
  readonly #wrapped = new Map<string, string>();
  #server: Server | undefined;

  /** Makes `ca.pem` (it signs itself) and its key in `dir`, for localhost and 127.0.0.1 or other names. */
  static certificate(dir: string, name = "ca", names = "DNS:localhost,IP:127.0.0.1", days = 2): void {
    execFileSync(
      "openssl",
      ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"].concat(
        ["-days", String(days), "-subj", "/CN=vault.test", "-addext", `subjectAltName=${names}`],
        ["-keyout", join(dir, `${name}.key`), "-out", join(dir, `${name}.pem`)],
      ),
      { stdio: "ignore" },
    );
  }

  async listen(dir: string, name = "ca", options: ServerOptions = {}): Promise<number> {
    const [key, cert] = ["key", "pem"].map((end) => readFileSync(join(dir, `${name}.${end}`)));
    const server = createServer({ key, cert, ...options }, (request, response) =>
      this.#serve(request, response),
    );
    // A client that refuses the certificate is no accident here.
    server.on("tlsClientError", () => undefined);
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return (server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    this.#server?.closeAllConnections();
    await new Promise((resolve) => this.#server?.close(resolve) ?? resolve(undefined));
  }

  put(path: string, data: Record<string, unknown>): number {
    const versions = this.#secrets.get(path) ?? [];
    versions.push({ data, deleted: "", destroyed: false });
    this.#secrets.set(path, versions);
    return versions.length;
  }

  delete(path: string, version: number, how: "deleted" | "destroyed" = "deleted"): void {
    const entry = this.#secrets.get(path)![version - 1]!;
    if (how === "destroyed") entry.destroyed = true;
    else entry.deleted = new Date(Date.now() - 1000).toISOString();
  }

  deleteAfter(path: string, version: number, time: Date): void {
    this.#secrets.get(path)![version - 1]!.deleted = time.toISOString();
  }

  /** A wrapping token for the present secret id. */
  wrap(): string {
    const token = `hvs.${randomBytes(12).toString("hex")}`;
    this.#wrapped.set(token, this.secretId);
    return token;
  }

  revokeAll(): void {
    this.tokens.clear();
  }

  count(path: RegExp): number {
    return this.requests.filter((one) => path.test(one.path)).length;
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    const path = request.url ?? "";
    this.requests.push({ method: request.method ?? "", path, headers: request.headers });
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      if (this.fault?.(request, response) === true) return;
      const { status, body, headers } = this.#answer(request, Buffer.concat(chunks).toString("utf8"));
      const text = body === null ? "" : `${JSON.stringify(body)}\n`;
      response.writeHead(status, { "content-type": "application/json", ...headers });
      response.end(text);
    });
  }

  #answer(request: IncomingMessage, text: string): Reply {
    const url = new URL(request.url ?? "", "https://vault");
    const path = url.pathname.replace(/^\/v1\//, "");
    const token = String(request.headers["x-vault-token"] ?? "");
    if (path === "auth/approle/login") return this.#login(JSON.parse(text));
    if (path === "sys/wrapping/unwrap") {
      const secretId = this.#wrapped.get(token);
      this.#wrapped.delete(token);
      if (secretId === undefined) return errors(400, "wrapping token is not valid or does not exist");
      return {
        status: 200,
        body: { data: { secret_id: secretId, secret_id_accessor: "a", secret_id_ttl: 0 } },
      };
    }
    const known = this.tokens.get(token);
    if (known === undefined || known.expires <= Date.now()) return errors(403, "permission denied");
    if (path === "auth/token/revoke-self") {
      this.tokens.delete(token);
      this.revoked.push(token);
      return { status: 204, body: null };
    }
    if (path === "auth/token/renew-self") {
      known.expires = Date.now() + this.renewedTtl * 1000;
      return { status: 200, body: this.#auth(token, this.renewedTtl) };
    }
    const [, what, ...rest] = new RegExp(`^${this.mount}/(data|metadata)/(.+)$`).exec(path) ?? [];
    if (what === undefined) return errors(404, `no handler for route "${path}". route entry not found.`);
    if (this.forbidden || (what === "metadata" && this.metadataForbidden))
      return errors(403, "1 error occurred:\n\t* permission denied\n\n");
    const versions = this.#secrets.get(decodeURIComponent(rest[0] ?? ""));
    if (versions === undefined) return errors(404);
    return what === "data" ? read(versions, url.searchParams.get("version")) : metadata(versions);
  }

  #login({ role_id, secret_id }: { role_id: string; secret_id: string }): Reply {
    if (role_id !== ROLE_ID || secret_id !== this.secretId) return errors(400, "invalid role or secret ID");
    const token = `hvs.${randomBytes(16).toString("hex")}`;
    this.tokens.set(token, {
      expires: Date.now() + this.ttl * 1000,
      renewable: this.renewable,
      uses: "kv",
    });
    return { status: 200, body: this.#auth(token, this.ttl) };
  }

  #auth(token: string, ttl: number): unknown {
    return {
      request_id: "8b1c",
      lease_id: "",
      renewable: false,
      lease_duration: 0,
      data: null,
      wrap_info: null,
      warnings: null,
      auth: {
        client_token: token,
        accessor: "acc",
        policies: ["default", "sallyport"],
        metadata: { role_name: "sallyport" },
        lease_duration: ttl,
        renewable: this.renewable,
      },
    };
  }
}

function read(versions: Version[], asked: string | null): Reply {
  const number = asked === null || asked === "0" ? versions.length : Number(asked);
  const version = versions[number - 1];
  if (version === undefined) return errors(404);
  const gone = version.destroyed || (version.deleted !== "" && Date.parse(version.deleted) <= Date.now());
  const told = {
    created_time: "2026-01-01T00:00:00.0Z",
    custom_metadata: null,
    deletion_time: version.deleted,
    destroyed: version.destroyed,
    version: number,
  };
  return { status: gone ? 404 : 200, body: { data: { data: gone ? null : version.data, metadata: told } } };
}

function metadata(versions: Version[]): Reply {
  const listed = versions.map(({ deleted, destroyed }, i) => [
    String(i + 1),
    { created_time: "2026-01-01T00:00:00.0Z", deletion_time: deleted, destroyed },
  ]);
  return {
    status: 200,
    body: { data: { current_version: versions.length, versions: Object.fromEntries(listed) } },
  };
}

function errors(status: number, ...texts: string[]): Reply {
  return { status, body: { errors: texts } };
}
