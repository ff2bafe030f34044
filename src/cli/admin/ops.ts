import type { Command as Program } from "commander";
import { encodeBundle, openBundle } from "../../core/bundle.ts";
import { asSallyportError, SallyportError } from "../../core/errors.ts";
import { manifestWarnings, profileWarnings } from "../../core/manifest-warnings.ts";
import { Profiles } from "../../exec/profiles.ts";
import { credentialsFound, scanBundle } from "../../keeper/bundle-secrets.ts";
import { readBundleFolder } from "../bundle-folder.ts";
import { diffBundles, type OpDiff } from "../op-diff.ts";
import { pairs, printData, table } from "../print.ts";
import { common, globalsOf } from "../program.ts";
import { openSandbox } from "../sandbox.ts";
import type { Admin } from "./context.ts";
import { addOpTest } from "./op-test.ts";

type Account = { uid: number | null; loginUid: number | null };
type Version = {
  version: number;
  digest: string;
  publisher: string;
  published: string;
  from: Account;
  bytes: number;
};
type Listed = {
  op: string;
  version: number | null;
  state: string;
  notActivated: number | null;
  summary: string;
};
type Activation = { version: number; by: string; at: string; from: Account };

/** op validate | test | publish | list | show | versions | activate | rollback | diff | disable */
export function addOps(program: Program, admin: Admin): void {
  const op = program.command("op").description("Ops: validate, publish, look at");
  common(op.command("validate <dir>"))
    .description("check an Op's folder as publish would, without a keeper")
    .action(async (dir: string, _: object, command: Program) => {
      const opened = openBundle(encodeBundle(readBundleFolder(dir)));
      const { manifest, digest, files } = opened;
      const found = await scanBundle(files);
      if (found.length > 0) throw credentialsFound(found);
      const warnings = [...manifestWarnings(manifest), ...(await checkProfile(opened))];
      printData(
        { ok: true, op: manifest.op, digest, files: files.length, warnings },
        globalsOf(command).json,
        () => [
          `${manifest.op} is valid: ${files.length} files, ${digest}`,
          ...warnings.map((warning) => `warning: ${warning}`),
        ],
      );
    });
  addOpTest(op, admin);
  common(op.command("publish <dir>"))
    .description("store a version of an Op, and make it the one that runs where you may")
    .option("--no-activate", "only store it")
    .option(
      "--allow-secret <reason>",
      "publish although something in it looks like a credential; it is logged",
    )
    .action((dir: string, options: { activate: boolean; allowSecret?: string }, command: Program) => {
      const bundle = encodeBundle(readBundleFolder(dir));
      openBundle(bundle);
      type Reply = { op: string; version: number; digest: string; active: boolean; warnings: string[] };
      return admin.show<"op.publish", Reply>(
        command,
        "op.publish",
        {
          activate: options.activate,
          ...(options.allowSecret === undefined ? {} : { allowSecret: options.allowSecret }),
        },
        (d) => [
          `Published ${d.op}, version ${d.version}, ${d.digest}${d.active ? "" : ", not active"}`,
          ...d.warnings.map((warning) => `warning: ${warning}`),
        ],
        { parts: [bundle] },
      );
    });
  common(op.command("list")).action((_: object, command: Program) =>
    admin.show<"op.list", { ops: Listed[] }>(command, "op.list", {}, (d) =>
      table(
        ["OP", "VERSION", "STATE", "SUMMARY"],
        d.ops.map((o) => [o.op, o.version === null ? "-" : String(o.version), stateText(o), o.summary]),
      ),
    ),
  );
  common(op.command("show <op>"))
    .option("--version-number <n>", "another version than the active one")
    .action((name: string, options: { versionNumber?: string }, command: Program) =>
      admin.show<"op.show", object>(
        command,
        "op.show",
        {
          op: name,
          ...(options.versionNumber === undefined ? {} : { version: versionOf(options.versionNumber) }),
        },
        pairs,
      ),
    );
  common(op.command("versions <op>")).action((name: string, _: object, command: Program) =>
    admin.show<"op.versions", Versions>(command, "op.versions", { op: name }, (d) => [
      ...(d.disabled ? ["Disabled: nothing of it runs until a version is activated.", ""] : []),
      ...table(
        ["", "VERSION", "PUBLISHED", "BY", "FROM", "DIGEST"],
        d.versions.map((v) => [
          v.version === d.active ? "*" : "",
          String(v.version),
          v.published,
          v.publisher,
          accountText(v.from),
          v.digest,
        ]),
      ),
      "",
      ...table(
        ["ACTIVATED", "VERSION", "BY", "FROM"],
        d.activations.map((a) => [a.at, String(a.version), a.by, accountText(a.from)]),
      ),
    ]),
  );
  common(op.command("activate <op> <version>"))
    .description("make a stored version the one that runs")
    .action((name: string, version: string, _: object, command: Program) =>
      admin.show(command, "op.activate", { op: name, version: versionOf(version) }, () => [
        `${name} now runs version ${version}.`,
      ]),
    );
  common(op.command("rollback <op> [version]"))
    .description("make the version that was active before, or the one named, the one that runs")
    .action((name: string, version: string | undefined, _: object, command: Program) =>
      admin.show<"op.rollback", { version: number }>(
        command,
        "op.rollback",
        { op: name, ...(version === undefined ? {} : { version: versionOf(version) }) },
        (d) => [`${name} now runs version ${d.version}.`],
      ),
    );
  common(op.command("diff <op> [from] [to]"))
    .description("how two versions differ (default: the active one and the newest)")
    .action(
      async (
        name: string,
        first: string | undefined,
        second: string | undefined,
        _: object,
        command: Program,
      ) => {
        const known = (await admin.call(command, "op.versions", { op: name })) as Versions;
        const to = second === undefined ? (known.versions[0]?.version ?? 1) : versionOf(second);
        const from = first === undefined ? before(name, to, known) : versionOf(first);
        const [a, b] = [await codeOf(admin, command, name, from), await codeOf(admin, command, name, to)];
        const diff = diffBundles(a, b);
        printData({ op: name, from, to, ...diff }, globalsOf(command).json, () =>
          diffLines(name, from, to, diff),
        );
      },
    );
  common(op.command("disable <op>"))
    .description("let an Op run no more until a version is activated")
    .action((name: string, _: object, command: Program) =>
      admin.show(command, "op.disable", { op: name }, () => [
        `${name} is disabled. To let it run again: sallyport op activate ${name} VERSION`,
      ]),
    );
}

type Versions = { active: number | null; disabled: boolean; versions: Version[]; activations: Activation[] };

/** What to compare a version with: the active one; for that one itself what was active before, or is older. */
function before(op: string, to: number, { active, versions, activations }: Versions): number {
  if (active !== null && active !== to) return active;
  const from =
    activations.find(({ version }) => version !== to)?.version ??
    versions.find(({ version }) => version < to)?.version;
  if (from !== undefined) return from;
  throw new SallyportError("not_found", `${op} has no other version to compare with.`);
}

async function codeOf(admin: Admin, command: Program, op: string, version: number): Promise<Buffer> {
  let bundle: Buffer | undefined;
  const onBytes = (bytes: Buffer) => {
    bundle = bytes;
  };
  await admin.call(command, "op.code", { op, version }, { onBytes });
  if (bundle === undefined) throw new SallyportError("internal", "The keeper sent no bundle.");
  return bundle;
}

function diffLines(op: string, from: number, to: number, diff: OpDiff): string[] {
  const out = [`${op}: version ${from} -> ${to}`];
  if (diff.manifest === null)
    out.push(`op.yaml of one of them is no longer accepted: only its text is compared.`);
  for (const { key, from: was, to: is } of diff.manifest ?? [])
    out.push(`${key}: ${JSON.stringify(was)} -> ${JSON.stringify(is)}`);
  for (const { path, change, patch } of diff.files)
    out.push("", `${path}: ${change}`, ...patch.trimEnd().split("\n"));
  if (diff.files.length === 0) out.push("No difference.");
  return out;
}

const stateText = ({ version, state, notActivated }: Listed): string =>
  version === null || notActivated === null ? state : `${state}; ${notActivated} not activated`;

const accountText = ({ uid, loginUid }: Account): string =>
  uid === null ? "-" : `uid ${uid}${loginUid === null || loginUid === uid ? "" : `, login uid ${loginUid}`}`;

/** As the runner does at publish; where no sandbox can be made here, that is a warning. Throws `bundle_invalid`. */
async function checkProfile({ manifest, files }: ReturnType<typeof openBundle>): Promise<string[]> {
  const file = files.find(({ path }) => path === manifest.seccomp);
  if (file === undefined || !manifest.seccomp.endsWith(".json")) return [];
  const sandbox = openSandbox("serve");
  try {
    const ended = sandbox.launcher.ended.then((why) => {
      throw new SallyportError("launch_failed", `The launcher ended: ${why}.`);
    });
    const compiled = new Profiles(sandbox.launcher).compile(file.bytes);
    return profileWarnings(file.path, (await Promise.race([compiled, ended])).notes);
  } catch (error) {
    const { code, detail } = asSallyportError(error);
    if (code !== "launch_failed") throw new SallyportError(code, `seccomp, ${file.path}: ${detail}`);
    return [`${file.path} was not checked, as no sandbox can be made here. ${detail}`];
  } finally {
    await sandbox.close();
  }
}

function versionOf(text: string): number {
  if (/^[1-9][0-9]{0,8}$/.test(text)) return Number(text);
  throw new SallyportError("usage", "A version is a whole number; see: sallyport op versions NAMESPACE/OP");
}
