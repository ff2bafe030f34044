import type { Command as Program } from "commander";
import { SallyportError } from "../../core/errors.ts";
import { cleanText } from "../../core/text.ts";
import { pairs } from "../print.ts";
import { common, globalsOf } from "../program.ts";
import { askLine } from "../prompt.ts";
import type { Admin } from "./context.ts";

type Waiting = {
  run: string;
  op: string;
  version: number;
  summary: string;
  args: Record<string, unknown>;
  requester: string;
  source: string;
  channel: string | null;
  own: boolean;
  digest: string;
  shortDigest: string;
  needs: { policy: string; needs: string; reason: string }[];
  approved: string[];
  expires: string;
};
type Answer = { run: string; answer: "confirmed" | "approved" | "denied"; state: string };

/** approve, deny: what a person says of a run that waits. */
export function addWaits(program: Program, admin: Admin): void {
  common(program.command("approve <run>"))
    .description("approve a run that waits for it, or confirm your own; on the host no Slack can forge that")
    .option("--digest <digest>", "the digest that you were shown; refused when the run has another")
    .option("--yes", "don't ask at the terminal")
    .action(async (run: string, options: { digest?: string; yes?: true }, command: Program) => {
      const shown = (await admin.call(command, "run.waiting", { run })) as Waiting;
      if (options.digest !== undefined) checkDigest(shown, options.digest);
      else if (options.yes !== true && globalsOf(command).json !== true) await look(shown);
      await admin.show<"run.approve", Answer>(command, "run.approve", { run, digest: shown.digest }, (d) => [
        `${d.answer === "confirmed" ? "Confirmed" : "Approved"}: ${run}, ${shown.op}, digest ${shown.shortDigest}. It is ${d.state}.`,
      ]);
    });
  common(program.command("deny <run>"))
    .description("deny a run that waits for approval; it ends")
    .action((run: string, _: object, command: Program) =>
      admin.show<"run.deny", Answer>(command, "run.deny", { run }, () => [`Denied: ${run}.`]),
    );
}

/** Slack may have shown something else: what would run is shown here before anybody says yes to it. */
async function look(shown: Waiting): Promise<void> {
  for (const line of pairs(fields(shown))) process.stdout.write(`${cleanText(line)}\n`);
  if (!process.stdin.isTTY || !process.stdout.isTTY) return;
  const answer = await askLine(shown.own ? "Confirm it? (yes/no) " : "Approve it? (yes/no) ");
  if (!/^y(es)?$/i.test(answer)) throw new SallyportError("canceled", "Nothing was approved.");
}

function fields(shown: Waiting): object {
  const { run, op, version, summary, args, requester, source, channel, needs, approved, expires } = shown;
  return {
    run,
    op: `${op}, version ${version}: ${summary}`,
    arguments: Object.entries(args).map(([name, value]) => `--${name} ${JSON.stringify(value)}`),
    requester,
    from: channel === null ? source : `${source}, channel ${channel}`,
    digest: shown.shortDigest,
    approvals: needs.map(
      (need) => `${need.needs} (${need.policy}${need.reason === "" ? "" : `: ${need.reason}`})`,
    ),
    approved,
    until: expires,
  };
}

function checkDigest({ run, digest, shortDigest }: Waiting, given: string): void {
  const plain = given.toLowerCase().replaceAll(/\s/g, "");
  if (plain === digest || plain === shortDigest.replaceAll(" ", "")) return;
  throw new SallyportError(
    "denied",
    `Run ${run} has the digest ${shortDigest}, not the one that you gave. Nothing was approved.`,
  );
}
