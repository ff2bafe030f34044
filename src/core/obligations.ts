import { SallyportError } from "./errors.ts";
import { isName } from "./identity.ts";
import type { Confirm } from "./manifest.ts";

/** Who has to agree to a run, and how each of them is confirmed. */
export interface ApprovalNeed {
  /** Different people, 1 to 10; the requester is never one of them. */
  readonly count: number;
  /** They must be members of this group; null: whoever may approve. */
  readonly group: string | null;
  readonly confirm: Confirm;
  /** Whether the one who published the version that is to run is no approver of it. */
  readonly excludeCoder: boolean;
}

/** What has to happen before a run that is allowed may start. */
export interface Obligation {
  /** The id of the policy that asks for it, or "manifest". */
  readonly policy: string;
  /** The sentence for the person; "" when it has none. */
  readonly reason: string;
  /** How the requester confirms the run. */
  readonly confirm: Confirm;
  readonly approval: ApprovalNeed | null;
}

/** How far a confirmation goes: a code from the authenticator is more than none, the host more than a code. */
const STRENGTH = { none: 0, totp: 1, local: 2 } as const satisfies Record<Confirm, number>;

export const isAtLeast = (reached: Confirm, wanted: Confirm): boolean =>
  STRENGTH[reached] >= STRENGTH[wanted];

export const strongest = (...all: readonly Confirm[]): Confirm =>
  all.reduce((most, next) => (isAtLeast(most, next) ? most : next), "none");

export const MAX_APPROVALS = 10;
const KEYS = ["confirm", "approval", "approval_group", "approval_confirm", "approval_excludes"] as const;

/**
 * The obligation that a policy's annotations make of it; null where it has none of them, and it is an ordinary policy then.
 * Throws `policy_invalid`.
 */
export function obligationOf(
  where: string,
  id: string,
  annotations: Readonly<Record<string, string | null | undefined>>,
): Obligation | null {
  if (!KEYS.some((key) => annotations[key] !== undefined)) return null;
  const bad = (text: string): SallyportError => new SallyportError("policy_invalid", `${where}: ${text}`);
  const confirmIn = (key: "confirm" | "approval_confirm"): Confirm => {
    const value = annotations[key] ?? "none";
    if (value !== "none" && value !== "totp" && value !== "local")
      throw bad(`@${key} is "none", "totp" or "local".`);
    return value;
  };
  const confirm = confirmIn("confirm");
  if (annotations.approval === undefined) {
    const alone = KEYS.slice(2).find((key) => annotations[key] !== undefined);
    if (alone !== undefined) throw bad(`@${alone} needs an @approval("1") beside it.`);
    if (confirm === "none") throw bad('@confirm("none") asks for nothing.');
    return { policy: id, reason: annotations.reason ?? "", confirm, approval: null };
  }
  const count = Number(annotations.approval);
  if (!/^[0-9]{1,2}$/.test(annotations.approval ?? "") || count < 1 || count > MAX_APPROVALS)
    throw bad(`@approval is how many have to approve, 1 to ${MAX_APPROVALS}.`);
  const group = annotations.approval_group ?? null;
  if (group !== null && !isName("group", group))
    throw bad(`@approval_group: ${JSON.stringify(group).slice(0, 50)} is no group's name.`);
  const excludes = annotations.approval_excludes;
  if (excludes !== undefined && excludes !== "coder") throw bad('@approval_excludes is "coder".');
  return {
    policy: id,
    reason: annotations.reason ?? "",
    confirm,
    approval: { count, group, confirm: confirmIn("approval_confirm"), excludeCoder: excludes === "coder" },
  };
}
