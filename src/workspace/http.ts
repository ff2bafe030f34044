import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { performance } from "node:perf_hooks";
import {
  type Answer,
  type Args,
  content,
  flag,
  type MethodContext,
  optionalString,
  SlackFailure,
} from "./args.ts";
import type { ApiFault, FaultPlan } from "./faults.ts";
import { METHODS } from "./methods.ts";
import { MAX_UPLOAD } from "./methods-files.ts";
import type { Call, Message, Metadata } from "./types.ts";

const MAX_BODY = 1024 * 1024;

interface Reply {
  status: number;
  body: string;
  type?: string;
  headers?: Record<string, string>;
}

/** The body was larger than the bound. */
class TooLarge extends Error {}

async function readBody(request: IncomingMessage, max: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > max) throw new TooLarge();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

async function parts(body: Buffer, type: string): Promise<FormData> {
  return new Response(new Uint8Array(body), { headers: { "content-type": type } }).formData();
}

async function parseArgs(request: IncomingMessage, url: URL, body: Buffer): Promise<Args> {
  const args: Args = Object.fromEntries(url.searchParams);
  const type = request.headers["content-type"] ?? "";
  if (body.length === 0) return args;
  if (type.startsWith("application/json")) {
    const value: unknown = JSON.parse(body.toString("utf8"));
    if (typeof value !== "object" || value === null || Array.isArray(value))
      throw new SlackFailure("json_not_object");
    return { ...args, ...value };
  }
  if (type.startsWith("multipart/form-data"))
    return { ...args, ...Object.fromEntries(await parts(body, type)) };
  return { ...args, ...Object.fromEntries(new URLSearchParams(body.toString("utf8"))) };
}

function nonceOf(args: Args): unknown {
  try {
    const raw = typeof args.metadata === "string" ? JSON.parse(args.metadata) : args.metadata;
    return (raw as Metadata | undefined)?.event_payload ?? null;
  } catch {
    return null;
  }
}

function json(answer: Answer, status = 200): Reply {
  return { status, body: JSON.stringify(answer), type: "application/json; charset=utf-8" };
}

/** Web API, upload and response_url endpoints over HTTP. */
export class WebServer {
  readonly server: Server;
  readonly #context: MethodContext;
  readonly #faults: FaultPlan;
  readonly #sockets = new Set<Socket>();
  #closed = false;

  constructor(context: MethodContext, faults: FaultPlan) {
    this.#context = context;
    this.#faults = faults;
    this.server = createServer((request, response) => {
      this.#handle(request, response).catch(() => response.destroy());
    });
    this.server.keepAliveTimeout = 60_000;
    this.server.on("connection", (socket) => {
      this.#sockets.add(socket);
      socket.once("close", () => this.#sockets.delete(socket));
    });
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", "http://127.0.0.1");
    const route = this.#route(url);
    if (route === undefined) {
      request.resume();
      response.writeHead(404).end();
      return;
    }
    const call = this.#log(route.name, request);
    const fault = this.#faults.takeApi(route.name);
    if (fault !== undefined && "resetBefore" in fault) return this.#reset(request, call);
    if (fault !== undefined && "hang" in fault) {
      request.resume();
      this.#context.state.changed();
      return;
    }
    const reply = await this.#answer(request, url, route.run, call, fault);
    if (fault !== undefined && "lostAfterEffect" in fault) return this.#reset(request, call);
    if (fault !== undefined && "delayMs" in fault)
      await new Promise((done) => setTimeout(done, fault.delayMs));
    if (this.#closed) return;
    call.ms = performance.now() - call.at;
    call.status = reply.status;
    const headers = { "content-type": reply.type ?? "text/plain", ...reply.headers };
    response.writeHead(reply.status, headers).end(reply.body);
    this.#context.state.changed();
  }

  #reset(request: IncomingMessage, call: Call): void {
    call.ms = performance.now() - call.at;
    request.socket.resetAndDestroy();
    this.#context.state.changed();
  }

  #log(method: string, request: IncomingMessage): Call {
    const { state } = this.#context;
    const call: Call = {
      method,
      at: performance.now(),
      ms: 0,
      args: {},
      token: this.#whose(request.headers.authorization?.replace(/^Bearer /i, "")),
      status: 0,
      ok: false,
      error: null,
      nonce: null,
      effect: false,
    };
    state.calls.push(call);
    return call;
  }

  #whose(token: string | undefined): Call["token"] {
    const { state } = this.#context;
    if (token === undefined || token === "") return "none";
    return token === state.botToken ? "bot" : token === state.appToken ? "app" : "other";
  }

  #route(
    url: URL,
  ): { name: string; run: (r: IncomingMessage, u: URL, call: Call) => Promise<Reply> } | undefined {
    const path = url.pathname;
    if (path.startsWith("/api/")) {
      const method = path.slice(5);
      return { name: method, run: (request, u, call) => this.#api(method, request, u, call) };
    }
    if (path.startsWith("/upload/v1/"))
      return { name: "upload", run: (request, u, call) => this.#upload(request, u, call) };
    if (path.startsWith("/commands/") || path.startsWith("/actions/")) {
      return { name: "response_url", run: (request, u, call) => this.#respond(request, u, call) };
    }
    return undefined;
  }

  async #answer(
    request: IncomingMessage,
    url: URL,
    run: (r: IncomingMessage, u: URL, call: Call) => Promise<Reply>,
    call: Call,
    fault: ApiFault | undefined,
  ): Promise<Reply> {
    if (fault !== undefined && ("error" in fault || "status" in fault || "garbage" in fault)) {
      request.resume();
      if ("error" in fault) {
        call.error = fault.error;
        return json({ ok: false, error: fault.error });
      }
      if ("garbage" in fault) return { status: 200, body: "<html>upstream</html>", type: "text/html" };
      call.error = `http_${fault.status}`;
      if (fault.status !== 429) return { status: fault.status, body: fault.body ?? "" };
      return this.#rateLimited(call, fault.retryAfter ?? 1);
    }
    try {
      return await run(request, url, call);
    } catch (error) {
      if (error instanceof TooLarge) {
        call.error = "request_too_large";
        return { ...json({ ok: false, error: "request_too_large" }, 413), headers: { connection: "close" } };
      }
      if (error instanceof SlackFailure && error.error === "ratelimited") return this.#rateLimited(call, 1);
      const known = error instanceof SlackFailure;
      call.error = known ? error.error : error instanceof SyntaxError ? "invalid_json" : "internal_error";
      return json(
        known ? error.answer : { ok: false, error: call.error },
        known || error instanceof SyntaxError ? 200 : 500,
      );
    }
  }

  #rateLimited(call: Call, seconds: number): Reply {
    call.error = "ratelimited";
    return { ...json({ ok: false, error: "ratelimited" }, 429), headers: { "retry-after": String(seconds) } };
  }

  async #api(name: string, request: IncomingMessage, url: URL, call: Call): Promise<Reply> {
    const args = await parseArgs(request, url, await readBody(request, MAX_BODY));
    const { token, ...rest } = args;
    call.args = rest;
    call.nonce = nonceOf(rest);
    if (call.token === "none" && typeof token === "string") call.token = this.#whose(token);
    const method = METHODS.get(name);
    if (method === undefined) throw new SlackFailure("unknown_method", { req_method: name });
    if (call.token === "none") throw new SlackFailure("not_authed");
    if (call.token === "other") throw new SlackFailure("invalid_auth");
    if (method.token !== "any" && method.token !== call.token)
      throw new SlackFailure("not_allowed_token_type");
    const { scopes } = this.#context.state;
    if (method.scope !== undefined && !scopes.has(method.scope)) {
      throw new SlackFailure("missing_scope", { needed: method.scope, provided: [...scopes].join(",") });
    }
    const answer = method.run(rest, this.#context);
    call.ok = true;
    call.effect = method.effect === true;
    return { ...json({ ok: true, ...answer }), headers: { "x-oauth-scopes": [...scopes].join(",") } };
  }

  async #upload(request: IncomingMessage, url: URL, call: Call): Promise<Reply> {
    const file = this.#context.state.files.find((f) => f.id === url.pathname.slice("/upload/v1/".length));
    if (file === undefined || file.bytes !== null) return { status: 404, body: "no such upload" };
    const body = await readBody(request, MAX_UPLOAD);
    const type = request.headers["content-type"] ?? "";
    let bytes = body;
    if (type.startsWith("multipart/form-data")) {
      const part = [...(await parts(body, type)).values()][0];
      if (typeof part === "object") bytes = Buffer.from(await part.arrayBuffer());
      else bytes = Buffer.from(part ?? "");
    }
    if (bytes.length !== file.announcedLength)
      return { status: 400, body: "length differs from the announced one" };
    file.bytes = bytes;
    call.ok = true;
    call.effect = true;
    return { status: 200, body: `OK - ${bytes.length}` };
  }

  async #respond(request: IncomingMessage, url: URL, call: Call): Promise<Reply> {
    const { state, responseUrls } = this.#context;
    const args = await parseArgs(request, url, await readBody(request, MAX_BODY));
    call.args = args;
    const found = responseUrls.look(url.pathname);
    if ("error" in found) {
      call.error = found.error;
      return json({ ok: false, error: found.error }, 404);
    }
    found.use();
    const { target } = found;
    const { original } = target;
    const { text, blocks } = content(args, false);
    call.ok = true;
    call.effect = true;
    if (flag(args, "delete_original") === true && original !== null) {
      state.remove(original);
    } else if (flag(args, "replace_original") === true && original !== null) {
      state.update(original, {
        ...(text === undefined ? {} : { text }),
        ...(blocks === undefined ? {} : { blocks }),
      });
      target.onMessage(original);
    } else {
      if (text === undefined && (blocks === undefined || blocks.length === 0))
        throw new SlackFailure("no_text");
      const message: Message = state.post({
        channel: target.channel,
        user: state.bot.userId,
        botId: state.bot.botId,
        text: text ?? "",
        ...(blocks === undefined ? {} : { blocks }),
        threadTs: optionalString(args, "thread_ts") ?? null,
        ephemeralFor: args.response_type === "in_channel" ? null : target.user,
        via: "response_url",
      });
      target.original ??= message;
      target.onMessage(message);
    }
    return { status: 200, body: "ok" };
  }

  listen(port: number): Promise<number> {
    return new Promise((resolve, reject) => {
      this.server.once("error", reject);
      this.server.listen(port, "127.0.0.1", () => {
        const address = this.server.address();
        resolve(typeof address === "object" && address !== null ? address.port : port);
      });
    });
  }

  close(): Promise<void> {
    this.#closed = true;
    return new Promise((resolve) => {
      this.server.close(() => resolve());
      for (const socket of this.#sockets) socket.destroy();
    });
  }
}
