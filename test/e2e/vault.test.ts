import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { ROLE_ID, VaultServer } from "../courier/vault-server.ts";
import { needsRoot, OTHER_ACCOUNT, TestAppliance, until } from "./appliance.ts";
import { findInMemory } from "./memory.ts";
import { rolePid, signalRole } from "./processes.ts";
import { opFolder } from "./slack-rig.ts";

/** A live appliance beside a server that speaks KV version 2 over TLS. */
t.setTimeout(240_000);
if (spawnSync("openssl", ["version"]).status !== 0) {
  t.test("outside vaults", { skip: "openssl is not installed" }, async () => {});
  process.exit();
}

const appliance = new TestAppliance();
const server = new VaultServer();
t.teardown(async () => {
  await appliance.stop();
  await server.close();
});
const CANARY = "canary-7d1f0e2b5a9c4388-of-the-vault";
const KEPT = ["app/deploy", "--key", "password"];
type Status = { roles: Record<string, boolean>; landlock: Record<string, string> };

const status = async () => (await appliance.ok(["status", "--json"])).json() as Status;
const login = (secretId: string, ...more: string[]) =>
  appliance.cli(["vault", "login", "corp", "--role-id", ROLE_ID, "--value-fd", "3", ...more], secretId);
const check = (...more: string[]) => appliance.cli(["vault", "check", "corp", ...KEPT, ...more]);
const logged = async (type: string) =>
  (
    (await appliance.ok(["audit", "log", "--type", type, "--json"])).json() as {
      entries: { entry: { outcome: string; data: Record<string, unknown>; reason?: string } }[];
    }
  ).entries.map(({ entry }) => entry);

t.before(async () => {
  VaultServer.certificate(appliance.dir);
  const port = await server.listen(appliance.dir);
  server.put("app/deploy", { password: CANARY });
  appliance.configure(
    `limits: best-effort\nvaults:\n  corp: {address: "https://localhost:${port}", ca: ${join(appliance.dir, "ca.pem")}}\n`,
  );
  await appliance.init();
  await appliance.serve();
  await appliance.unlock();
  await until(
    async () => (await status()).roles.courier === true,
    20_000,
    () => appliance.log,
  );
});

t.test("the courier is a role like the others", async (t) => {
  t.match((await status()).landlock.courier, /^(abi=|refused=|absent)/);
  const report = await appliance.cli(["doctor", "--json"]);
  const { checks } = report.json() as { checks: { name: string; ok: boolean }[] };
  t.match(
    checks.find(({ name }) => name === "courier"),
    { ok: true },
  );
});

t.test("a credential is tried before it is kept", async (t) => {
  const none = await check();
  t.equal(none.status, 1);
  t.match(none.stderr, /The vault corp .* has no credential here.*sallyport vault login corp/);
  const wrong = await login("wrong-secret-id");
  t.equal(wrong.status, 1);
  t.match(wrong.stderr, /refused the AppRole credential/);
  t.match((await appliance.ok(["vault", "list"])).stdout, /no credential/);
  t.equal((await login(server.secretId)).status, 0);
  t.match((await appliance.ok(["vault", "list"])).stdout, /credential kept/);
  t.match(await logged("vault.login"), [{ outcome: "failure" }, { outcome: "success" }]);
  const unknown = await appliance.cli(["vault", "login", "x", "--role-id", "r", "--value-fd", "3"], "s");
  t.match(unknown.stderr, /sallyport.yaml has no vault x \(it names corp\)/);
});

t.test("a value is fetched, and only its version told", async (t) => {
  const said = await check();
  t.equal(said.status, 0, said.stderr);
  t.equal(said.stdout.trim(), "corp:app/deploy#password@1 can be fetched.");
  t.match((await check("--version", "9")).stderr, /has no secret at that path/);
  t.match((await appliance.cli(["vault", "check", "corp", "../sys", "--key", "k"])).stderr, /--path is/);
  t.equal((await logged("vault.failed")).length, 2);
});

t.test("its outage is a clear error; what was fetched before is nowhere kept", async (t) => {
  server.fault = (_, response) => {
    response.writeHead(503).end('{"errors":["Vault is sealed"]}');
    return true;
  };
  const said = await check();
  t.equal(said.status, 1);
  t.match(said.stderr, /A secret could not be fetched from its vault.*Is it sealed, or in trouble\? \(503\)/);
  server.fault = undefined;
  t.equal((await check()).status, 0);
  t.match((await logged("vault.failed")).at(-1), {
    data: { vault: "corp", fault: "unavailable", detail: "503" },
  });
});

t.test("a courier that was killed comes back with the credential", async (_t) => {
  const before = await signalRole(appliance.serving?.pid, "courier", "SIGKILL");
  await until(
    async () => {
      const pid = rolePid(appliance.serving!.pid!, "courier");
      return pid !== undefined && pid !== before && (await status()).roles.courier === true;
    },
    20_000,
    () => appliance.log,
  );
  await until(async () => (await check()).status === 0, 10_000);
});

t.test(
  "a secret of a namespace stays in the vault: fetched for each run, bound by version, kept nowhere",
  async (t) => {
    await appliance.ok(["namespace", "add", "demo"]);
    await appliance.publish(
      opFolder(
        appliance,
        'op: demo/uses\nsummary: u\nrun: ["./main.sh"]\nsecrets: [KEY]\napproval: {count: 1}\n',
        { "main.sh": "#!/bin/sh\nwc -c < /run/secrets/KEY; cat /run/secrets/KEY\n" },
      ),
    );
    const set = (...more: string[]) =>
      appliance.cli(["secret", "set", "demo/KEY", "--vault", "corp", ...more]);
    t.match(await set("--path", "app/deploy"), { status: 2, stderr: /--key KEY/ });
    t.match(await set("--path", "../sys", "--key", "password"), { status: 2, stderr: /--path is/ });
    t.match(await set("--path", "app/none", "--key", "password"), {
      status: 1,
      stderr: /no secret at that path/,
    });
    t.match(await appliance.cli(["secret", "set", "demo/KEY", "--path", "x"]), {
      status: 2,
      stderr: /--vault NAME/,
    });
    t.match(await appliance.cli(["run", "demo/uses"]), { status: 1, stderr: /secret set demo\/KEY/ });
    t.match(await set("--path", "app/deploy", "--key", "password"), {
      status: 0,
      stdout: /corp:app\/deploy#password@1/,
    });
    t.match(await appliance.ok(["secret", "versions", "demo/KEY"]), { stdout: /corp:app\/deploy#password/ });
    const glass = () => appliance.cli(["run", "demo/uses", "--break-glass", "a test of it"]);
    t.match(await glass(), { status: 0, stdout: `${CANARY.length}\n[secret demo/KEY]` });
    t.match((await logged("secret.read")).at(-1), {
      data: { secret: "KEY", source: "corp:app/deploy#password@1" },
    });

    // One that nobody approved yet keeps nothing from being written there.
    await appliance.ok(["user", "add", "bob"]);
    const asked = appliance.cli(["run", "demo/uses"]);
    let run = "";
    await until(async () => {
      const { runs } = (await appliance.ok(["runs", "list", "--json"])).json() as {
        runs: { run: string; state: string }[];
      };
      run = runs.find(({ state }) => state === "waiting")?.run ?? "";
      return run !== "";
    }, 20_000);
    server.put("app/deploy", { password: `${CANARY}-2` });
    await appliance.ok(["cancel", run]);
    t.equal((await asked).status, 1);
    t.match(await glass(), { status: 0, stdout: `${CANARY.length + 2}\n[secret demo/KEY]` });

    server.fault = (_, response) => {
      response.writeHead(503).end("{}");
      return true;
    };
    t.match(await glass(), { status: 1, stderr: /could not be fetched from its vault/ });
    server.fault = undefined;
    server.put("app/deploy", { password: CANARY });
  },
);

t.test("a run that was asked for with one version does not start with another", async (t) => {
  await appliance.publish(
    opFolder(
      appliance,
      'op: demo/queued\nsummary: q\nrun: ["./main.sh"]\nsecrets: [KEY]\nlimits: {time: 60s}\n',
      { "main.sh": "#!/bin/sh\necho started; while :; do sleep 0.2; done\n" },
    ),
  );
  type Run = { run: string; state: string };
  const runs = async () => ((await appliance.ok(["runs", "list", "--json"])).json() as { runs: Run[] }).runs;
  const inState = async (state: string) => {
    let run = "";
    await until(
      async () => {
        run = (await runs()).find((one) => one.state === state)?.run ?? "";
        return run !== "";
      },
      20_000,
      () => appliance.log,
    );
    return run;
  };
  const first = appliance.cli(["run", "demo/queued"]);
  const running = await inState("running");
  const second = appliance.cli(["run", "demo/queued"]);
  const queued = await inState("queued");
  server.put("app/deploy", { password: `${CANARY}-of-somebody-else` });
  await appliance.ok(["cancel", running]);
  await first;
  const said = await second;
  t.equal(said.status, 1);
  t.match(
    said.stderr,
    /corp:app\/deploy#password is at version \d+ in the vault by now; \d+ is what was approved/,
  );
  t.notMatch(said.stdout, /started/);
  t.match((await runs()).find(({ run }) => run === queued)?.state, "failed");
  server.put("app/deploy", { password: CANARY });
});

t.test(
  "an admin of one namespace takes nothing out of the vault that another's secrets are in",
  { skip: needsRoot },
  async (t) => {
    await appliance.ok(["namespace", "add", "theirs"]);
    await appliance.ok(["user", "add", "carl", "--host-user", "nobody"]);
    await appliance.ok(["role", "grant", "admin", "theirs", "carl"]);
    const source = ["--vault", "corp", "--path", "app/deploy", "--key", "password"];
    for (const action of ["set", "rotate"])
      t.equal(
        (await appliance.cliAs(OTHER_ACCOUNT, ["secret", action, "theirs/KEY", ...source])).status,
        3,
        action,
      );
    t.match((await appliance.ok(["secret", "list", "theirs", "--json"])).json(), { secrets: [] });
    t.match(await appliance.ok(["secret", "set", "theirs/KEY", ...source]), { status: 0 });
  },
);

t.test("the value is in no other role's memory, and on no disk", { skip: needsRoot }, async (t) => {
  t.equal((await check()).status, 0);
  const serve = appliance.serving!.pid!;
  const copies = (role: Parameters<typeof rolePid>[1], text: string): number =>
    findInMemory(rolePid(serve, role)!, Buffer.from(text)).length;
  // The runner had it for runs; what it keeps of a value is in secret-memory.test.ts.
  for (const role of ["gateway", "egress", "notary"] as const) t.equal(copies(role, CANARY), 0, role);
  t.equal(copies("keeper", CANARY), 0, "keeper");
  t.comment(`courier: ${copies("courier", CANARY)} copies left`);
  t.equal(copies("gateway", server.secretId), 0, "nor the credential");
  for (const file of readdirSync(appliance.dir, { recursive: true, encoding: "utf8" })) {
    const path = join(appliance.dir, file);
    if (!statSync(path, { throwIfNoEntry: false })?.isFile()) continue;
    const bytes = readFileSync(path);
    t.notOk(bytes.includes(CANARY) || bytes.includes(server.secretId), file);
  }
  for (const text of [appliance.log, appliance.events.join("\n")])
    t.notOk(text.includes(CANARY) || text.includes(server.secretId));
});

t.test("a wrapped secret id is unwrapped once and kept", async (t) => {
  const wrapping = server.wrap();
  const taken = await login(wrapping, "--wrapped");
  t.equal(taken.status, 0, taken.stderr);
  t.equal((await check()).status, 0);
  t.match((await login(wrapping, "--wrapped")).stderr, /somebody has used it already/);
});

t.test("a lock revokes the token; after an unlock the credential is there again", async (_t) => {
  await check();
  const live = [...server.tokens.keys()].at(-1)!;
  await appliance.ok(["lock"]);
  await until(() => server.revoked.includes(live), 10_000);
  await appliance.unlock();
  await until(
    async () => (await check()).status === 0,
    20_000,
    () => appliance.log,
  );
});

t.test("logout", async (t) => {
  t.equal((await appliance.cli(["vault", "logout", "corp"])).status, 0);
  t.match((await check()).stderr, /has no credential here/);
  t.equal((await appliance.cli(["vault", "logout", "corp"])).status, 1);
  t.equal((await logged("vault.logout")).length, 1);
});
