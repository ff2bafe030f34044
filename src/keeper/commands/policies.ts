import { createHash } from "node:crypto";
import { demandsOf, needsOf, needText } from "../../core/approvals.ts";
import { parseArgs } from "../../core/args.ts";
import type { AuthRequest, Decision, PolicyInfo } from "../../core/authorizer.ts";
import { SallyportError } from "../../core/errors.ts";
import { channelKindOf, checkName, isChannelId, parseOpRef } from "../../core/identity.ts";
import { POLICY_LIMITS, readSource } from "../../core/policies.ts";
import { listDecisions } from "../../store/decisions.ts";
import { principal } from "../../store/grants.ts";
import { policiesAt, policiesInForce, policyInForce } from "../../store/policies.ts";
import { getRun } from "../../store/runs.ts";
import { getUser } from "../../store/users.ts";
import type { CommandParams } from "../../wire/ctl.ts";
import type { ActiveOp } from "../access.ts";
import type { Asked } from "../decisions.ts";
import type { Session } from "../session.ts";
import { SITE } from "../site-policies.ts";
import type { CommandContext, Handlers } from "./command.ts";
import { existing } from "./people.ts";

const APPLIANCE = { kind: "appliance" } as const;

export const policies: Handlers = {
  "policy.add": async ({ session, caller, params, parts }) => {
    await session.access.demand(caller, "administer", APPLIANCE);
    const name = checkName("policy", params.name);
    const text = textOf(parts[0]!);
    const { replace } = params;
    const added = await session.policies
      .add({ name, text, author: caller.id, replace }, (tx, row) => {
        tx.log({
          type: "policy.added",
          outcome: "success",
          actor: caller.actor,
          data: {
            policy: name,
            number: row.number,
            digest: digestOf(text),
            ids: readSource({ name, text })
              .map(({ id }) => id)
              .join(",")
              .slice(0, 1000),
          },
        });
      })
      .catch((error: unknown) => refused(session, caller, name, error));
    return { policy: name, number: added.row.number, ids: added.policies.map(({ id }) => id) };
  },
  // What a policy forbids must not keep an admin from taking it away: for these the policies that ship decide alone.
  "policy.remove": async ({ session, caller, params }) => {
    await demandShipped(session, caller);
    await session.policies.remove(params.name, (tx, row) => {
      tx.log({
        type: "policy.removed",
        outcome: "success",
        actor: caller.actor,
        data: { policy: row.name, number: row.number, digest: digestOf(row.text) },
      });
    });
    return { policy: params.name };
  },
  "policy.list": async ({ session, caller }) => {
    await demandShipped(session, caller);
    const rows = await policiesInForce(session.store.read);
    const site = await Promise.all(
      rows.map(async (row) => ({
        name: row.name,
        number: row.number,
        ids: idsOf(row.name, row.text),
        author: (await getUser(session.store.read, row.author))?.name ?? row.author,
        added: new Date(row.created).toISOString(),
      })),
    );
    const shipped = session.policies.shipped.policies().map(({ id, source, effect, reason }) => ({
      id,
      source,
      effect,
      reason,
    }));
    return { site, shipped, unreadable: session.policies.unreadable };
  },
  "policy.show": async ({ session, caller, params }) => {
    await demandShipped(session, caller);
    const row = await policyInForce(session.store.read, params.name);
    if (row !== undefined) return { name: row.name, number: row.number, text: row.text };
    const info = session.policies.shipped.policies().find(({ id }) => id === params.name);
    if (info === undefined)
      throw new SallyportError("not_found", `Policy ${params.name}. See: sallyport policy list`);
    return { name: info.id, number: null, text: info.text };
  },
  "policy.check": async ({ session, caller, params }) => {
    const { namespace, name } = parseOpRef(params.op);
    if (namespace === null) throw new SallyportError("usage", `Write the Op in full: NAMESPACE/${name}`);
    await session.access.demandNamespace(caller, "administer", namespace);
    const op = await session.access.activeOp(session.store.read, namespace, name);
    if (op === undefined) throw new SallyportError("not_found", `No active Op is named ${params.op}.`);
    const user = await existing(session.store.read, params.user);
    const who = await principal(session.store.read, user.id);
    if (who === undefined) throw new SallyportError("not_found", `User ${params.user}.`);
    const context = contextOf(session, params);
    const { action } = params;
    if (action === "run" || action === "approve") context.args = parseArgs(op.manifest, params.tokens);
    else if (params.tokens.length > 0)
      throw new SallyportError("usage", `Only a run has arguments; leave out --arg to ask about ${action}.`);
    const resource = { kind: "op", op: op.row, namespace: op.namespace } as const;
    const decision = session.access.authorizer.authorize({
      principal: { kind: "user", user: who },
      action,
      resource: action === "approve" ? await imagined(session, params, op, context) : resource,
      context,
    });
    const asked = decision.allow && action === "run" ? demandsOf(op.manifest, decision.obligations) : null;
    return {
      ...shown(decision, session.access.authorizer.policies()),
      confirm: asked?.confirm ?? "none",
      approvals: needsOf(asked?.needs ?? []).map((need) => `${needText(need)} (${need.policy})`),
    };
  },
  "policy.explain": async ({ session, caller, params }) => {
    const { access, store } = session;
    const row = await getRun(store.read, params.run);
    const namespace = row && (await access.namespace(store.read, row.namespace));
    // Who administers neither must not learn here which runs there are, nor whose.
    if (namespace === undefined || !access.may(caller, "administer", { kind: "namespace", namespace }))
      await access.demand(caller, "administer", APPLIANCE);
    if (row === undefined) throw new SallyportError("not_found", `Run ${params.run}.`);
    const shipped = session.policies.shipped.policies();
    const decisions = await Promise.all(
      (await listDecisions(session.store.read, row.id)).map(async (one) => {
        const answer = JSON.parse(one.answer) as Decision;
        const then = await policiesAt(session.store.read, one.created);
        const site = then.flatMap(({ name, text }) => sourceOf(name, text));
        return {
          phase: one.phase,
          time: new Date(one.created).toISOString(),
          asked: JSON.parse(one.asked) as Asked,
          ...shown(answer, [...shipped, ...site]),
          obligations: answer.obligations.map(({ policy }) => policy),
        };
      }),
    );
    return { run: row.id, op: `${row.namespace}/${row.op}`, state: row.state, decisions };
  },
};

/** The run that the requester would ask for from the same place, with what the manifest and the policies ask for first. */
async function imagined(
  session: Session,
  params: CommandParams<"policy.check">,
  op: ActiveOp,
  context: AuthRequest["context"],
): Promise<AuthRequest["resource"]> {
  if (params.requester === undefined) throw new SallyportError("usage", "Whose run? --requester NAME");
  const requester = await existing(session.store.read, params.requester);
  const user = await principal(session.store.read, requester.id);
  if (user === undefined) throw new SallyportError("not_found", `User ${params.requester}.`);
  const resource = { kind: "op", op: op.row, namespace: op.namespace } as const;
  const asked = session.access.authorizer.authorize({
    principal: { kind: "user", user },
    action: "run",
    resource,
    context,
  });
  if (!asked.allow)
    throw new SallyportError(
      "input_invalid",
      `${requester.name} could not ask for that run: ${asked.reason}`,
    );
  const needs = needsOf(demandsOf(op.manifest, asked.obligations).needs);
  return {
    ...resource,
    kind: "run",
    id: "imagined",
    requester: requester.name,
    publisher: op.row.publisher ?? "",
    approvers: [...new Set(needs.flatMap(({ group }) => group ?? []))],
  };
}

async function demandShipped(
  session: Session,
  caller: CommandContext<"policy.list">["caller"],
): Promise<void> {
  const decision = session.policies.shipped.authorize({
    principal: { kind: "user", user: caller.principal },
    action: "administer",
    resource: APPLIANCE,
    context: {
      source: caller.source,
      standing: caller.standing,
      channel: caller.channel,
      time: session.now(),
    },
  });
  if (!decision.allow) await session.access.refuse(caller, "administer", APPLIANCE, decision);
}

async function refused(
  session: Session,
  caller: CommandContext<"policy.add">["caller"],
  name: string,
  error: unknown,
): Promise<never> {
  if (error instanceof SallyportError && (error.code === "policy_invalid" || error.code === "conflict"))
    await session.store.mutate((tx) => {
      tx.log({
        type: "policy.refused",
        outcome: "denied",
        actor: caller.actor,
        reason: error.detail.slice(0, 1000),
        policy: error.code,
        data: { policy: name, code: error.code },
      });
    });
  throw error;
}

function textOf(bytes: Buffer): string {
  if (bytes.length > POLICY_LIMITS.text)
    throw new SallyportError(
      "policy_invalid",
      `The file has ${bytes.length} bytes; at most ${POLICY_LIMITS.text} are read.`,
    );
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new SallyportError("policy_invalid", "The file is not UTF-8 text.", { cause });
  }
}

const digestOf = (text: string): string => `sha256:${createHash("sha256").update(text).digest("hex")}`;

/** Of a text that was read when it was added, perhaps by another version. */
function sourceOf(name: string, text: string): PolicyInfo[] {
  try {
    return readSource({ name: `${SITE}${name}`, text });
  } catch {
    return [];
  }
}

const idsOf = (name: string, text: string): string[] => sourceOf(name, text).map(({ id }) => id);

function shown(
  { allow, policies: ids, reason }: Pick<Decision, "allow" | "policies" | "reason">,
  known: readonly PolicyInfo[],
): { allow: boolean; reason: string; policies: unknown[] } {
  const decided = ids.map((id) => {
    const info = known.find((policy) => policy.id === id);
    return info === undefined
      ? { id, source: null, effect: null, reason: "", text: "" }
      : { id, source: info.source, effect: info.effect, reason: info.reason, text: info.text };
  });
  return { allow, reason, policies: decided };
}

function contextOf(
  session: Session,
  params: CommandParams<"policy.check">,
): { -readonly [K in keyof AuthRequest["context"]]: AuthRequest["context"][K] } {
  const { channel, source } = params;
  if (channel !== undefined && !isChannelId(channel))
    throw new SallyportError(
      "input_invalid",
      `"${channel}" is no channel id; in Slack: channel details, at the very bottom.`,
    );
  return {
    source,
    standing: source === "slack" ? (params.standing ?? "member") : "host",
    channel: channel === undefined ? null : { id: channel, kind: channelKindOf(channel) },
    confirmation: params.confirmed ?? (source === "tty" ? "local" : "none"),
    time: params.at ?? session.now(),
  };
}
