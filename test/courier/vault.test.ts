import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import type { VaultFault } from "../../src/core/vault-faults.ts";
import { Fault } from "../../src/courier/request.ts";
import { type Place, Vault } from "../../src/courier/vault.ts";
import type { VaultPlace } from "../../src/host/vault-shape.ts";
import { ROLE_ID, VaultServer } from "./vault-server.ts";

/** The courier's client against a real server over TLS. */
t.setTimeout(120_000);
if (spawnSync("openssl", ["version"]).status !== 0) {
  t.test("outside vaults", { skip: "openssl is not installed" }, async () => {});
  process.exit();
}

const dir = mkdtempSync(join(tmpdir(), "sallyport-vault-"));
t.teardown(() => rmSync(dir, { recursive: true }));
VaultServer.certificate(dir);
VaultServer.certificate(dir, "other");
VaultServer.certificate(dir, "elsewhere", "DNS:elsewhere.test");

const PLACE: Place = { path: "app/deploy", key: "password", version: null };
const VALUE = 'correct "horse"\nbattery \\ stäple 🐴';

type T = { teardown(call: () => unknown): void };
type Rig = { server: VaultServer; vault: Vault; port: number; place: VaultPlace; clock: { ahead: number } };

async function rig(t: T, more: Partial<VaultPlace> = {}, name = "ca"): Promise<Rig> {
  const server = new VaultServer();
  const port = await server.listen(dir, name);
  t.teardown(() => server.close());
  server.put("app/deploy", { user: "deploy", password: "the first" });
  server.put("app/deploy", { user: "deploy", password: VALUE, port: 5432, nested: { password: "no" } });
  const place = {
    address: `https://localhost:${port}`,
    ca: join(dir, "ca.pem"),
    namespace: null,
    mount: "secret",
    auth: "approle",
    ...more,
  };
  const clock = { ahead: 0 };
  const vault = new Vault(place, () => Date.now() + clock.ahead);
  vault.use({ roleId: ROLE_ID, secretId: Buffer.from(server.secretId) });
  return { server, vault, port, place, clock };
}

const faultOf = (work: Promise<unknown>): Promise<VaultFault | "none"> =>
  work.then(
    () => "none" as const,
    (error: unknown) => {
      if (error instanceof Fault) return error.fault;
      throw error;
    },
  );

t.test("a value comes as its bytes, with its version", async (t) => {
  const { server, vault } = await rig(t);
  const { version, value } = await vault.fetch(PLACE);
  t.equal(version, 2);
  t.equal(value.toString("utf8"), VALUE);
  t.equal(value.buffer.byteLength, value.length, "in memory of its own");
  t.equal((await vault.fetch({ ...PLACE, version: 1 })).value.toString(), "the first");
  t.equal(await vault.look(PLACE), 2);
  t.equal(await vault.look({ ...PLACE, version: 1 }), 1);
  t.equal(server.count(/login/), 1, "one token for all of it");
  t.equal(server.count(/\/metadata\//), 2, "a look asks for no value");
  t.match(server.requests[1]?.headers, { "x-vault-request": "true" });
  t.equal(server.requests[1]?.headers["x-vault-namespace"], undefined);
});

t.test("what is where is as root says", async (t) => {
  const { server, vault } = await rig(t, { namespace: "team/a", mount: "kv/ops" });
  server.mount = "kv/ops";
  t.equal((await vault.fetch(PLACE)).version, 2);
  t.match(server.requests.at(-1), {
    path: "/v1/kv/ops/data/app/deploy",
    headers: { "x-vault-namespace": "team/a" },
  });
  server.put("a@b/c+d", { password: "with care" });
  t.equal((await vault.fetch({ ...PLACE, path: "a@b/c+d" })).value.toString(), "with care");
});

t.test("an address without a name is verified too", async (t) => {
  const { vault, port } = await rig(t);
  t.equal((await vault.fetch(PLACE)).version, 2);
  const { vault: other } = await rig(t, { address: `https://127.0.0.1:${port}` });
  t.equal((await other.fetch(PLACE)).version, 2);
});

t.test("tokens: renewed in time, entered anew, revoked at the end", async (t) => {
  const { server, vault, clock } = await rig(t);
  await vault.fetch(PLACE);
  clock.ahead = 2500 * 1000;
  await vault.fetch(PLACE);
  t.equal(server.count(/renew-self/), 1, "with less than a third of its time left");
  t.equal(server.count(/login/), 1);
  // Its longest time is near: what is left of it is not worth keeping.
  server.renewedTtl = 60;
  clock.ahead += 2500 * 1000;
  await vault.fetch(PLACE);
  t.equal(server.count(/login/), 2);
  clock.ahead += 7200 * 1000;
  await vault.fetch(PLACE);
  t.equal(server.count(/login/), 3, "expired");
  t.equal(server.count(/renew-self/), 2, "an expired token is not renewed");
  const last = [...server.tokens.keys()].at(-1)!;
  await vault.end();
  t.ok(server.revoked.includes(last));
  t.equal(await faultOf(vault.fetch(PLACE)), "no_login", "nothing is left to enter with");
});

t.test("many questions at once log in once", async (t) => {
  const { server, vault } = await rig(t);
  await Promise.all(Array.from({ length: 12 }, () => vault.fetch(PLACE)));
  t.equal(server.count(/login/), 1);
});

t.test("a token that was revoked is replaced once; a policy that says no stays a no", async (t) => {
  const { server, vault } = await rig(t);
  await vault.fetch(PLACE);
  server.revokeAll();
  t.equal((await vault.fetch(PLACE)).version, 2);
  t.equal(server.count(/login/), 2);
  server.forbidden = true;
  t.equal(await faultOf(vault.fetch(PLACE)), "forbidden");
  t.equal(server.count(/login/), 3, "one more try, no more");
  t.equal(await faultOf(vault.look(PLACE)), "forbidden");
});

t.test("without the right to read metadata a look reads the secret, and keeps nothing of it", async (t) => {
  const { server, vault } = await rig(t);
  server.metadataForbidden = true;
  t.equal(await vault.look(PLACE), 2);
  t.equal(server.count(/\/data\//), 1);
  t.equal(server.count(/login/), 1);
});

t.test("versions that are gone", async (t) => {
  const { server, vault } = await rig(t);
  server.delete("app/deploy", 1);
  const first = { ...PLACE, version: 1 };
  t.equal(await faultOf(vault.fetch(first)), "deleted");
  t.equal(await faultOf(vault.look(first)), "deleted");
  server.delete("app/deploy", 2, "destroyed");
  t.equal(await faultOf(vault.fetch(PLACE)), "deleted");
  t.equal(await faultOf(vault.look(PLACE)), "deleted");
  t.equal(await faultOf(vault.look({ ...PLACE, version: 9 })), "deleted");
  t.equal(await faultOf(vault.fetch({ ...PLACE, version: 9 })), "not_found");
  server.put("app/later", { password: "for now" });
  server.deleteAfter("app/later", 1, new Date(Date.now() + 3600_000));
  t.equal(await vault.look({ ...PLACE, path: "app/later" }), 1, "it will be deleted, and is not yet");
});

t.test("what is not there", async (t) => {
  const { vault } = await rig(t);
  t.equal(await faultOf(vault.fetch({ ...PLACE, path: "app/none" })), "not_found");
  t.equal(await faultOf(vault.look({ ...PLACE, path: "app/none" })), "not_found");
  t.equal(await faultOf(vault.fetch({ ...PLACE, key: "Password" })), "no_key");
  t.equal(await faultOf(vault.fetch({ ...PLACE, key: "port" })), "not_text");
  t.equal(await faultOf(vault.fetch({ ...PLACE, key: "nested" })), "not_text");
  const { vault: elsewhere } = await rig(t, { mount: "kv" });
  t.equal(await faultOf(elsewhere.fetch(PLACE)), "not_found");
});

t.test("credentials: tried before they count, unwrapped once", async (t) => {
  const { server, vault } = await rig(t);
  const wrong = { roleId: ROLE_ID, secretId: Buffer.from("wrong") };
  t.equal(await faultOf(vault.login(wrong)), "login_refused");
  t.same(wrong.secretId, Buffer.alloc(5), "wiped");
  t.equal((await vault.fetch(PLACE)).version, 2, "the one before still counts");
  const wrapping = server.wrap();
  const secretId = await vault.unwrap(Buffer.from(wrapping));
  t.equal(secretId.toString(), server.secretId);
  t.equal(await faultOf(vault.unwrap(Buffer.from(wrapping))), "unwrap_refused", "somebody was there before");
  await vault.login({ roleId: ROLE_ID, secretId });
  server.secretId = "another";
  server.revokeAll();
  t.equal(await faultOf(vault.fetch(PLACE)), "login_refused");
});

t.test("a vault that does not prove who it is gets nothing", async (t) => {
  const wrong: [string, Partial<VaultPlace>, string?][] = [
    ["signed by somebody else", { ca: join(dir, "other.pem") }],
    ["of another name", { ca: join(dir, "elsewhere.pem") }, "elsewhere"],
    ["no CA of ours: the system's does not know it", { ca: null }],
  ];
  for (const [name, place, certificate] of wrong) {
    const { server, vault } = await rig(t, place, certificate);
    t.match(await faultOf(vault.fetch(PLACE)), place.ca === null ? /^(tls|no_ca)$/ : "tls", name);
    t.equal(server.requests.length, 0, "not a byte of a request");
  }
  const { vault } = await rig(t, { ca: join(dir, "none.pem") });
  t.equal(await faultOf(vault.fetch(PLACE)), "no_ca");
  const old = new VaultServer();
  const port = await old.listen(dir, "ca", {
    minVersion: "TLSv1.1",
    maxVersion: "TLSv1.1",
    ciphers: "DEFAULT@SECLEVEL=0",
  });
  t.teardown(() => old.close());
  const { vault: dated } = await rig(t, { address: `https://localhost:${port}` });
  t.equal(await faultOf(dated.fetch(PLACE)), "tls", "TLS 1.1");
});

t.test("outages", async (t) => {
  const { server, vault, port } = await rig(t);
  const json = { "content-type": "application/json" };
  const body = '{"data":{"data":{"password":"x"},"metadata":{"version":2}}}';
  const statuses: [number, VaultFault][] = [
    [204, "malformed"],
    [400, "malformed"],
    [429, "limited"],
    [473, "malformed"],
    [500, "unavailable"],
    [502, "unavailable"],
    [503, "unavailable"],
  ];
  for (const status of [301, 302, 307, 308]) statuses.push([status, "redirected"]);
  let led = 0;
  const away = new VaultServer();
  away.fault = () => {
    led++;
    return false;
  };
  const awayPort = await away.listen(dir);
  t.teardown(() => away.close());
  await vault.fetch(PLACE);
  for (const [status, fault] of statuses) {
    server.fault = (_, response) => {
      response.writeHead(status, { ...json, location: `https://localhost:${awayPort}/v1/` }).end(body);
      return true;
    };
    t.equal(await faultOf(vault.fetch(PLACE)), fault, String(status));
    t.equal(await faultOf(vault.look(PLACE)), fault, String(status));
  }
  t.equal(led, 0, "no redirect was followed");

  const bodies: [string, VaultFault | "none"][] = [
    [body, "none"],
    ["", "malformed"],
    ["<html>a proxy's page</html>", "malformed"],
    [body.slice(0, -1), "malformed"],
    [`${body}x`, "malformed"],
    ['{"data":{"data":{"password":"a","password":"b"},"metadata":{"version":2}}}', "malformed"],
    ['{"data":{"data":{"password":"\\ud800"},"metadata":{"version":2}}}', "malformed"],
    ['{"data":{"data":{"password":"x"},"metadata":{"version":"2"}}}', "malformed"],
    ['{"data":{"data":{"password":"x"}}}', "malformed"],
    ['{"data":{"data":["password"],"metadata":{"version":2}}}', "malformed"],
    ["[".repeat(100_000), "malformed"],
    [body.replace('"x"', `"${"x".repeat(65_536)}"`), "none"],
    [body.replace('"x"', `"${"x".repeat(65_537)}"`), "too_large"],
    [body.replace('"x"', `"${"x".repeat(300_000)}"`), "too_large"],
  ];
  for (const [text, fault] of bodies) {
    for (const chunked of [false, true]) {
      server.fault = (_, response) => {
        response.writeHead(200, { ...json, ...(chunked ? {} : { "content-length": text.length }) });
        if (chunked) response.write(text.slice(0, 10));
        response.end(chunked ? text.slice(10) : text);
        return true;
      };
      t.equal(await faultOf(vault.fetch(PLACE)), fault, text.slice(0, 90));
    }
  }
  server.fault = (_, response) => {
    response.writeHead(200, { ...json, "content-encoding": "gzip" }).end(body);
    return true;
  };
  t.equal(await faultOf(vault.fetch(PLACE)), "malformed", "compressed");
  server.fault = (_, response) => {
    response.writeHead(200, { ...json, "content-length": 1000 });
    response.write(body, () => response.destroy());
    return true;
  };
  t.match(await faultOf(vault.fetch(PLACE)), /^(malformed|unreachable)$/, "cut off");
  server.fault = (_, response) => {
    response.writeHead(200, { ...json, "x-long": "x".repeat(20_000) }).end(body);
    return true;
  };
  t.equal(await faultOf(vault.fetch(PLACE)), "malformed", "headers of 20 kB");
  server.fault = () => true;
  t.equal(await faultOf(vault.fetch(PLACE)), "timeout", "no answer");
  server.fault = undefined;
  t.equal((await vault.fetch(PLACE)).version, 2, "it is back");
  await server.close();
  t.equal(await faultOf(vault.fetch(PLACE)), "unreachable", `nobody listens on ${port}`);

  const plain: Server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.end("HTTP/1.1 400 Bad Request\r\n\r\n");
  });
  await new Promise<void>((resolve) => plain.listen(0, "127.0.0.1", resolve));
  t.teardown(() => plain.close());
  const address = `https://localhost:${(plain.address() as { port: number }).port}`;
  const { vault: clear } = await rig(t, { address });
  t.equal(await faultOf(clear.fetch(PLACE)), "tls", "no TLS at all");
});
