import type { Confirm, Manifest } from "./manifest.ts";
import { type ApprovalNeed, isAtLeast, type Obligation, strongest } from "./obligations.ts";

/** Who asks for what its manifest says, where policies are named by their ids. */
export const BY_MANIFEST = "manifest";

/** One who may approve the run and did. */
export interface Approver {
  readonly groups: readonly string[];
  readonly reached: Confirm;
  /** Whether they published the version that is to run. */
  readonly isCoder: boolean;
}

/** A need for approvals, with the policy that has it. */
export type Need = ApprovalNeed & Pick<Obligation, "policy" | "reason">;

/** How the requester has to confirm the run, and who has to approve it. */
export function demandsOf(
  manifest: Manifest,
  obligations: readonly Obligation[],
): { confirm: Confirm; needs: Obligation[] } {
  const { approval } = manifest;
  const own: Obligation[] =
    approval === null
      ? []
      : [
          {
            policy: BY_MANIFEST,
            reason: "",
            confirm: "none",
            approval: {
              count: approval.count,
              group: approval.group,
              confirm: approval.confirm,
              excludeCoder: approval.excludeCoder === true,
            },
          },
        ];
  return {
    confirm: strongest(manifest.confirm, ...obligations.map(({ confirm }) => confirm)),
    needs: [...own, ...obligations.filter(({ approval: asked }) => asked !== null)],
  };
}

export function needsOf(obligations: readonly Obligation[]): Need[] {
  return obligations.flatMap(({ policy, reason, approval }) =>
    approval === null ? [] : [{ policy, reason, ...approval }],
  );
}

/** Whether the person is one of those whom the need asks, however they confirm it. */
export const isAsked = (need: ApprovalNeed, who: Omit<Approver, "reached">): boolean =>
  (need.group === null || who.groups.includes(need.group)) && !(need.excludeCoder && who.isCoder);

export const counts = (need: ApprovalNeed, who: Approver): boolean =>
  isAsked(need, who) && isAtLeast(who.reached, need.confirm);

/** What is left to be approved. One person's approval counts for every need that asks them. */
export function missing(needs: readonly Need[], given: readonly Approver[]): { need: Need; have: number }[] {
  return needs
    .map((need) => ({ need, have: given.filter((who) => counts(need, who)).length }))
    .filter(({ need, have }) => have < need.count);
}

const HOW: Readonly<Record<Confirm, string>> = {
  none: "",
  totp: ", with a one-time code",
  local: ", on the host",
};

/** "2 of group leads, with a one-time code" */
export function needText({ count, group, confirm, excludeCoder }: ApprovalNeed): string {
  const who = group === null ? (count === 1 ? "person" : "people") : `of group ${group}`;
  return `${count} ${who}${excludeCoder ? ", not who published it" : ""}${HOW[confirm]}`;
}
