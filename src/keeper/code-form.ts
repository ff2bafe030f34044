import { z } from "zod";
import { shortDigest } from "../core/digest.ts";
import type { MessageOf } from "../wire/messages.ts";
import type { View } from "../wire/view.ts";
import type { Purpose } from "./codes.ts";

const ID = "code";
const FIELD = "code";
/** Six digits, and room for the gap that apps show between them. */
const MAX_TYPED = 10;

/** What the form was opened for. It comes back through Slack, which may have changed it: the code is looked at for that run. */
const About = z.strictObject({
  purpose: z.enum(["confirm", "approve"]),
  run: z.string().regex(/^[a-z0-9-]{4,40}$/),
  digest: z.string().regex(/^sha256:[0-9a-f]{64}$/),
});
const Typed = z.object({ [FIELD]: z.string().max(200) });

export type TypedCode = z.infer<typeof About> & { code: string };

/** Asks for the one-time code with which a person confirms or approves one run. `op`: namespace/name. */
export function codeForm(o: { purpose: Purpose; run: string; op: string; digest: string }): View {
  const { purpose, run, op, digest } = o;
  return {
    id: ID,
    value: JSON.stringify({ purpose, run, digest } satisfies z.infer<typeof About>),
    title: purpose === "confirm" ? "Confirm a run" : "Approve a run",
    submit: purpose === "confirm" ? "Confirm" : "Approve",
    blocks: [
      {
        kind: "fields",
        rows: [
          ["Op", op],
          ["Run", run],
          ["Digest", shortDigest(digest)],
        ],
      },
    ],
    inputs: [
      {
        id: FIELD,
        kind: "text",
        label: "One-time code",
        hint: "The six digits that your authenticator shows now. A code counts once.",
        maxLength: MAX_TYPED,
      },
    ],
  };
}

/** What was typed into that form, and for what; null for anything else that came from a modal. */
export function codeOf(request: MessageOf<"slack.request">): TypedCode | null {
  if (request.surface !== "modal" || request.action?.id !== ID) return null;
  const about = About.safeParse(json(request.action.value));
  const typed = Typed.safeParse(json(request.text));
  if (!about.success || !typed.success) return null;
  return { ...about.data, code: typed.data[FIELD] as string };
}

function json(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return null;
  }
}
