import { SallyportError } from "../core/errors.ts";
import { elementsOf } from "./blocks.ts";
import type { View } from "./types.ts";

type Obj = Record<string, unknown>;

/** What Slack reports of an element for which a person chose `value`. */
export function chosen(element: Obj, value: string | string[]): Obj {
  const options = Array.isArray(element.options) ? (element.options as Obj[]) : [];
  const of = (v: string) =>
    options.find((o) => o.value === v) ?? { text: { type: "plain_text", text: v, emoji: true }, value: v };
  const many = element.type === "checkboxes" || element.type === "multi_static_select";
  if (many) return { selected_options: (Array.isArray(value) ? value : value === "" ? [] : [value]).map(of) };
  const one = Array.isArray(value) ? (value[0] ?? "") : value;
  const picked: Record<string, string> = {
    users_select: "selected_user",
    channels_select: "selected_channel",
    conversations_select: "selected_conversation",
    datepicker: "selected_date",
    timepicker: "selected_time",
  };
  const key = picked[String(element.type)];
  return key === undefined ? { selected_option: one === "" ? null : of(one) } : { [key]: one };
}

/** Writes what the person filled in to the view's state; a key is a block_id or block_id.action_id. */
export function fill(view: View, values: Record<string, string | boolean | string[]>): void {
  const all = (view.body.state as { values: Record<string, Obj> }).values;
  for (const [key, value] of Object.entries(values)) {
    const found = elementsOf(view.body.blocks).find(
      ({ block, element }) => key === block.block_id || key === `${block.block_id}.${element.action_id}`,
    );
    if (found === undefined) throw new SallyportError("not_found", `The modal has no field ${key}.`);
    const { block, element } = found;
    const plain = String(element.type).endsWith("_input");
    const given = typeof value === "boolean" ? (value ? ["true"] : []) : value;
    const entry = plain
      ? { type: element.type, value: String(value) }
      : { type: element.type, ...chosen(element, given) };
    all[String(block.block_id)] = { ...all[String(block.block_id)], [String(element.action_id)]: entry };
  }
}
