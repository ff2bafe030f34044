import { writeFileSync } from "node:fs";
import type { Command as Program } from "commander";
import { parseEntry } from "../../audit/entry.ts";
import { leafHash } from "../../audit/merkle.ts";
import { parseVkey } from "../../audit/note.ts";
import { PROOF_BYTES, verifyProof } from "../../audit/proof.ts";
import { SallyportError } from "../../core/errors.ts";
import { cefLine } from "../../siem/cef.ts";
import { entryLine } from "../../siem/ecs.ts";
import { ocsfLine } from "../../siem/ocsf.ts";
import { bundles, type Fetch, type Head, writeTiles } from "../log-export.ts";
import { readBytes, type Verified, verifyExport } from "../log-verify.ts";
import { printData } from "../print.ts";
import { common, globalsOf } from "../program.ts";
import { timeOf, wholeFrom } from "../values.ts";
import type { Admin } from "./context.ts";

const NOTE_BYTES = 64 * 1024;
const ENTRY_BYTES = 64 * 1024;

type VerifyOptions = { from?: string; proof?: string; entry?: string; vkey?: string; checkpoint?: string };
type ExportOptions = { tiles?: string; format?: string; since?: string; until?: string };

/** audit verify | export | prove: what somebody else can check without this appliance. */
export function addProofs(audit: Program, admin: Admin): void {
  addVerify(audit, admin);
  common(audit.command("export"))
    .description("take the log out: as tiles that anybody can verify, or as lines")
    .option("--tiles <dir>", "the whole log as C2SP tlog-tiles, entries too, with checkpoint and vkey")
    .option(
      "--format <format>",
      "lines on standard output: jsonl (entries as they were hashed), ecs, ocsf, cef",
    )
    .option("--since <time>", "ISO 8601; of lines")
    .option("--until <time>", "ISO 8601; of lines")
    .action((options: ExportOptions, command: Program) => takeOut(admin, options, command));
  common(audit.command("prove <entry>"))
    .description(
      "a proof that this entry is in the log (C2SP tlog-proof); whoever has the verifier key can check it",
    )
    .option("--out <file>", "where the proof goes; the entry itself goes to FILE.entry")
    .action(async (entry: string, options: { out?: string }, command: Program) => {
      let bytes: Buffer | undefined;
      const onBytes = (got: Buffer) => {
        bytes = got;
      };
      const params = { index: wholeFrom(0, entry, "entry's number") };
      const d = (await admin.call(command, "audit.prove", params, { onBytes })) as Proved;
      if (options.out !== undefined) {
        writeFileSync(options.out, d.proof, { mode: 0o600 });
        writeFileSync(`${options.out}.entry`, bytes ?? Buffer.alloc(0), { mode: 0o600 });
      }
      printData({ ...d, entry: bytes?.toString("utf8") }, globalsOf(command).json, () =>
        options.out === undefined
          ? d.proof.trimEnd().split("\n")
          : [
              `Proof of entry ${d.index} in ${options.out}, the entry in ${options.out}.entry.`,
              `vkey  ${d.vkey}`,
            ],
      );
    });
}

type Proved = { index: number; size: number; proof: string; origin: string; vkey: string };

function addVerify(audit: Program, admin: Admin): void {
  common(audit.command("verify"))
    .description(
      "recompute the whole tree and hold it against what was signed; status 6 when it does not hold",
    )
    .option(
      "--from <dir>",
      "of an export (audit export --tiles), with no appliance and no key but the verifier's",
    )
    .option("--proof <file>", "of a proof of one entry (audit prove --out FILE); reads FILE.entry")
    .option("--entry <file>", "with --proof: the entry, where it lies elsewhere")
    .option("--vkey <key>", "the verifier key as you kept it")
    .option("--checkpoint <file>", "with --from: a checkpoint that you kept, which the log has to extend")
    .action((o: VerifyOptions, command: Program) => {
      if (o.from !== undefined) return verifyDirectory(o.from, o, command);
      if (o.proof !== undefined) return verifyOne(o.proof, o, command);
      return admin.show<"audit.verify", { size: number; root: string; checkpoints: number; vkey: string }>(
        command,
        "audit.verify",
        {},
        (d) => [
          `The log is sound: ${d.size} entries, ${d.checkpoints} checkpoints.`,
          `root  ${d.root}`,
          `vkey  ${d.vkey}`,
        ],
      );
    });
}

function verifyDirectory(dir: string, o: VerifyOptions, command: Program): void {
  const found: Verified = verifyExport(dir, {
    ...(o.vkey === undefined ? {} : { vkey: o.vkey }),
    ...(o.checkpoint === undefined ? {} : { earlier: readBytes(o.checkpoint, NOTE_BYTES).toString("utf8") }),
  });
  printData({ ok: true, ...found }, globalsOf(command).json, () => [
    `The export is sound: ${found.size} entries of ${found.origin}.`,
    `root  ${found.root}`,
    `vkey  ${found.vkey}`,
    ...(o.vkey === undefined
      ? [
          "That key came with the export: compare it with the one that you kept, or name that one with --vkey.",
        ]
      : []),
  ]);
}

function verifyOne(file: string, o: VerifyOptions, command: Program): void {
  if (o.vkey === undefined) throw new SallyportError("usage", "A proof is checked against a key: --vkey KEY");
  const entry = readBytes(o.entry ?? `${file}.entry`, ENTRY_BYTES);
  const origin = parseVkey(o.vkey).name;
  const text = readBytes(file, PROOF_BYTES).toString("utf8");
  const { index, checkpoint } = verifyProof(text, { entry, origin, vkeys: [o.vkey] });
  const data = { ok: true, index, size: checkpoint.size, origin, entry: parseEntry(entry) };
  printData(data, globalsOf(command).json, () => [
    `It is entry ${index} of ${origin}, which had ${checkpoint.size} entries when that was signed.`,
  ]);
}

async function takeOut(admin: Admin, o: ExportOptions, command: Program): Promise<void> {
  const isTiles = o.tiles !== undefined;
  if (isTiles === (o.format !== undefined))
    throw new SallyportError("usage", "Write --tiles DIR, or --format jsonl, ecs, ocsf or cef.");
  if (isTiles && (o.since !== undefined || o.until !== undefined))
    throw new SallyportError("usage", "Tiles are the whole log; --since and --until are of --format.");
  const format = formatOf(o.format ?? "jsonl");
  const since = o.since === undefined ? 0 : timeOf(o.since);
  const until = o.until === undefined ? Number.POSITIVE_INFINITY : timeOf(o.until);
  const head = (await admin.call(command, "audit.export", { format: isTiles ? "tiles" : format })) as Head;
  const fetch: Fetch = async (from, to) => {
    let bytes: Buffer | undefined;
    const onBytes = (got: Buffer) => {
      bytes = got;
    };
    await admin.call(command, "audit.entries", { from, to }, { onBytes });
    if (bytes === undefined) throw new SallyportError("internal", "The keeper sent no entries.");
    return bytes;
  };
  if (o.tiles !== undefined) {
    const { files } = await writeTiles(o.tiles, head, fetch);
    const data = { dir: o.tiles, size: head.size, files, vkey: head.vkeys[0] };
    return printData(data, globalsOf(command).json, () => [
      `${head.size} entries in ${files} files below ${o.tiles}.`,
      `vkey  ${head.vkeys[0]}`,
    ]);
  }
  let seq = 0;
  for await (const entries of bundles(head.size, fetch))
    for (const bytes of entries) {
      const entry = parseEntry(bytes);
      const at = Date.parse(entry.time);
      if (at >= since && at < until) await print(LINES[format](bytes, seq));
      seq++;
    }
}

function print(line: string): Promise<void> | undefined {
  if (process.stdout.write(line)) return undefined;
  return new Promise((resolve) => process.stdout.once("drain", resolve));
}

const LINES = {
  jsonl: (bytes: Buffer) => `${bytes.toString("utf8")}\n`,
  ecs: (bytes: Buffer, seq: number) => entryLine(bytes, seq, leafHash(bytes)),
  ocsf: (bytes: Buffer, seq: number) => ocsfLine(bytes, seq, leafHash(bytes)),
  cef: (bytes: Buffer, seq: number) => cefLine(bytes, seq, leafHash(bytes)),
};

function formatOf(text: string): keyof typeof LINES {
  if (Object.hasOwn(LINES, text)) return text as keyof typeof LINES;
  throw new SallyportError("usage", "--format is jsonl, ecs, ocsf or cef.");
}
