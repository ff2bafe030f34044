import { SallyportError } from "../core/errors.ts";
import { elementsOf } from "./blocks.ts";
import type { Courier } from "./delivery.ts";
import { applyCommandAck, applyViewAck, type Post } from "./effects.ts";
import { eventPayload, interactive, messageObject, richText, userRef } from "./envelopes.ts";
import { escapeTyped } from "./escape.ts";
import { chosen, fill } from "./forms.ts";
import type { ResponseUrls, Triggers } from "./once.ts";
import type { State } from "./state.ts";
import type { Channel, ChannelRef, Delivery, Message, Person, PersonRef, View } from "./types.ts";

export interface ClickOptions {
  /** Overrides the button's own value: a forged click. */
  value?: string;
  /** The chosen option's value, of a select. */
  selected?: string;
}

/** What people do in the workspace, turned into envelopes. */
export class People {
  readonly #state: State;
  readonly #courier: Courier;
  readonly #triggers: Triggers;
  readonly #urls: ResponseUrls;
  readonly #origin: () => string;

  constructor(state: State, courier: Courier, triggers: Triggers, urls: ResponseUrls, origin: () => string) {
    this.#state = state;
    this.#courier = courier;
    this.#triggers = triggers;
    this.#urls = urls;
    this.#origin = origin;
  }

  #url(
    kind: "commands" | "actions",
    person: Person,
    channel: Channel,
    original: Message | null,
    collect: Message[],
  ) {
    const path = this.#urls.issue(kind, {
      channel: channel.id,
      user: person.id,
      threadTs: original?.threadTs ?? null,
      original,
      onMessage: (message) => void (collect.includes(message) || collect.push(message)),
    });
    return this.#origin() + path;
  }

  command(who: PersonRef, where: ChannelRef, line: string): Delivery {
    const state = this.#state;
    const person = state.person(who);
    const channel = state.channel(where);
    const [command = "", ...rest] = line.trim().split(" ");
    if (!command.startsWith("/")) throw new SallyportError("usage", `A slash command starts with /: ${line}`);
    const collected: Message[] = [];
    const triggerId = this.#triggers.issue(person.id);
    const responseUrl = this.#url("commands", person, channel, null, collected);
    const names = { private: "privategroup", im: "directmessage", public: channel.name, mpim: channel.name };
    const payload = {
      token: state.verificationToken,
      team_id: state.team.id,
      team_domain: state.team.domain,
      channel_id: channel.id,
      channel_name: names[channel.kind],
      user_id: person.id,
      user_name: person.name,
      command,
      text: state.shouldEscape ? escapeTyped(rest.join(" "), state) : rest.join(" "),
      api_app_id: state.appId,
      is_enterprise_install: state.enterprise === null ? "false" : "true",
      response_url: responseUrl,
      trigger_id: triggerId,
      ...(state.enterprise === null
        ? {}
        : { enterprise_id: state.enterprise.id, enterprise_name: state.enterprise.name }),
    };
    const post: Post = { state, channel, person };
    return this.#courier.deliver({
      type: "slash_commands",
      payload,
      acceptsResponse: true,
      triggerId,
      responseUrl,
      responses: collected,
      onAck: (answer, delivery) => applyCommandAck(answer, delivery, post),
      onFailure: (reason) => {
        state.post({
          channel: channel.id,
          user: "USLACKBOT",
          text: `${command} failed with the error "${reason}"`,
          ephemeralFor: person.id,
          via: "slack",
        });
      },
    });
  }

  click(who: PersonRef, message: Message, actionId: string, options: ClickOptions = {}): Delivery {
    const state = this.#state;
    const person = state.person(who);
    const channel = state.channel(message.channel);
    const action = this.#action(message.blocks, actionId, options);
    const collected: Message[] = [];
    const triggerId = this.#triggers.issue(person.id);
    const responseUrl = this.#url("actions", person, channel, message, collected);
    const ephemeral = message.ephemeralFor !== null;
    const payload = {
      type: "block_actions",
      user: userRef(person),
      api_app_id: state.appId,
      token: state.verificationToken,
      container: {
        type: "message",
        message_ts: message.ts,
        channel_id: channel.id,
        is_ephemeral: ephemeral,
        ...(message.threadTs === null ? {} : { thread_ts: message.threadTs }),
      },
      trigger_id: triggerId,
      ...interactive(state),
      channel: { id: channel.id, name: channel.kind === "im" ? "directmessage" : channel.name },
      ...(ephemeral ? {} : { message: messageObject(state, message) }),
      state: { values: {} },
      response_url: responseUrl,
      actions: [action],
    };
    return this.#courier.deliver({
      type: "interactive",
      payload,
      acceptsResponse: false,
      triggerId,
      responseUrl,
      responses: collected,
    });
  }

  clickView(who: PersonRef, actionId: string, options: ClickOptions = {}): Delivery {
    const state = this.#state;
    const person = state.person(who);
    const view = this.modal(person) ?? this.home(person);
    if (view === null) throw new SallyportError("not_found", `${person.name} has no view open.`);
    const triggerId = this.#triggers.issue(person.id);
    const payload = {
      type: "block_actions",
      user: userRef(person),
      api_app_id: state.appId,
      token: state.verificationToken,
      container: { type: "view", view_id: view.id },
      trigger_id: triggerId,
      ...interactive(state),
      view: structuredClone(view.body),
      actions: [this.#action(view.body.blocks, actionId, options)],
    };
    return this.#courier.deliver({ type: "interactive", payload, acceptsResponse: false, triggerId });
  }

  #action(blocks: Message["blocks"], actionId: string, options: ClickOptions): Record<string, unknown> {
    const found = elementsOf(blocks).find((e) => e.element.action_id === actionId);
    if (found === undefined) throw new SallyportError("not_found", `There is no ${actionId} to click.`);
    const { block, element } = found;
    const base = { action_id: actionId, block_id: block.block_id, action_ts: this.#state.ts() };
    if (element.type === "button") {
      const value = options.value ?? element.value;
      return {
        ...base,
        text: element.text,
        ...(value === undefined ? {} : { value }),
        ...(element.style === undefined ? {} : { style: element.style }),
        type: "button",
      };
    }
    return { ...base, type: element.type, ...chosen(element, options.selected ?? "") };
  }

  submitView(who: PersonRef, values: Record<string, string | boolean | string[]> = {}): Delivery {
    const state = this.#state;
    const person = state.person(who);
    const view = this.modal(person);
    if (view === null) throw new SallyportError("not_found", `${person.name} has no modal open.`);
    fill(view, values);
    const triggerId = this.#triggers.issue(person.id);
    const payload = {
      type: "view_submission",
      ...interactive(state),
      user: userRef(person),
      api_app_id: state.appId,
      token: state.verificationToken,
      trigger_id: triggerId,
      view: structuredClone(view.body),
      response_urls: [],
    };
    return this.#courier.deliver({
      type: "interactive",
      payload,
      acceptsResponse: true,
      triggerId,
      onAck: (answer) => applyViewAck(answer, state, person, view),
      // An empty ack closes the modal, so the courier calls for it too.
      ackEmpty: true,
    });
  }

  closeView(who: PersonRef): Delivery | null {
    const state = this.#state;
    const person = state.person(who);
    const view = this.modal(person);
    if (view === null) return null;
    state.modals.set(person.id, (state.modals.get(person.id) ?? []).slice(0, -1));
    state.changed();
    if (view.body.notify_on_close !== true) return null;
    const payload = {
      type: "view_closed",
      ...interactive(state),
      user: userRef(person),
      api_app_id: state.appId,
      token: state.verificationToken,
      view: structuredClone(view.body),
      is_cleared: false,
    };
    return this.#courier.deliver({ type: "interactive", payload, acceptsResponse: false });
  }

  openHome(who: PersonRef): Delivery | null {
    const person = this.#state.person(who);
    const view = this.home(person);
    return this.#event("app_home_opened", {
      type: "app_home_opened",
      user: person.id,
      channel: this.#state.im(person).id,
      tab: "home",
      event_ts: this.#state.ts(),
      ...(view === null ? {} : { view: structuredClone(view.body) }),
    });
  }

  mention(who: PersonRef, where: ChannelRef, text: string, options: { threadTs?: string } = {}): Delivery {
    const state = this.#state;
    const person = state.person(who);
    const channel = state.channel(where);
    const full = `<@${state.bot.userId}> ${escapeTyped(text, state)}`;
    const message = this.#write(person, channel, full, options.threadTs);
    const delivery = this.#event(
      "app_mention",
      {
        ...eventPayload(state, person, channel, message),
        type: "app_mention",
        text: full,
        blocks: richText(state, text),
      },
      channel,
    );
    if (delivery === null) throw new SallyportError("usage", "The app is not subscribed to app_mention.");
    return delivery;
  }

  message(who: PersonRef, where: ChannelRef, text: string, options: { threadTs?: string } = {}) {
    const state = this.#state;
    const person = state.person(who);
    const channel = state.channel(where);
    const escaped = escapeTyped(text, state);
    const message = this.#write(person, channel, escaped, options.threadTs);
    const kind = { public: "channel", private: "group", im: "im", mpim: "mpim" }[channel.kind];
    const names = { public: "channels", private: "groups", im: "im", mpim: "mpim" };
    const event = {
      ...eventPayload(state, person, channel, message),
      type: "message",
      text: escaped,
      channel_type: kind,
    };
    return { message, delivery: this.#event(`message.${names[channel.kind]}`, event, channel) };
  }

  #write(person: Person, channel: Channel, text: string, threadTs: string | undefined): Message {
    return this.#state.post({
      channel: channel.id,
      user: person.id,
      botId: person.botId,
      text,
      threadTs: threadTs ?? null,
      via: "person",
    });
  }

  #event(subscription: string, event: Record<string, unknown>, channel?: Channel): Delivery | null {
    const state = this.#state;
    if (!state.events.has(subscription)) return null;
    const payload = {
      token: state.verificationToken,
      team_id: state.team.id,
      context_team_id: state.team.id,
      context_enterprise_id: state.enterprise?.id ?? null,
      api_app_id: state.appId,
      event,
      type: "event_callback",
      event_id: `Ev0${String(state.next()).padStart(8, "0")}`,
      event_time: Math.floor(state.now() / 1000),
      authorizations: [
        {
          enterprise_id: state.enterprise?.id ?? null,
          team_id: state.team.id,
          user_id: state.bot.userId,
          is_bot: true,
          is_enterprise_install: state.enterprise !== null,
        },
      ],
      is_ext_shared_channel: channel?.shared ?? false,
      event_context: `4-${Buffer.from(JSON.stringify({ et: subscription })).toString("base64url")}`,
    };
    return this.#courier.deliver({ type: "events_api", payload, acceptsResponse: false });
  }

  modal(who: PersonRef): View | null {
    const stack = this.#state.modals.get(this.#state.person(who).id) ?? [];
    return this.#state.views.get(stack.at(-1) ?? "") ?? null;
  }

  home(who: PersonRef): View | null {
    return this.#state.views.get(this.#state.homes.get(this.#state.person(who).id) ?? "") ?? null;
  }
}
