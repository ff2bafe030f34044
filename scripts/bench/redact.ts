/**
 * Redaction of one stream in MB/s, on one core: plain log text and base64-heavy text in chunks of 64 KiB, with 0, 10, 100 and
 * 1,000 secrets, beside copying the same chunks unfiltered and beside the straightforward approach: one replaceAll a form over
 * each chunk as a string. MIB=n (default 64) of text a measurement; the best of three; replaceAll gets as much of it as it
 * does in about a second.
 */
import { createHash } from "node:crypto";
import { patternsOf } from "../../src/exec/patterns.ts";
import { compileSecrets, createRedactor } from "../../src/exec/redact.ts";

const CHUNK = 64 * 1024;
const CHUNKS = (Number(process.env.MIB ?? 64) * 1024 * 1024) / CHUNK;
const DISTINCT = 64;

let seed = 0;
/** Repeatable, so that two runs of this measure the same. */
const bytes = (count: number): Buffer => {
  const parts: Buffer[] = [];
  for (let have = 0; have < count; have += 32) parts.push(createHash("sha256").update(`${seed++}`).digest());
  return Buffer.concat(parts).subarray(0, count);
};
const number = (below: number): number => bytes(4).readUInt32LE() % below;

const LOG = [
  () =>
    `2026-11-25T09:${10 + number(50)}:${10 + number(50)}.${number(1000)}Z INFO  deploy: host web-${number(40)} answered 200 in ${number(900)} ms\n`,
  () =>
    `[build] step ${number(40)}/40: compiling src/module-${number(900)}/index.ts (${number(9000)} bytes, cached)\n`,
  () =>
    `10.0.${number(255)}.${number(255)} - - "GET /api/v1/items/${number(99999)}?page=${number(9)} HTTP/1.1" 200 ${number(9999)} "-" "curl/8.5.0"\n`,
  () => `WARN: retrying (attempt ${number(5)} of 5) after connection reset by peer\n`,
];
const BASE64 = [
  () => `data: ${bytes(57).toString("base64")}\n`,
  () => `${bytes(57).toString("base64")}\n`,
  () => `token=${bytes(90).toString("base64url")} kid=${bytes(9).toString("base64url")}\n`,
];

function text(lines: readonly (() => string)[]): Buffer[] {
  return Array.from({ length: DISTINCT }, () => {
    let chunk = "";
    while (chunk.length < CHUNK) chunk += lines[number(lines.length)]!();
    return Buffer.from(chunk).subarray(0, CHUNK);
  });
}

const secrets = (count: number) =>
  Array.from({ length: count }, (_, i) => ({
    name: `web/KEY_${i}`,
    value: Buffer.from(
      [bytes(24).toString("base64url"), bytes(20).toString("hex"), `p@ss ${bytes(9).toString("base64")}!`][
        i % 3
      ]!,
    ),
  }));

/** MB (10^6 bytes) a second of processor time, so that a busy machine counts for little; the best of three. */
function rate(chunks: readonly Buffer[], count: number, work: (chunk: Buffer) => unknown): number {
  let best = 0;
  for (let round = 0; round < 3; round++) {
    const start = process.cpuUsage();
    for (let i = 0; i < count; i++) work(chunks[i % chunks.length]!);
    const { user, system } = process.cpuUsage(start);
    best = Math.max(best, (count * CHUNK) / Math.max(1, user + system));
  }
  return best;
}

for (const [name, lines] of [
  ["plain log text", LOG],
  ["base64-heavy text", BASE64],
] as const) {
  const chunks = text(lines);
  const copied = rate(chunks, CHUNKS, (chunk) => Buffer.from(chunk));
  console.log(`${name}: copied unfiltered ${copied.toFixed(0)} MB/s`);
  for (const count of [0, 10, 100, 1000]) {
    const values = secrets(count);
    const started = performance.now();
    const forms = compileSecrets(values);
    const compiledMs = performance.now() - started;
    const redactor = createRedactor(forms);
    const ours = rate(chunks, CHUNKS, (chunk) => redactor.push(chunk));
    const plain = values.flatMap((secret) =>
      [...patternsOf(secret.name, secret.value)].map(
        (p) => [p.bytes.toString("latin1"), secret.name] as const,
      ),
    );
    const naive = (chunk: Buffer) => {
      let all = chunk.toString("latin1");
      for (const [form, secret] of plain) all = all.replaceAll(form, `[secret ${secret}]`);
      return Buffer.from(all, "latin1");
    };
    const once = performance.now();
    naive(chunks[0]!);
    const some = Math.max(1, Math.min(CHUNKS, Math.floor(300 / (performance.now() - once))));
    const theirs = rate(chunks, some, naive);
    console.log(
      `  ${count} secrets (${plain.length} forms, ready in ${compiledMs.toFixed(0)} ms): ${ours.toFixed(0)} MB/s, ` +
        `${(ours / copied).toFixed(3)} of copying; replaceAll ${theirs.toFixed(1)} MB/s, ratio ${(ours / theirs).toFixed(1)}`,
    );
  }
}
