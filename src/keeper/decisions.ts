import type { AuthRequest, Decision } from "../core/authorizer.ts";
import { canonicalJson } from "../core/canonical.ts";
import { addDecision, type DecisionRow } from "../store/decisions.ts";
import type { Tx } from "../store/tx.ts";
import type { Caller } from "./callers.ts";

/** What was asked, as it stands in `decisions.asked`: enough to ask it again. */
export type Asked = {
  action: "run" | "approve";
  who: string;
  groups: string[];
  roles: { role: string; namespace: string; group: string | null }[];
  source: AuthRequest["context"]["source"];
  standing: AuthRequest["context"]["standing"];
  channel: AuthRequest["context"]["channel"];
  args: Record<string, string | number | boolean>;
  confirmation: "none" | "totp" | "local";
  launch: boolean;
  breakGlass: boolean;
  /** ms since the epoch */
  time: number;
};
/** The answer as it stands in `decisions.answer`. */
export type Answered = Pick<Decision, "allow" | "policies" | "reason" | "obligations">;

/** Joins the transaction of what was decided. */
export async function keepDecision(
  tx: Tx,
  o: {
    run: string;
    phase: DecisionRow["phase"];
    caller: Caller;
    context: Omit<AuthRequest["context"], "source" | "standing" | "channel">;
    answer: Answered;
  },
): Promise<void> {
  const { caller, context, answer } = o;
  const { principal } = caller;
  const asked: Asked = {
    action: o.phase === "approve" ? "approve" : "run",
    who: principal.name,
    groups: principal.groups.map(({ name }) => name),
    roles: [
      ...principal.roles.map((grant) => ({ ...grant, group: null })),
      ...principal.groups.flatMap(({ name, roles }) => roles.map((grant) => ({ ...grant, group: name }))),
    ],
    source: caller.source,
    standing: caller.standing,
    channel: caller.channel,
    args: { ...context.args },
    confirmation: context.confirmation ?? "none",
    launch: context.launch ?? false,
    breakGlass: context.breakGlass ?? false,
    time: context.time,
  };
  const { allow, policies, reason, obligations } = answer;
  await addDecision(tx, {
    run: o.run,
    phase: o.phase,
    userId: caller.id,
    asked: canonicalJson(asked),
    answer: canonicalJson({ allow, policies, reason, obligations }),
  });
}
