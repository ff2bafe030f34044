import type { Command as Program } from "commander";
import { ENGINES } from "../../core/engines.ts";
import { SallyportError } from "../../core/errors.ts";
import { table } from "../print.ts";
import { common } from "../program.ts";
import type { Admin } from "./context.ts";

type Grant = { role: string; namespace: string; subject: string; kind: string };
const ROLES = ["admin", "coder", "runner"] as const;

/** role, namespace */
export function addRights(program: Program, admin: Admin): void {
  const role = program.command("role").description("who has which role where");
  for (const action of ["grant", "revoke"] as const) {
    common(role.command(`${action} <role> <namespace> <subject>`))
      .description(
        `${action} admin, coder or runner of a namespace (* for all) to a user, or a group with --group`,
      )
      .option("--group", "the subject is a group")
      .action(
        (
          name: string,
          namespace: string,
          subject: string,
          options: { group?: boolean },
          command: Program,
        ) => {
          const [, prefix, bare] = /^(?:(user|group):)?(.*)$/s.exec(subject) ?? [];
          const kind =
            options.group === true ? "group" : prefix === "user" || prefix === "group" ? prefix : "any";
          return admin.show(
            command,
            `role.${action}`,
            {
              role: roleName(name),
              namespace,
              subject: { kind, name: bare ?? subject },
            },
            () => [`${subject}: ${name} of ${namespace} ${action === "grant" ? "granted" : "revoked"}.`],
          );
        },
      );
  }
  common(role.command("list"))
    .option("--namespace <name>")
    .action((options: { namespace?: string }, command: Program) =>
      admin.show<"role.list", { grants: Grant[] }>(
        command,
        "role.list",
        options.namespace === undefined ? {} : { namespace: options.namespace },
        (d) =>
          table(
            ["ROLE", "NAMESPACE", "SUBJECT", "KIND"],
            d.grants.map((g) => [g.role, g.namespace, g.subject, g.kind]),
          ),
      ),
    );

  const namespace = program.command("namespace").description("namespaces of Ops and their channels");
  common(namespace.command("add <name>")).action((name: string, _: object, command: Program) =>
    admin.show(command, "namespace.add", { name }, () => [`Added namespace ${name}.`]),
  );
  common(namespace.command("list")).action((_: object, command: Program) =>
    admin.show<
      "namespace.list",
      {
        namespaces: {
          name: string;
          channels: string[];
          engine: string | null;
          twoPersonPublish: boolean;
        }[];
      }
    >(command, "namespace.list", {}, (d) =>
      table(
        ["NAMESPACE", "CHANNELS", "ENGINE", "TWO-PERSON PUBLISH"],
        d.namespaces.map((n) => [
          n.name,
          n.channels.join(",") || "any",
          n.engine ?? "default",
          n.twoPersonPublish ? "on" : "off",
        ]),
      ),
    ),
  );
  common(
    namespace
      .command("engine <namespace> <engine>")
      .description(`what starts all of a namespace's Ops: ${ENGINES.join(", ")}, or default: what each says`),
  ).action((name: string, text: string, _: object, command: Program) => {
    const engine = text === "default" ? null : ENGINES.find((known) => known === text);
    if (engine === undefined)
      throw new SallyportError(
        "usage",
        `There is no engine ${text}; there are ${ENGINES.join(", ")}, default.`,
      );
    return admin.show(command, "namespace.engine", { namespace: name, engine }, () => [
      engine === null
        ? `${name}: its Ops are started by what each says, or the host's default.`
        : `${name}: its Ops are started by ${engine}.`,
    ]);
  });
  common(
    namespace
      .command("two-person-publish <namespace> <on|off>")
      .description("whether who publishes a version may not be the one who activates it"),
  ).action((name: string, text: string, _: object, command: Program) => {
    if (text !== "on" && text !== "off") throw new SallyportError("usage", "Write on or off.");
    return admin.show(command, "namespace.two-person", { namespace: name, on: text === "on" }, () => [
      text === "on"
        ? `${name}: who publishes a version can't activate it any more.`
        : `${name}: who publishes a version may activate it.`,
    ]);
  });
  common(namespace.command("rotate-key <namespace>"))
    .description("encrypt a namespace's secrets under a new key; runs go on meanwhile")
    .action((name: string, _: object, command: Program) =>
      admin.show<"namespace.rotate-key", { values: number }>(
        command,
        "namespace.rotate-key",
        { namespace: name },
        (d) => [`${name}: a new key; ${d.values} values are encrypted under it.`],
      ),
    );
  const channel = namespace
    .command("channel")
    .description("in which Slack channels a namespace's Ops may run (none listed: any)");
  for (const action of ["add", "remove"] as const) {
    common(channel.command(`${action} <namespace> <channel>`)).action(
      (name: string, id: string, _: object, command: Program) =>
        admin.show<"namespace.channel", { channels: string[] }>(
          command,
          "namespace.channel",
          { action, namespace: name, channel: id },
          (d) => [
            `${name}: channel ${id} ${action === "add" ? "added" : "removed"}. ${reach(action, d.channels)}`,
          ],
        ),
    );
  }
}

/** What the change comes to: the first channel closes all others, and without the last one all are open. */
function reach(action: "add" | "remove", channels: readonly string[]): string {
  if (channels.length === 0)
    return "It was the last: its Ops may now be run from any channel and direct message.";
  const only = `Its Ops may be run from ${channels.slice(0, 10).join(", ")}${channels.length > 10 ? ", ..." : ""} alone`;
  return action === "add" && channels.length === 1
    ? `${only}; until now from any channel and direct message.`
    : `${only}.`;
}

function roleName(text: string): (typeof ROLES)[number] {
  const found = ROLES.find((name) => name === text);
  if (found === undefined)
    throw new SallyportError("usage", `There is no role ${text}; there are ${ROLES.join(", ")}.`);
  return found;
}
