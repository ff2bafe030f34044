import { z } from "zod";
import { Fields, Note, Text } from "./document.ts";

const id = z.string().regex(/^[a-z][a-z0-9_]{0,39}$/);

/** A form that the keeper wants a person to fill in. As in a document, every text is literal; Slack's limits on lengths. */
export const View = z.strictObject({
  /** Comes back as the submission's `action`: `id` says which form it was, `value` what it was about. Slack sees both. */
  id,
  value: z.string().max(2000),
  title: z.string().min(1).max(24),
  submit: z.string().min(1).max(24),
  blocks: z.array(z.discriminatedUnion("kind", [Text, Note, Fields])).max(10),
  inputs: z
    .array(
      z.strictObject({
        id,
        kind: z.literal("text"),
        label: z.string().min(1).max(80),
        hint: z.string().max(150),
        maxLength: z.int().min(1).max(3000),
      }),
    )
    .min(1)
    .max(10),
});

export type View = z.infer<typeof View>;
