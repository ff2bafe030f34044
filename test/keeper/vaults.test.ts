import t from "tap";
import { SallyportError } from "../../src/core/errors.ts";
import { Secret } from "../../src/core/secret.ts";
import type { VaultSource } from "../../src/core/vault-source.ts";
import { VaultClient } from "../../src/keeper/vaults.ts";
import type { Store } from "../../src/store/store.ts";
import type { Message, MessageOf } from "../../src/wire/messages.ts";

/** What the keeper asks of the courier, and what it believes of its answers. */

const SOURCE: VaultSource = { vault: "corp", path: "app/deploy", key: "password", version: null };
const ABOUT = { actor: { kind: "system" }, run: "r-0001", op: "web/x", namespace: "web" } as const;

class Rig {
  readonly sent: { message: Message; part: string | undefined }[] = [];
  readonly logged: Record<string, unknown>[] = [];
  readonly settings = new Map<string, Buffer>();
  connected = true;
  readonly client = new VaultClient({
    store: {
      read: {
        get: async (_: string, [key]: [string]) => {
          const value = this.settings.get(key);
          return value === undefined ? undefined : { value: Buffer.from(value) };
        },
      },
      mutate: async (fn: (tx: unknown) => unknown) =>
        fn({
          log: (event: Record<string, unknown>) => this.logged.push(event),
          run: async (sql: string, [key, value]: [string, Uint8Array]) => {
            if (!sql.startsWith("DELETE")) this.settings.set(key, Buffer.from(value));
            return 1;
          },
        }),
    } as unknown as Store,
    peers: {
      send: (_role, message, parts = []) => {
        if (!this.connected) return false;
        const [part] = parts;
        const text = part instanceof Secret ? part.use((bytes) => Buffer.from(bytes).toString()) : undefined;
        if (part instanceof Secret) part.wipe();
        this.sent.push({ message: message as Message, part: text });
        return true;
      },
    },
    vaults: new Map([["corp", "https://vault.internal:8200"]]),
  });

  get id(): number {
    return (this.sent.at(-1)!.message as MessageOf<"courier.fetch">).id;
  }

  async answer(make: (id: number) => Message, parts: Buffer[] = []): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    this.client.receive(make(this.id), parts);
  }
}

const part = (text: string): Buffer => {
  const bytes = Buffer.allocUnsafeSlow(Buffer.byteLength(text));
  bytes.write(text);
  return bytes;
};
const fetched =
  (version: number) =>
  (id: number): Message => ({ type: "courier.fetched", id, version });
const failed = (code: string, text: RegExp) => (error: unknown) =>
  error instanceof SallyportError && error.code === code && text.test(error.message);

async function rejects(
  t: { ok(value: unknown, name: string): unknown },
  work: Promise<unknown>,
  is: (error: unknown) => boolean,
  name: string,
) {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  t.ok(is(error), `${name}: ${error}`);
}

t.test("a value is the run's own, under the version that was approved", async (t) => {
  const rig = new Rig();
  const work = rig.client.fetch(SOURCE, ABOUT, "7");
  await rig.answer(fetched(7), [part("the value")]);
  const { version, value } = await work;
  t.equal(version, "7");
  t.equal(
    value.use((bytes) => Buffer.from(bytes).toString()),
    "the value",
  );
  t.same(rig.sent[0]?.message, { type: "courier.fetch", id: 1, ...SOURCE });

  const changed = part("the next value");
  const late = rig.client.fetch(SOURCE, ABOUT, "7");
  await rig.answer(fetched(8), [changed]);
  await rejects(t, late, failed("conflict", /at version 8 .* 7 is what was approved/), "another version");
  t.same(changed, Buffer.alloc(changed.length), "it is wiped");
});

t.test("what can't be kept out of output is not handed on", async (t) => {
  for (const text of ["", "abc", "true", "Password"]) {
    const rig = new Rig();
    const value = part(text);
    const work = rig.client.fetch(SOURCE, ABOUT);
    await rig.answer(fetched(1), [value]);
    await rejects(t, work, failed("vault_failed", /can't be kept out of an Op's output/), text);
    t.same(value, Buffer.alloc(value.length));
    t.match(rig.logged, [{ type: "vault.failed", run: "r-0001", data: { fault: "unfit" } }]);
  }
});

t.test("a failure is logged before it is told; nobody else's words are in it", async (t) => {
  const rig = new Rig();
  const work = rig.client.version(SOURCE, ABOUT);
  await rig.answer((id) => ({ type: "courier.failed", id, fault: "tls", detail: "CERT_HAS_EXPIRED" }));
  await rejects(
    t,
    work,
    failed(
      "vault_failed",
      /The vault corp \(https:\/\/vault.internal:8200\) does not prove who it is.*CERT_HAS/,
    ),
    "tls",
  );
  t.match(rig.logged, [
    {
      type: "vault.failed",
      outcome: "failure",
      run: "r-0001",
      op: "web/x",
      data: { vault: "corp", fault: "tls", detail: "CERT_HAS_EXPIRED" },
    },
  ]);
});

t.test("a courier that is away, or goes", async (t) => {
  const rig = new Rig();
  const work = rig.client.fetch(SOURCE, ABOUT);
  await new Promise((resolve) => setImmediate(resolve));
  rig.client.lost();
  await rejects(t, work, failed("vault_failed", /the courier/), "it ended");
  rig.connected = false;
  await rejects(t, rig.client.fetch(SOURCE, ABOUT), failed("vault_failed", /the courier/), "it is not there");
  const stray = part("nobody asked");
  rig.client.receive(fetched(1)(99), [stray]);
  t.same(stray, Buffer.alloc(stray.length), "what nobody asked for is wiped");
});

t.test("an answer to another question is none", async (t) => {
  const rig = new Rig();
  const value = part("the value");
  const work = rig.client.version(SOURCE, ABOUT);
  await rig.answer(fetched(1), [value]);
  await rejects(t, work, failed("vault_failed", /the courier failed/), "a value where a version was asked");
  t.same(value, Buffer.alloc(value.length));
});

t.test("sources", async (t) => {
  const { client } = new Rig();
  for (const path of ["", "/a", "a/", "a//b", "../sys", "a/./b", "a/..", "a?b", "a%2e", "a b", "ä", "a\n"])
    t.throws(() => client.check({ ...SOURCE, path }), { code: "input_invalid" }, JSON.stringify(path));
  for (const key of ["", "a\nb", "x".repeat(129)])
    t.throws(() => client.check({ ...SOURCE, key }), { code: "input_invalid" }, JSON.stringify(key));
  for (const version of [0, -1, 1.5, Number.NaN, 2 ** 31])
    t.throws(() => client.check({ ...SOURCE, version }), { code: "input_invalid" }, String(version));
  t.throws(() => client.check({ ...SOURCE, vault: "other" }), /no vault other \(it names corp\)/);
  t.ok(client.check({ ...SOURCE, path: "a.b/c-d_e/f@g+h~i", key: "Überschrift 1", version: 3 }));
});

t.test("credentials are kept only where the vault took them", async (t) => {
  const rig = new Rig();
  const login = (text: string, wrapped: boolean) =>
    rig.client.login("corp", { roleId: "role", secretId: part(text), wrapped }, ABOUT.actor);
  const refused = login("wrong", false);
  await rig.answer((id) => ({ type: "courier.failed", id, fault: "login_refused", detail: "400" }));
  await rejects(t, refused, failed("vault_failed", /sallyport vault login corp/), "refused");
  t.equal(rig.settings.size, 0);
  t.match(rig.logged, [{ type: "vault.login", outcome: "failure", data: { fault: "login_refused" } }]);

  const secretId = part("right");
  const taken = rig.client.login("corp", { roleId: "role", secretId, wrapped: false }, ABOUT.actor);
  await rig.answer((id) => ({ type: "courier.logged_in", id }));
  await taken;
  t.equal(rig.sent.at(-1)?.part, "right");
  t.same(secretId, Buffer.alloc(5), "wiped");
  t.equal(rig.settings.get("vault.corp.secret_id")?.toString(), "right");

  const unwrapped = login("a wrapping token", true);
  await rig.answer((id) => ({ type: "courier.logged_in", id }), [part("what it stood for")]);
  await unwrapped;
  t.equal(rig.settings.get("vault.corp.secret_id")?.toString(), "what it stood for");

  await rig.client.joined();
  t.match(rig.sent.at(-1), {
    message: { type: "courier.login", vault: "corp", roleId: "role", now: false },
    part: "what it stood for",
  });
});
