import { randomBytes } from "node:crypto";
import {
  type Answer,
  type Args,
  jsonField,
  type MethodContext,
  optionalString,
  requiredString,
  SlackFailure,
} from "./args.ts";
import { checkBlocks, elementsOf } from "./blocks.ts";
import type { State } from "./state.ts";
import type { Block, View } from "./types.ts";

type Raw = Record<string, unknown>;

function refuse(message: string): never {
  throw new SlackFailure("invalid_arguments", { response_metadata: { messages: [`[ERROR] ${message}`] } });
}

/** A view as an app sends it, checked as Slack checks it. */
export function checkView(raw: unknown, type: "modal" | "home"): Raw & { blocks: Block[] } {
  if (typeof raw !== "object" || raw === null || Array.isArray(raw))
    refuse("must be an object [json-pointer:/view]");
  const view = raw as Raw;
  if (view.type !== type) refuse(`must be of type ${type} [json-pointer:/view/type]`);
  const problem = checkBlocks(view.blocks, 100, false);
  if (problem !== null) {
    refuse(
      problem.messages.map((m) => m.replace("[ERROR] ", "").replace(":/blocks", ":/view/blocks")).join("; "),
    );
  }
  const blocks = view.blocks as Block[];
  if (type === "modal") {
    for (const key of ["title", "submit", "close"]) {
      const value = (view[key] as Raw | undefined)?.text;
      if (view[key] === undefined && key !== "title") continue;
      if (typeof value !== "string" || value.length === 0 || value.length > 24) {
        refuse(`must be 1 to 24 characters [json-pointer:/view/${key}/text]`);
      }
    }
    if (blocks.some((b) => b.type === "input") && view.submit === undefined) {
      refuse("a submit button is required when input blocks are there [json-pointer:/view/submit]");
    }
  }
  for (const [key, max] of [
    ["private_metadata", 3000],
    ["callback_id", 255],
    ["external_id", 255],
  ] as const) {
    const value = view[key];
    if (value !== undefined && (typeof value !== "string" || value.length > max)) {
      refuse(`must be a string of at most ${max} characters [json-pointer:/view/${key}]`);
    }
  }
  return { ...view, blocks };
}

function initialState(blocks: Block[]): Record<string, Raw> {
  const values: Record<string, Raw> = {};
  for (const { block, element } of elementsOf(blocks)) {
    if (element.type === "button") continue;
    const entry: Raw = { type: element.type };
    if (element.initial_option !== undefined) entry.selected_option = element.initial_option;
    else if (element.initial_options !== undefined) entry.selected_options = element.initial_options;
    else if (String(element.type).includes("input")) entry.value = element.initial_value ?? null;
    else if (String(element.type).includes("select")) entry.selected_option = null;
    const id = String(block.block_id);
    values[id] = { ...values[id], [String(element.action_id)]: entry };
  }
  return values;
}

function complete(
  state: State,
  view: { id: string; rootId: string; previousId: string | null },
  raw: Raw & { blocks: Block[] },
) {
  const blocks = raw.blocks.map((b) =>
    typeof b.block_id === "string" ? b : { ...b, block_id: `b${state.next()}` },
  );
  const hash = `${Math.floor(state.now() / 1000)}.${randomBytes(6).toString("base64url")}`;
  const body = {
    id: view.id,
    team_id: state.team.id,
    type: raw.type,
    blocks,
    private_metadata: raw.private_metadata ?? "",
    callback_id: raw.callback_id ?? "",
    state: { values: initialState(blocks) },
    hash,
    title: raw.title ?? null,
    clear_on_close: raw.clear_on_close ?? false,
    notify_on_close: raw.notify_on_close ?? false,
    close: raw.close ?? null,
    submit: raw.submit ?? null,
    previous_view_id: view.previousId,
    root_view_id: view.rootId,
    app_id: state.appId,
    external_id: raw.external_id ?? "",
    app_installed_team_id: state.team.id,
    bot_id: state.bot.botId,
  };
  return { body, hash };
}

/** Puts a modal on top of what the person has open. */
export function pushModal(state: State, user: string, raw: Raw & { blocks: Block[] }): View {
  const stack = state.modals.get(user) ?? [];
  if (stack.length >= 3) throw new SlackFailure("push_limit_reached");
  const id = `V0MODAL${String(state.next()).padStart(3, "0")}`;
  const previousId = stack.at(-1) ?? null;
  const rootId = stack[0] ?? id;
  const { body, hash } = complete(state, { id, rootId, previousId }, raw);
  const view: View = { id, type: "modal", user, rootId, previousId, body, hash, errors: {} };
  state.views.set(id, view);
  state.modals.set(user, [...stack, id]);
  state.changed();
  return view;
}

export function replaceView(state: State, view: View, raw: Raw & { blocks: Block[] }): void {
  const { body, hash } = complete(state, view, raw);
  view.body = body;
  view.hash = hash;
  view.errors = {};
  state.changed();
}

export function openView(args: Args, context: MethodContext, push = false): Answer {
  const { state, triggers } = context;
  const raw = checkView(jsonField(args, "view", "invalid_arguments"), "modal");
  const trigger = triggers.use(requiredString(args, "trigger_id"));
  if ("error" in trigger) throw new SlackFailure(trigger.error);
  if (!push) state.modals.delete(trigger.user);
  return { view: pushModal(state, trigger.user, raw).body };
}

export function updateView(args: Args, { state }: MethodContext): Answer {
  const external = optionalString(args, "external_id");
  const id = optionalString(args, "view_id");
  const all = [...state.views.values()];
  const view =
    id === undefined
      ? all.find((v) => external !== undefined && v.body.external_id === external)
      : state.views.get(id);
  if (view === undefined) throw new SlackFailure("not_found");
  const hash = optionalString(args, "hash");
  if (hash !== undefined && hash !== view.hash) throw new SlackFailure("hash_conflict");
  replaceView(state, view, checkView(jsonField(args, "view", "invalid_arguments"), view.type));
  return { view: view.body };
}

export function publishView(args: Args, { state }: MethodContext): Answer {
  const user = requiredString(args, "user_id");
  if (state.findPerson(user) === undefined) throw new SlackFailure("invalid_arguments");
  const raw = checkView(jsonField(args, "view", "invalid_arguments"), "home");
  const old = state.views.get(state.homes.get(user) ?? "");
  const hash = optionalString(args, "hash");
  if (hash !== undefined && old !== undefined && hash !== old.hash) throw new SlackFailure("hash_conflict");
  if (old !== undefined) {
    replaceView(state, old, raw);
    return { view: old.body };
  }
  const id = `V0HOME${String(state.next()).padStart(4, "0")}`;
  const made = complete(state, { id, rootId: id, previousId: null }, raw);
  state.views.set(id, { id, type: "home", user, rootId: id, previousId: null, ...made, errors: {} });
  state.homes.set(user, id);
  state.changed();
  return { view: made.body };
}
