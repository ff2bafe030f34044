import { closeSync, openSync, readSync } from "node:fs";
import type { Command as Program } from "commander";
import { SallyportError } from "../../core/errors.ts";
import { POLICY_TEXT_MAX } from "../../core/policy-limits.ts";
import { cleanText } from "../../core/text.ts";
import type { CommandParams } from "../../wire/ctl.ts";
import { table } from "../print.ts";
import { common } from "../program.ts";
import type { Admin } from "./context.ts";

type Decided = {
  allow: boolean;
  reason: string;
  policies: { id: string; source: string | null; effect: string | null; reason: string; text: string }[];
};
type Checked = Decided & { confirm: string; approvals: string[] };
type Explained = {
  run: string;
  op: string;
  state: string;
  decisions: (Decided & {
    phase: string;
    time: string;
    obligations: string[];
    asked: {
      who: string;
      source: string;
      channel: { id: string } | null;
      args: Record<string, unknown>;
      confirmation: string;
      groups: string[];
      roles: { role: string; namespace: string; group: string | null }[];
    };
  })[];
};
type Listed = {
  site: { name: string; number: number; ids: string[]; author: string; added: string }[];
  shipped: { id: string; source: string; effect: string; reason: string }[];
  unreadable: string | null;
};

/** policy */
export function addPolicies(program: Program, admin: Admin): void {
  const policy = program.command("policy").description("Cedar policies: who may do what");
  common(policy.command("add <name> <file>"))
    .description("put a policy text of the site's own in force; see docs/policies.md")
    .option("--replace", "in place of the one of that name")
    .action((name: string, file: string, options: { replace?: true }, command: Program) =>
      admin.show<"policy.add", { ids: string[] }>(
        command,
        "policy.add",
        { name, replace: options.replace === true },
        (d) => [`In force: ${name} (${d.ids.join(", ")}).`],
        { parts: [readText(file)] },
      ),
    );
  common(policy.command("remove <name>"))
    .description("take it away again")
    .action((name: string, _: object, command: Program) =>
      admin.show(command, "policy.remove", { name }, () => [`${name} counts no more.`]),
    );
  common(policy.command("list")).action((_: object, command: Program) =>
    admin.show<"policy.list", Listed>(command, "policy.list", {}, (d) => [
      ...(d.unreadable === null
        ? []
        : [`The site's policies can't be read, so no Op runs: ${d.unreadable}`, ""]),
      ...table(
        ["POLICY", "IDS", "BY", "ADDED"],
        d.site.map((p) => [p.name, p.ids.join(","), p.author, p.added]),
      ),
      "",
      ...table(
        ["SHIPPED", "EFFECT", "REASON"],
        d.shipped.map((p) => [p.id, p.effect, p.reason]),
      ),
    ]),
  );
  common(policy.command("show <name>"))
    .description("the text of one, by its name, or of a shipped one by its id")
    .action((name: string, _: object, command: Program) =>
      admin.show<"policy.show", { text: string }>(command, "policy.show", { name }, (d) =>
        d.text.split("\n"),
      ),
    );
  addCheck(policy, admin);
  common(policy.command("explain <run>"))
    .description("which policies decided about a run, as they were then")
    .action((run: string, _: object, command: Program) =>
      admin.show<"policy.explain", Explained>(command, "policy.explain", { run }, explained),
    );
}

type CheckOptions = {
  user: string;
  op: string;
  arg: string[];
  action: string;
  requester?: string;
  source: string;
  standing?: string;
  channel?: string;
  confirmed?: string;
  at?: string;
};

function addCheck(policy: Program, admin: Admin): void {
  common(policy.command("check"))
    .description("may this person do that there, with these arguments? Nothing is done; status 3 when not")
    .requiredOption("--user <name>", "whom")
    .requiredOption("--op <op>", "NAMESPACE/OP")
    .option(
      "--arg <name=value>",
      "an argument; may be repeated",
      (one: string, all: string[]) => [...all, one],
      [],
    )
    .option("--action <action>", "run, list, show, read_log, publish, activate or approve", "run")
    .option("--requester <name>", "with --action approve: whose run")
    .option("--source <source>", "slack, tty or schedule (default: slack with a channel, else tty)")
    .option(
      "--standing <standing>",
      "what Slack says of the person: member, guest, bot, foreign, deleted, unknown",
    )
    .option("--channel <id>", "the Slack channel")
    .option("--confirmed <how>", "none, totp or local")
    .option("--at <time>", "when, like 2026-12-24T23:00Z")
    .action(async (options: CheckOptions, command: Program) => {
      let allowed = false;
      await admin.show<"policy.check", Checked>(
        command,
        "policy.check",
        checkParams(options),
        (d) => lines(d),
        {
          onData: (data) => {
            allowed = (data as Checked).allow;
          },
        },
      );
      if (!allowed) admin.exit(3);
    });
}

function checkParams(o: CheckOptions): CommandParams<"policy.check"> {
  const source = o.source ?? (o.channel === undefined ? "tty" : "slack");
  const tokens = o.arg.flatMap((one) => {
    const at = one.indexOf("=");
    if (at < 1) throw new SallyportError("usage", `--arg ${cleanText(one).slice(0, 80)}: write NAME=VALUE`);
    return [`--${one.slice(0, at)}=${one.slice(at + 1)}`];
  });
  return {
    user: o.user,
    op: o.op,
    tokens,
    action: oneOf("action", o.action, ["run", "list", "show", "read_log", "publish", "activate", "approve"]),
    source: oneOf("source", source, ["slack", "tty", "schedule"]),
    ...(o.standing === undefined
      ? {}
      : {
          standing: oneOf("standing", o.standing, [
            "member",
            "guest",
            "bot",
            "foreign",
            "deleted",
            "unknown",
          ]),
        }),
    ...(o.requester === undefined ? {} : { requester: o.requester }),
    ...(o.channel === undefined ? {} : { channel: o.channel }),
    ...(o.confirmed === undefined
      ? {}
      : { confirmed: oneOf("confirmed", o.confirmed, ["none", "totp", "local"]) }),
    ...(o.at === undefined ? {} : { at: timeOf(o.at) }),
  };
}

function oneOf<const T extends string>(flag: string, value: string, all: readonly T[]): T {
  const found = all.find((one) => one === value);
  if (found !== undefined) return found;
  throw new SallyportError("usage", `--${flag} is one of ${all.join(", ")}.`);
}

function timeOf(text: string): number {
  const time = Date.parse(text);
  if (Number.isFinite(time) && time >= 0) return time;
  throw new SallyportError("usage", `--at is a time like 2026-12-24T23:00Z.`);
}

function lines(d: Checked): string[] {
  const first = d.confirm === "none" ? [] : [`First: confirmed with ${d.confirm}.`];
  return [
    d.allow ? "Allowed." : `Refused. ${d.reason}`,
    ...first,
    ...d.approvals.map((need) => `First: approved by ${need}.`),
    ...decided(d),
  ];
}

function explained(d: Explained): string[] {
  const out = [`${d.run}, ${d.op}: ${d.state}`];
  for (const one of d.decisions) {
    const { asked } = one;
    const where = asked.channel === null ? asked.source : `${asked.source}, channel ${asked.channel.id}`;
    const roles = asked.roles.map(
      (r) => `${r.role} of ${r.namespace}${r.group === null ? "" : ` by ${r.group}`}`,
    );
    out.push(
      "",
      `${one.time} ${one.phase}: ${asked.who} from ${where}, confirmed: ${asked.confirmation}`,
      `  roles: ${roles.join(", ") || "none"}; groups: ${asked.groups.join(", ") || "none"}`,
      `  arguments: ${JSON.stringify(asked.args)}`,
      `  ${one.allow ? "allowed" : `refused: ${one.reason}`}${one.obligations.length === 0 ? "" : `, asked for first by ${one.obligations.join(", ")}`}`,
      ...decided(one).map((line) => `  ${line}`),
    );
  }
  if (d.decisions.length === 0) out.push("No decision was kept of it.");
  return out;
}

const decided = (d: Decided): string[] =>
  d.policies.flatMap((p) => [
    `${p.id}${p.source === null ? "" : ` (${p.source})`}`,
    ...p.text
      .trim()
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => `    ${line}`),
  ]);

/** One byte more than is taken, so that the keeper says it is too long. */
function readText(file: string): Buffer {
  const whole = Buffer.alloc(POLICY_TEXT_MAX + 1);
  let length = 0;
  let fd: number;
  try {
    fd = openSync(file, "r");
  } catch (cause) {
    throw new SallyportError("input_invalid", `${file} can't be read.`, { cause });
  }
  try {
    for (;;) {
      const got = readSync(fd, whole, length, whole.length - length, null);
      if (got === 0) break;
      length += got;
    }
  } catch (cause) {
    throw new SallyportError("input_invalid", `${file} can't be read.`, { cause });
  } finally {
    closeSync(fd);
  }
  return whole.subarray(0, length);
}
