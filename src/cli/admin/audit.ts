import type { Command as Program } from "commander";
import type { LogFilter } from "../../wire/ctl.ts";
import { common } from "../program.ts";
import { timeOf, wholeFrom } from "../values.ts";
import { addProofs } from "./audit-proofs.ts";
import type { Admin } from "./context.ts";

type Line = {
  seq: number;
  name: string | null;
  entry: {
    time: string;
    type: string;
    outcome: string;
    actor: Record<string, unknown>;
    run?: string;
    op?: string;
    namespace?: string;
    reason?: string;
    data?: Record<string, unknown>;
  };
};
type Options = {
  person?: string;
  op?: string;
  namespace?: string;
  run?: string;
  type?: string;
  outcome?: string;
  since?: string;
  until?: string;
  limit?: string;
  before?: string;
};

/** audit log | checkpoint, and what audit-proofs.ts has */
export function addAudit(program: Program, admin: Admin): void {
  const audit = program.command("audit").description("the log: read it, verify it");
  common(audit.command("log"))
    .description("entries, oldest first; filters narrow them")
    .option("--person <name>")
    .option("--op <namespace/op>")
    .option("--namespace <name>")
    .option("--run <id>")
    .option("--type <event>")
    .option("--outcome <outcome>", "success, failure, unknown, denied")
    .option("--since <time>", "ISO 8601")
    .option("--until <time>", "ISO 8601")
    .option("--before <seq>", "only entries before this one: the page before")
    .option("--limit <n>", "default 100")
    .action((options: Options, command: Program) =>
      admin.show<"audit.log", { entries: Line[] }>(command, "audit.log", filterOf(options), (d) =>
        d.entries.map(lineOf),
      ),
    );
  common(audit.command("checkpoint"))
    .description(
      "the newest signed checkpoint; keep one elsewhere and nobody can rewrite what it covers unseen",
    )
    .action((_: object, command: Program) =>
      admin.show<"audit.checkpoint", { checkpoint: string }>(command, "audit.checkpoint", {}, (d) =>
        d.checkpoint.trimEnd().split("\n"),
      ),
    );
  addProofs(audit, admin);
}

function filterOf(o: Options): LogFilter {
  const { since, until, limit, before, ...rest } = o;
  return {
    ...pick(rest),
    ...(since === undefined ? {} : { since: timeOf(since) }),
    ...(until === undefined ? {} : { until: timeOf(until) }),
    ...(limit === undefined ? {} : { limit: wholeFrom(0, limit) }),
    ...(before === undefined ? {} : { before: wholeFrom(0, before) }),
  };
}

/** Commander also gives the common options; only the filters go to the keeper. */
function pick(o: Omit<Options, "since" | "until" | "limit" | "before">): LogFilter {
  const found: LogFilter = {};
  for (const key of ["person", "op", "namespace", "run", "type", "outcome"] as const)
    if (o[key] !== undefined) found[key] = o[key];
  return found;
}

function lineOf({ seq, name, entry }: Line): string {
  const who =
    name ??
    Object.values(entry.actor)
      .filter((v) => v !== null)
      .join(":");
  const { uid, loginUid } = entry.actor as { uid?: number; loginUid?: number | null };
  const account = name === null || uid === undefined ? undefined : `uid=${uid} login=${loginUid ?? "none"}`;
  const data = Object.entries(entry.data ?? {}).map(([key, value]) => `${key}=${String(value)}`);
  return [
    String(seq).padStart(6),
    entry.time,
    entry.type,
    entry.outcome,
    who,
    account,
    entry.op === undefined ? undefined : `${entry.namespace ?? "?"}/${entry.op}`,
    entry.run,
    ...data,
    entry.reason,
  ]
    .filter((s) => s !== undefined)
    .join(" ");
}
