/**
 * What a decision costs at a large site (10,000 users, 500 groups, 100 namespaces, 2,000 Ops, 1,000 site policies), with the real
 * store and Access, beside the same rows with the policies that ship alone. Rounds alternate, so that both see the same machine.
 * "asked": from a user's id and an Op's name, rows read; "decided": the policies alone. Then `/ops list` over all 2,000 Ops.
 * CPU is the process's own, which a busy machine does not lengthen. Usage: authorize.ts [DIRECTORY]
 */
import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type Authorizer, createAuthorizer, type PolicySource } from "../../src/core/authorizer.ts";
import { manifestToJson, parseManifest } from "../../src/core/manifest.ts";
import { argTypesOf } from "../../src/core/policies.ts";
import { Access } from "../../src/keeper/access.ts";
import type { Caller } from "../../src/keeper/callers.ts";
import { visibleOps } from "../../src/keeper/find-op.ts";
import { principal } from "../../src/store/grants.ts";
import { openStore, type Store } from "../../src/store/store.ts";

const USERS = 10_000;
const GROUPS = 500;
const NAMESPACES = 100;
const OPS = 2000;
const POLICIES = 1000;
const ROUNDS = 15;
const PER_ROUND = 100;

const asset = (name: string) =>
  readFileSync(new URL(`../../policies/authorization/${name}`, import.meta.url), "utf8");
const schema = asset("sallyport.cedarschema");
const shipped = ["limits.cedar", "roles.cedar"].map((name) => ({ name, text: asset(name) }));
const ns = (i: number) => `ns-${i % NAMESPACES}`;
const opName = (i: number) => `op-${i}`;

/** Of ten: seven about one namespace, one about one Op, one about a group, one about an argument anywhere. */
function mixed(i: number): string {
  const head = `@id("site-${i}") @reason("Not here.")\n`;
  if (i % 10 < 7)
    return `${head}forbid (principal, action == Action::"run", resource in Namespace::"${ns(i)}") when { context.args has env && context.args.env == "never-${i}" };`;
  if (i % 10 === 7)
    return `${head}forbid (principal, action == Action::"run", resource == Op::"${ns(i)}/${opName(i)}") when { context.args has count && context.args.count > 90 };`;
  if (i % 10 === 8)
    return `${head}@approval("1") @approval_group("group-${i % GROUPS}")\nforbid (principal in Group::"group-${i % GROUPS}", action == Action::"run", resource) when { context.args has env && context.args.env == "prod" };`;
  return everywhere(i);
}
/** The dearest: each has to be looked at for each run. */
const everywhere = (i: number) =>
  `@id("site-${i}") @reason("Not here.")\nforbid (principal, action == Action::"run", resource) when { context.args has env && context.args.env == "never-${i}" };`;

const dir = mkdtempSync(join(process.argv[2] ?? process.cwd(), ".bench-authorize-"));
try {
  const store = await openStore({ file: join(dir, "store"), key: randomBytes(32), create: true });
  const manifests = Array.from({ length: OPS }, (_, i) =>
    parseManifest(
      `op: ${ns(i)}/${opName(i)}\nsummary: s\nrun: [ls]\ninputs:\n  env: {type: string}\n  count: {type: integer}\n`,
    ),
  );
  await fill(store, manifests);
  const argTypes = argTypesOf(manifests);
  const made = (of: ((i: number) => string) | null): Authorizer => {
    const policies: PolicySource[] =
      of === null
        ? shipped
        : [...shipped, ...Array.from({ length: POLICIES }, (_, i) => ({ name: `site/${i}`, text: of(i) }))];
    return createAuthorizer({ schema, policies, argTypes });
  };
  const kinds = {
    "policies that ship": made(null),
    "and 1,000, mixed": made(mixed),
    "and 1,000, all everywhere": made(everywhere),
  };
  const asked = new Map<string, number[]>();
  const decided = new Map<string, number[]>();
  const cpu = new Map<string, number>();
  for (const [name] of Object.entries(kinds)) {
    asked.set(name, []);
    decided.set(name, []);
  }
  for (let round = -1; round < ROUNDS; round++)
    for (const [name, authorizer] of Object.entries(kinds)) {
      const access = new Access({ store, authorizer, now: Date.now });
      for (let k = 0; k < PER_ROUND; k++) {
        const n = (round + 1) * PER_ROUND + k;
        const start = performance.now();
        const caller = await callerOf(store, (n * 7919) % USERS);
        const i = (n * 104_729) % OPS;
        const op = await access.activeOp(store.read, ns(i), opName(i));
        if (op === undefined) throw new Error("no such Op");
        const used = process.cpuUsage();
        const between = performance.now();
        access.decide(
          caller,
          "run",
          { kind: "op", op: op.row, namespace: op.namespace },
          { args: { env: "prod", count: 3 } },
        );
        const end = performance.now();
        const { user, system } = process.cpuUsage(used);
        // The first round is each set's first use.
        if (round < 0) continue;
        cpu.set(name, (cpu.get(name) ?? 0) + (user + system) / 1000);
        asked.get(name)?.push(end - start);
        decided.get(name)?.push(end - between);
      }
    }
  const base = median(decided.get("policies that ship") ?? []);
  for (const name of Object.keys(kinds)) {
    const [whole, alone] = [asked.get(name) ?? [], decided.get(name) ?? []];
    const rate = 1000 / mean(alone);
    const own = (cpu.get(name) ?? 0) / alone.length;
    console.log(
      `${name.padEnd(28)} decided: median ${ms(median(alone))} p99 ${ms(quantile(alone, 0.99))} mean CPU ${ms(own)} (${rate.toFixed(0)} a second, ratio ${(median(alone) / base).toFixed(2)}); asked: median ${ms(median(whole))} p99 ${ms(quantile(whole, 0.99))}`,
    );
  }
  for (const [name, authorizer] of Object.entries(kinds)) {
    const access = new Access({ store, authorizer, now: Date.now });
    const times: number[] = [];
    let seen = 0;
    let used = 0;
    for (let round = 0; round < 6; round++) {
      const caller = await callerOf(store, 0);
      const before = process.cpuUsage();
      const start = performance.now();
      seen = (await visibleOps(access, store.read, caller)).length;
      times.push(performance.now() - start);
      const { user, system } = process.cpuUsage(before);
      used = (user + system) / 1000;
    }
    console.log(
      `${name.padEnd(28)} /ops list, ${seen} of ${OPS} seen: first ${ms(times[0] ?? 0)}, then median ${ms(median(times.slice(1)))}, CPU of the last ${ms(used)}`,
    );
  }
  console.log(`resident: ${(process.memoryUsage().rss / 1024 / 1024).toFixed(0)} MiB`);
  await store.close();
} finally {
  rmSync(dir, { recursive: true, force: true });
}

async function callerOf(store: Store, i: number): Promise<Caller> {
  const found = await principal(store.read, `u-${i}`);
  if (found === undefined) throw new Error(`no user ${i}`);
  const actor = { kind: "user", id: found.id, name: found.name } as const;
  return { id: found.id, principal: found, actor, source: "tty", standing: "host", channel: null };
}

/** Each user in five groups, each group with a role in a namespace; the first user runs Ops of a tenth of the namespaces. */
async function fill(store: Store, manifests: readonly ReturnType<typeof parseManifest>[]): Promise<void> {
  await store.mutate(async (tx) => {
    tx.log({ type: "log.heartbeat", outcome: "success", actor: { kind: "system" } });
    const many = (sql: string, rows: unknown[][]) => tx.run(sql, [JSON.stringify(rows)]);
    await many(
      "INSERT INTO users (id, name, status, created) SELECT value ->> 0, value ->> 1, 'active', 1 FROM json_each(?)",
      Array.from({ length: USERS }, (_, i) => [`u-${i}`, `user-${i}`]),
    );
    await many(
      "INSERT INTO groups (id, name, created) SELECT value ->> 0, value ->> 1, 1 FROM json_each(?)",
      Array.from({ length: GROUPS }, (_, i) => [`g-${i}`, `group-${i}`]),
    );
    await many(
      "INSERT INTO group_members (group_id, user_id, created) SELECT value ->> 0, value ->> 1, 1 FROM json_each(?)",
      Array.from({ length: USERS * 5 }, (_, i) => [
        `g-${(Math.floor(i / 5) + (i % 5) * 101) % GROUPS}`,
        `u-${Math.floor(i / 5)}`,
      ]),
    );
    await many(
      "INSERT INTO namespaces (name, any_channel, created) SELECT value ->> 0, 1, 1 FROM json_each(?)",
      Array.from({ length: NAMESPACES }, (_, i) => [ns(i)]),
    );
    await many(
      "INSERT INTO grants (role, namespace, group_id, created) SELECT 'runner', value ->> 1, value ->> 0, 1 FROM json_each(?)",
      Array.from({ length: GROUPS }, (_, i) => [`g-${i}`, ns(i)]),
    );
    await many(
      "INSERT INTO grants (role, namespace, user_id, created) SELECT 'runner', value ->> 0, 'u-0', 1 FROM json_each(?)",
      Array.from({ length: NAMESPACES / 10 }, (_, i) => [ns(i * 10)]),
    );
    const digest = `sha256:${"0".repeat(64)}`;
    await tx.run("INSERT INTO bundles (digest, bytes) VALUES (?, x'00')", [digest]);
    await many(
      "INSERT INTO ops (namespace, name, created) SELECT value ->> 0, value ->> 1, 1 FROM json_each(?)",
      manifests.map(({ namespace, name }) => [namespace, name]),
    );
    await tx.run(
      `INSERT INTO op_versions (namespace, name, number, digest, manifest, publisher, created)
       SELECT value ->> 0, value ->> 1, 1, ?2, value ->> 2, 'u-1', 1 FROM json_each(?1)`,
      [JSON.stringify(manifests.map((made) => [made.namespace, made.name, manifestToJson(made)])), digest],
    );
    await tx.run("UPDATE ops SET active = 1");
  });
}

function quantile(list: number[], q: number): number {
  const sorted = [...list].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? 0;
}
function median(list: number[]): number {
  return quantile(list, 0.5);
}
function mean(list: number[]): number {
  return list.reduce((sum, one) => sum + one, 0) / list.length;
}
function ms(value: number): string {
  return `${value.toFixed(3)} ms`;
}
