import { type Approver, demandsOf, isAsked, missing, needsOf, needText } from "../core/approvals.ts";
import type { Args } from "../core/args.ts";
import { type BoundSecret, bindingOf } from "../core/bound-secret.ts";
import { canonicalJson } from "../core/canonical.ts";
import { runDigest } from "../core/digest.ts";
import { SallyportError } from "../core/errors.ts";
import { channelKindOf } from "../core/identity.ts";
import type { Confirm } from "../core/manifest.ts";
import { APPROVAL_TIME_MS } from "../core/manifest-units.ts";
import { isAtLeast, type Obligation } from "../core/obligations.ts";
import { groupByName, listMembers } from "../store/groups.ts";
import type { RunRow } from "../store/runs.ts";
import type { Reader } from "../store/tx.ts";
import { listVerdicts, type Verdict, type Wait } from "../store/waits.ts";
import type { Access, ActiveOp } from "./access.ts";
import { type Caller, recall } from "./callers.ts";
import type { WaitView } from "./run-types.ts";
import { rootOf } from "./runtimes.ts";
import { asBound, versionsOf } from "./secrets.ts";

/** Where nobody has to approve, a person confirms at once or not at all. */
const CONFIRM_TIME_MS = 600_000;

/** A clock that is corrected by a little was not set back. */
export const CLOCK_SLACK_MS = 60_000;

export type WaitPlan = Omit<Wait, "run" | "created" | "slackUser">;

type Asked = {
  caller: Caller;
  op: ActiveOp;
  args: Args;
  root: string | undefined;
  secrets: readonly BoundSecret[];
};

/**
 * How far somebody confirms what they do: the host knows its caller by the kernel's word; Slack's word is none until a code comes
 * with it, which is believed once it was checked.
 */
export function reachedWith({ source }: Pick<Caller, "source">, code?: string): Confirm {
  if (source === "tty") return "local";
  return code === undefined ? "none" : "totp";
}

/** What a run has to wait for; null: nothing. Throws where it could never be approved, before anything is recorded. */
export async function planWait(
  reader: Reader,
  o: Asked & { obligations: readonly Obligation[]; breakGlass: string | undefined; now: number },
): Promise<WaitPlan | null> {
  const { caller, op } = o;
  const { confirm, needs } = demandsOf(op.manifest, o.obligations);
  if (o.breakGlass !== undefined && needs.length === 0)
    throw new SallyportError(
      "input_invalid",
      `${op.row.name} needs no approval with these arguments; run it without --break-glass.`,
    );
  const reached = reachedWith(caller);
  const asked = o.breakGlass === undefined ? needs : [];
  if (asked.length === 0 && isAtLeast(reached, confirm)) return null;
  await refuseUnapprovable(reader, caller, op, asked);
  const time = asked.length === 0 ? CONFIRM_TIME_MS : (op.manifest.approval?.expiresMs ?? APPROVAL_TIME_MS);
  const expires = o.now + time;
  const { secrets } = o;
  return { confirm, reached, needs: asked, secrets, expires, digest: digestOf({ ...o, expires }) };
}

/** What an approval binds (P6). */
export function digestOf({ caller, op, args, root, secrets, expires }: Asked & { expires: number }): string {
  return runDigest({
    opDigest: op.version.digest,
    op: op.row.name,
    args,
    secrets: secrets.map(bindingOf),
    ...(root === undefined ? {} : { root }),
    requester: caller.principal.name,
    channel: caller.channel?.id ?? null,
    expiresAt: expires,
  });
}

/** What the run gets by its bindings, where they are as they were when it was asked for; null: they are not. */
export async function asItWasAsked(
  reader: Reader,
  wait: Wait,
  asked: Pick<Asked, "caller" | "op" | "args">,
): Promise<Pick<Asked, "root" | "secrets"> | null> {
  const { manifest } = asked.op;
  const root = await rootOf(reader, manifest);
  const secrets = await versionsOf(reader, manifest, asBound(wait.secrets));
  const digest = digestOf({ ...asked, root, secrets, expires: wait.expires });
  return digest === wait.digest ? { root, secrets } : null;
}

/** Whether the same would be waited for if it were asked for now. */
export function demandsAs(wait: Wait, op: ActiveOp, obligations: readonly Obligation[]): boolean {
  const now = demandsOf(op.manifest, obligations);
  const same = (a: unknown, b: unknown) => canonicalJson(a) === canonicalJson(b);
  return now.confirm === wait.confirm && same(now.needs, wait.needs);
}

async function refuseUnapprovable(
  reader: Reader,
  caller: Caller,
  op: ActiveOp,
  needs: readonly Obligation[],
): Promise<void> {
  for (const need of needsOf(needs)) {
    if (need.group === null) continue;
    const group = await groupByName(reader, need.group);
    const members = group === undefined ? [] : await listMembers(reader, group.id);
    const able = members.filter(
      ({ id, status }) =>
        status === "active" &&
        id !== caller.id &&
        isAsked(need, { groups: [need.group ?? ""], isCoder: id === op.version.publisher }),
    );
    if (able.length >= need.count) continue;
    const why = group === undefined ? "there is no such group" : "it has too few members who could";
    throw new SallyportError(
      "conflict",
      `${op.row.name} has to be approved by ${needText(need)}, and ${why}. An admin changes that on the host: sallyport group`,
    );
  }
}

/** Those whose approval counts at this moment: still known, still allowed, and whom a need asks. */
async function approversOf(
  access: Access,
  reader: Reader,
  row: RunRow,
  op: ActiveOp,
): Promise<(Approver & { name: string })[]> {
  const resource = await access.runResource(reader, row, op);
  const found: (Approver & { name: string })[] = [];
  for (const verdict of await listVerdicts(reader, row.id)) {
    const caller = await callerOf(reader, verdict);
    if (verdict.verdict !== "approved" || caller === null) continue;
    if (!access.may(caller, "approve", resource)) continue;
    found.push({ ...approverOf(caller, op), reached: verdict.reached, name: caller.principal.name });
  }
  return found;
}

export function approverOf(caller: Caller, op: ActiveOp): Omit<Approver, "reached"> {
  return {
    groups: caller.principal.groups.map(({ name }) => name),
    isCoder: caller.id === op.version.publisher,
  };
}

/** What a verdict keeps of the account through which it was given. */
export const accountOf = ({ account, slackUser }: Caller): string => slackUser ?? String(account?.uid ?? "");

async function callerOf(reader: Reader, verdict: Verdict): Promise<Caller | null> {
  const { userId, source, channel, account } = verdict;
  const from =
    source === "tty"
      ? ({ source, standing: "host", account: { uid: Number(account), loginUid: null } } as const)
      : ({ source, standing: "member", slackUser: account } as const);
  const where = channel === null ? null : { id: channel, kind: channelKindOf(channel) };
  // Disabled, gone, or their account is theirs no more: their word counts no more.
  return recall(reader, { id: userId, ...from, channel: where }).catch(() => null);
}

export async function waitView(
  access: Access,
  reader: Reader,
  o: { row: RunRow; op: ActiveOp; wait: Wait },
): Promise<WaitView> {
  return viewOf(o.wait, await approversOf(access, reader, o.row, o.op));
}

/** `given`: those whose approval counts. */
export function viewOf(
  { digest, confirm, reached, needs: asked, expires }: WaitPlan,
  given: readonly (Approver & { name: string })[],
): WaitView {
  const needs = needsOf(asked);
  return {
    digest,
    confirm,
    reached,
    needs,
    missing: missing(needs, given),
    approved: given.map(({ name }) => name),
    expires,
  };
}

export const isComplete = ({ confirm, reached, missing: left }: WaitView): boolean =>
  left.length === 0 && isAtLeast(reached, confirm);
