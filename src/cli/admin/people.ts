import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { Option, type Command as Program } from "commander";
import { SallyportError } from "../../core/errors.ts";
import { cleanText } from "../../core/text.ts";
import { pairs, table } from "../print.ts";
import { common, globalsOf } from "../program.ts";
import { askLine, hasTty } from "../prompt.ts";
import type { Admin } from "./context.ts";
import { addTotp } from "./totp.ts";

/** What a code stands for, and the user who is to be linked with it. */
type Linking = { user: string; enterprise: string | null; team: string; slackUser: string };
type Disabled = { runs: { ended: number; killed: number } };
type User = {
  name: string;
  status: string;
  slack: { team: string; user: string }[];
  roles: { role: string; namespace: string }[];
  groups: string[];
};

/** user, link, unlink, group */
export function addPeople(program: Program, admin: Admin): void {
  const user = program.command("user").description("people");
  common(user.command("add <name>"))
    .option("--host-user <login>", "the person's account on this host")
    .action((name: string, options: { hostUser?: string }, command: Program) =>
      admin.show<"user.add", { user: string }>(
        command,
        "user.add",
        {
          name,
          ...(options.hostUser === undefined
            ? {}
            : { hostUid: uidOf(options.hostUser), login: options.hostUser }),
        },
        (d) => [
          `Added ${d.user}. Their Slack account: they type /ops link, then here: sallyport link CODE --user ${d.user}${
            options.hostUser === undefined ? "" : `; or they themselves: sallyport link CODE`
          }`,
        ],
      ),
    );
  common(user.command("list")).action((_: object, command: Program) =>
    admin.show<"user.list", { users: User[] }>(command, "user.list", {}, (d) =>
      table(
        ["NAME", "STATUS", "SLACK", "ROLES"],
        d.users.map((u) => [
          u.name,
          u.status,
          u.slack.map((s) => `${s.team}/${s.user}`).join(",") || "-",
          u.roles.map((r) => `${r.role}:${r.namespace}`).join(",") || "-",
        ]),
      ),
    ),
  );
  common(user.command("show <name>")).action((name: string, _: object, command: Program) =>
    admin.show<"user.show", object>(command, "user.show", { name }, pairs),
  );
  common(user.command("disable <name>"))
    .description("refuse a person from now on; what they asked for and has not started is withdrawn")
    .addOption(
      new Option("--runs <what>", "what of theirs is running: let it finish, or kill it")
        .choices(["finish", "kill"])
        .default("finish"),
    )
    .action((name: string, { runs }: { runs: "finish" | "kill" }, command: Program) =>
      admin.show<"user.disable", Disabled>(command, "user.disable", { name, runs }, (d) => [
        `${name} is disabled.${d.runs.ended === 0 ? "" : ` Ended before they started: ${d.runs.ended}.`}${d.runs.killed === 0 ? "" : ` Being killed: ${d.runs.killed}.`}`,
      ]),
    );
  common(user.command("enable <name>")).action((name: string, _: object, command: Program) =>
    admin.show(command, "user.enable", { name }, () => [`${name} is enabled.`]),
  );
  const account = user.command("host-account").description("a person's accounts on this host");
  common(account.command("add <name> <login>")).action(
    (name: string, login: string, _: object, command: Program) =>
      admin.show(command, "user.host-account", { action: "add", name, login, uid: uidOf(login) }, () => [
        `The host account ${login} is ${name}'s.`,
      ]),
  );
  common(account.command("remove <name> <login>"))
    .description("by login or uid; the account is nobody's then and is refused")
    .action((name: string, login: string, _: object, command: Program) =>
      admin.show(command, "user.host-account", { action: "remove", name, login }, () => [
        `The host account ${login} is ${name}'s no more.`,
      ]),
    );

  addTotp(user, admin);

  common(program.command("link <code>"))
    .description("link the Slack account that was shown this code")
    .option("--user <name>", "the person, for an admin who confirms somebody else's code (default: yourself)")
    .option(
      "--member-id <id>",
      "the member ID that the person told you; refused when the code stands for another",
    )
    .action(async (code: string, options: { user?: string; memberId?: string }, command: Program) => {
      const shown = (await admin.call(command, "link.show", {
        code,
        ...(options.user === undefined ? {} : { user: options.user }),
      })) as Linking;
      if (options.memberId !== undefined) checkMemberId(shown, options.memberId);
      else await compare(shown, options.user === undefined, globalsOf(command).json === true);
      await admin.show<"link", Linking>(command, "link", { code, user: shown.user }, (d) => [
        `Linked: workspace ${d.team}, member ID ${d.slackUser}, is now ${d.user}.`,
      ]);
    });
  common(program.command("unlink <member-id>"))
    .description("cut a Slack account from its user")
    .option("--team <id>", "the workspace, where the account is linked in several")
    .action((slackUser: string, options: { team?: string }, command: Program) =>
      admin.show(
        command,
        "unlink",
        { ...(options.team === undefined ? {} : { team: options.team }), slackUser },
        () => [`${slackUser} is not linked any more.`],
      ),
    );

  const group = program.command("group").description("groups of people");
  common(group.command("add <name>")).action((name: string, _: object, command: Program) =>
    admin.show(command, "group.add", { name }, () => [`Added group ${name}.`]),
  );
  common(group.command("list")).action((_: object, command: Program) =>
    admin.show<"group.list", { groups: { name: string; members: string[] }[] }>(
      command,
      "group.list",
      {},
      (d) =>
        table(
          ["GROUP", "MEMBERS"],
          d.groups.map((g) => [g.name, g.members.join(",") || "-"]),
        ),
    ),
  );
  const member = group.command("member").description("who is in a group");
  for (const action of ["add", "remove"] as const) {
    common(member.command(`${action} <group> <user>`)).action(
      (name: string, person: string, _: object, command: Program) =>
        admin.show(command, "group.member", { action, group: name, user: person }, () => [
          `${person}: ${action === "add" ? "added to" : "removed from"} ${name}.`,
        ]),
    );
  }
}

function checkMemberId(shown: Linking, memberId: string): void {
  if (memberId === shown.slackUser) return;
  throw new SallyportError(
    "denied",
    `The code stands for member ID ${shown.slackUser}, not for ${memberId}. Nothing was linked.`,
  );
}

/** The one moment where a person can notice that a code was taken from somebody else. */
async function compare(shown: Linking, isOwn: boolean, isJson: boolean): Promise<void> {
  const isAsked = process.stdin.isTTY && hasTty();
  if (isJson && !isAsked) return;
  const whose = isOwn ? `${shown.user}, which is your own (for somebody else: --user NAME)` : shown.user;
  for (const line of [
    `This code stands for workspace ${shown.team}, member ID ${shown.slackUser}.`,
    `Whoever has that Slack account will act as user ${whose}.`,
    'The person finds the member ID under their Slack profile, "Copy member ID". They must be equal.',
  ])
    process.stderr.write(`${cleanText(line)}\n`);
  if (!isAsked) return;
  const answer = await askLine("Are they? Type yes: ");
  if (answer.toLowerCase() !== "yes") throw new SallyportError("canceled", "Nothing was linked.");
}

/** By NSS where getent is there (LDAP, SSSD), else from /etc/passwd. A number is taken as it is. */
function uidOf(login: string): number {
  if (/^[0-9]{1,10}$/.test(login)) return Number(login);
  if (!/^[a-z_][a-z0-9_.-]{0,63}\$?$/i.test(login))
    throw new SallyportError("input_invalid", `"${login}" is no login name.`);
  let lines = "";
  try {
    lines = execFileSync("getent", ["passwd", login], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
  } catch {
    lines = readFileSync("/etc/passwd", "utf8");
  }
  for (const line of lines.split("\n")) {
    const [name, , uid] = line.split(":");
    if (name === login && uid !== undefined) return Number(uid);
  }
  throw new SallyportError("not_found", `This host has no account ${login}.`);
}
