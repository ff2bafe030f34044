import type { Command as Program } from "commander";
import { encodeBundle, openBundle } from "../../core/bundle.ts";
import { asSallyportError, SallyportError } from "../../core/errors.ts";
import { manifestWarnings, profileWarnings } from "../../core/manifest-warnings.ts";
import { Profiles } from "../../exec/profiles.ts";
import { readBundleFolder } from "../bundle-folder.ts";
import { pairs, printData, table } from "../print.ts";
import { common, globalsOf } from "../program.ts";
import { openSandbox } from "../sandbox.ts";
import type { Admin } from "./context.ts";
import { addOpTest } from "./op-test.ts";

type Version = { version: number; digest: string; publisher: string; published: string; bytes: number };

/** op validate | test | publish | list | show | versions | activate | rollback | disable */
export function addOps(program: Program, admin: Admin): void {
  const op = program.command("op").description("Ops: validate, publish, look at");
  common(op.command("validate <dir>"))
    .description("check an Op's folder as publish would, without a keeper")
    .action(async (dir: string, _: object, command: Program) => {
      const opened = openBundle(encodeBundle(readBundleFolder(dir)));
      const { manifest, digest, files } = opened;
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
    .description("store a version of an Op, and make it the one that runs")
    .action((dir: string, _: object, command: Program) => {
      const bundle = encodeBundle(readBundleFolder(dir));
      openBundle(bundle);
      type Reply = { op: string; version: number; digest: string; warnings: string[] };
      return admin.show<"op.publish", Reply>(
        command,
        "op.publish",
        {},
        (d) => [
          `Published ${d.op}, version ${d.version}, ${d.digest}`,
          ...d.warnings.map((warning) => `warning: ${warning}`),
        ],
        { parts: [bundle] },
      );
    });
  common(op.command("list")).action((_: object, command: Program) =>
    admin.show<"op.list", { ops: { op: string; version: number; summary: string }[] }>(
      command,
      "op.list",
      {},
      (d) =>
        table(
          ["OP", "VERSION", "SUMMARY"],
          d.ops.map((o) => [o.op, String(o.version), o.summary]),
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
    admin.show<"op.versions", { active: number | null; versions: Version[] }>(
      command,
      "op.versions",
      { op: name },
      (d) =>
        table(
          ["", "VERSION", "PUBLISHED", "BY", "DIGEST"],
          d.versions.map((v) => [
            v.version === d.active ? "*" : "",
            String(v.version),
            v.published,
            v.publisher,
            v.digest,
          ]),
        ),
    ),
  );
  for (const word of ["activate", "rollback"] as const) {
    common(op.command(`${word} <op> <version>`))
      .description("make a stored version the one that runs")
      .action((name: string, version: string, _: object, command: Program) =>
        admin.show(command, "op.activate", { op: name, version: versionOf(version) }, () => [
          `${name} now runs version ${version}.`,
        ]),
      );
  }
  common(op.command("disable <op>"))
    .description("let an Op run no more until a version is activated")
    .action((name: string, _: object, command: Program) =>
      admin.show(command, "op.disable", { op: name }, () => [`${name} is disabled.`]),
    );
}

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
