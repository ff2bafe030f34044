import { z } from "zod";

/**
 * What the keeper wants shown, free of any markup: the gateway's renderer decides how Slack shows it, and every text is
 * literal. Op output is never in the document itself; an `output` block names the binary part that carries it.
 */
const text = z.string().max(8000);

export const Button = z.strictObject({
  id: z.string().max(64),
  label: z.string().max(60),
  value: z.string().max(500),
  style: z.enum(["primary", "danger"]).optional(),
});

export const Text = z.strictObject({ kind: z.literal("text"), text });
export const Note = z.strictObject({ kind: z.literal("note"), text: z.string().max(1500) });
export const Fields = z.strictObject({
  kind: z.literal("fields"),
  rows: z.array(z.tuple([z.string().max(80), z.string().max(1500)])).max(20),
});

export const Block = z.discriminatedUnion("kind", [
  Text,
  Note,
  z.strictObject({ kind: z.literal("code"), text }),
  Fields,
  z.strictObject({
    kind: z.literal("list"),
    items: z.array(z.strictObject({ title: z.string().max(200), detail: z.string().max(1500) })).max(60),
  }),
  z.strictObject({ kind: z.literal("output"), part: z.int().min(0).max(63), truncated: z.boolean() }),
  z.strictObject({ kind: z.literal("buttons"), buttons: z.array(Button).max(10) }),
]);

export const Document = z.strictObject({
  /** One line, shown in notifications and where blocks can't be. */
  summary: z.string().max(300),
  blocks: z.array(Block).max(40),
});

export type Block = z.infer<typeof Block>;
export type Document = z.infer<typeof Document>;
