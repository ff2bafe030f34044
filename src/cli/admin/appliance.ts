import { setTimeout } from "node:timers/promises";
import type { Command as Program } from "commander";
import { asSallyportError } from "../../core/errors.ts";
import { slackManifestJson } from "../../slack/manifest.ts";
import { pairs, printData } from "../print.ts";
import { common, globalsOf } from "../program.ts";
import { askSecret, readSecretFd, readSecretLines } from "../prompt.ts";
import type { Admin } from "./context.ts";

const BACK_MS = 5000;
const BACK_POLL_MS = 50;

/** After `lock` the keeper starts anew, sealed: the next command that is typed shall find it. */
async function answersAgain(ask: () => Promise<unknown>): Promise<boolean> {
  for (const until = Date.now() + BACK_MS; Date.now() < until; await setTimeout(BACK_POLL_MS)) {
    try {
      await ask();
      return true;
    } catch (error) {
      if (asSallyportError(error).code !== "not_running") return true;
    }
  }
  return false;
}

type Check = { name: string; ok: boolean; warn?: true; detail: string };
type Report = { ok: boolean; checks: Check[] };

/** A line a check; the attempts of the self-test that failed as they must are one: `--json` has each. */
export function doctorLines({ checks }: Report): string[] {
  const isStopped = ({ name, ok, warn }: Check) => ok && warn !== true && name.startsWith("sandbox: ");
  const stopped = checks.filter(isStopped).length;
  const lines = checks
    .filter((check) => !isStopped(check))
    .map(
      ({ ok, warn, name, detail }) =>
        `${ok ? (warn === true ? "warn " : "fine ") : "WRONG"}  ${name}${detail === "" ? "" : `: ${detail}`}`,
    );
  return stopped === 0
    ? lines
    : [...lines, `fine   sandbox: ${stopped} attempts to break out ended as they must`];
}

/** unlock, lock, status, doctor, slack ... */
export function addAppliance(program: Program, admin: Admin): void {
  common(program.command("unlock"))
    .description("open the database with a passphrase or the recovery code")
    .option("--passphrase-fd <n>", "read it from this descriptor")
    .option("--slot <name>", "only this key slot")
    .option("--recovery", "it is the recovery code")
    .action(
      async (options: { passphraseFd?: string; slot?: string; recovery?: boolean }, command: Program) => {
        const what = options.recovery === true ? "Recovery code: " : "Passphrase: ";
        // Nobody shall type a passphrase that no keeper is there to take.
        if (options.passphraseFd === undefined) await admin.call(command, "status", {});
        const secret =
          options.passphraseFd === undefined
            ? await askSecret(what)
            : readSecretFd(options.passphraseFd, "--passphrase-fd");
        const params = {
          kind: options.recovery === true ? "recovery" : "passphrase",
          ...(options.slot === undefined ? {} : { slot: options.slot }),
        } as const;
        try {
          await admin.show<"unlock", { slot: string }>(
            command,
            "unlock",
            params,
            (d) => [`Unlocked with slot ${d.slot}.`],
            { parts: [secret] },
          );
        } finally {
          secret.fill(0);
        }
      },
    );
  common(program.command("lock"))
    .description("end every run and seal; only a person can unlock afterwards")
    .action(async (_: object, command: Program) => {
      const data = await admin.call(command, "lock", {});
      const isBack = await answersAgain(() => admin.call(command, "status", {}));
      printData(data, globalsOf(command).json, () => [
        "Locked. Every run was ended.",
        ...(isBack ? [] : ["No keeper has started anew yet: see the output of serve."]),
      ]);
    });
  common(program.command("status"))
    .description("how the appliance is")
    .action((_: object, command: Program) =>
      admin.show<"status", Record<string, unknown>>(command, "status", {}, (d) => [
        ...pairs(d),
        ...(d.state === "sealed" ? ["", "Sealed. Unlock it with: sallyport unlock"] : []),
      ]),
    );
  common(program.command("doctor"))
    .description("check the host and the appliance; each check is fine or says what to do")
    .action(async (_: object, command: Program) => {
      await admin.show<"doctor", Report>(command, "doctor", {}, (report) => {
        if (!report.ok) admin.exit(1);
        return doctorLines(report);
      });
    });

  const slack = program.command("slack").description("the connection to Slack");
  common(slack.command("connect"))
    .description("enter the app token (xapp-) and the bot token (xoxb-)")
    .option("--value-fd <n>", "read both from this descriptor, a line each, the app token first")
    .action(async (options: { valueFd?: string }, command: Program) => {
      const parts =
        options.valueFd === undefined
          ? [await askSecret("App token (xapp-...): "), await askSecret("Bot token (xoxb-...): ")]
          : readSecretLines(options.valueFd, "--value-fd", 2);
      try {
        type Reply = { connected: boolean; team?: string | null; error?: string | null };
        await admin.show<"slack.connect", Reply>(
          command,
          "slack.connect",
          {},
          (d) => [
            d.connected
              ? `Connected to workspace ${d.team ?? ""}.`
              : `Tokens stored; not connected: ${d.error ?? "unknown"}`,
          ],
          { parts },
        );
      } finally {
        for (const part of parts) part.fill(0);
      }
    });
  common(slack.command("status"))
    .description("whether the gateway is connected, and to which workspace")
    .action((_: object, command: Program) => admin.show(command, "slack.status", {}, pairs));
  common(slack.command("manifest"))
    .description("print the Slack app manifest to paste at api.slack.com/apps")
    .action(() => {
      process.stdout.write(`${slackManifestJson()}\n`);
    });
}
