import { checkBlocks } from "./blocks.ts";
import { checkView, pushModal, replaceView } from "./methods-views.ts";
import type { State } from "./state.ts";
import type { Block, Channel, Delivery, Message, Person, View } from "./types.ts";

export interface Post {
  state: State;
  channel: Channel;
  person: Person;
}

/** A command's ack may carry the answer; Slack drops one whose blocks it does not take. */
export function applyCommandAck(answer: Record<string, unknown>, delivery: Delivery, post: Post): void {
  const { state, channel, person } = post;
  const text = typeof answer.text === "string" ? answer.text : "";
  const blocks = answer.blocks === undefined ? [] : answer.blocks;
  if (text === "" && blocks === answer.blocks && !Array.isArray(blocks)) return;
  if (text === "" && Array.isArray(blocks) && blocks.length === 0) return;
  if (checkBlocks(blocks, 50, false) !== null) return;
  const message: Message = state.post({
    channel: channel.id,
    user: state.bot.userId,
    botId: state.bot.botId,
    text,
    blocks: blocks as Block[],
    ephemeralFor: answer.response_type === "in_channel" ? null : person.id,
    via: "ack",
  });
  delivery.responses.push(message);
}

/** What a view_submission's ack does to the modal: errors, update, push, clear, or (empty) close it. */
export function applyViewAck(
  answer: Record<string, unknown>,
  state: State,
  person: Person,
  view: View,
): void {
  const stack = state.modals.get(person.id) ?? [];
  try {
    switch (answer.response_action) {
      case "errors":
        view.errors = { ...(answer.errors as Record<string, string>) };
        break;
      case "update":
        replaceView(state, view, checkView(answer.view, "modal"));
        break;
      case "push":
        pushModal(state, person.id, checkView(answer.view, "modal"));
        break;
      case "clear":
        state.modals.set(person.id, []);
        break;
      default:
        state.modals.set(person.id, stack.slice(0, -1));
    }
  } catch {
    // Slack shows "We had some trouble connecting" and leaves the modal as it is.
    view.errors = { "": "We had some trouble connecting. Try again?" };
  }
  state.changed();
}
