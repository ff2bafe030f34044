import { SallyportError } from "../../core/errors.ts";
import type { Delivery, Message, Workspace } from "../../workspace/index.ts";
import { ADMIN } from "./cast.ts";
import { type Action, HELP } from "./grammar.ts";
import type { House } from "./house.ts";
import type { Show } from "./show.ts";

const ANSWER_MS = 15_000;
/** Longer than the longest example Op may run. */
const OUTCOME_MS = 660_000;
/** What comes right behind an outcome (long output in its thread) still belongs to the line. */
const QUIET_MS = 100;

/** Performs lines: as somebody, somewhere, until their outcome is there. */
export class Stage {
  readonly #workspace: Workspace;
  readonly #house: House;
  readonly #show: Show;
  person = ADMIN;
  #channel = "ops";

  constructor(o: { workspace: Workspace; house: House; show: Show }) {
    this.#workspace = o.workspace;
    this.#house = o.house;
    this.#show = o.show;
    o.workspace.onMessage((message, change) => o.show.message(message, change));
  }

  /** Resolves when the line's outcome was shown, or where it does not wait, once the first answer was. */
  async perform(action: Action): Promise<void> {
    switch (action.kind) {
      case "switch":
        this.person = action.person;
        return;
      case "channel":
        this.#channel = action.channel;
        return;
      case "help":
        for (const line of HELP) this.#show.note(`  ${line}`);
        return;
      case "wait":
        await this.#workspace.waitFor(() => this.#underWay().length === 0, OUTCOME_MS);
        await quiet();
        return;
      case "host":
        return this.#host(action.args);
      case "say":
        this.person = action.person ?? this.person;
        return this.#answered(action.wait, () => this.#say(action.text));
      case "click":
        this.person = action.person ?? this.person;
        return this.#answered(action.wait, () => this.#click(action.label));
      default:
        return;
    }
  }

  #place(): string {
    return this.#channel === "dm" ? this.#workspace.im(this.person).id : this.#channel;
  }

  #say(text: string): Delivery | null {
    if (text.startsWith("/")) return this.#workspace.command(this.person, this.#place(), text);
    const mention = /^@sallyport\s*(.*)$/s.exec(text);
    if (mention !== null) return this.#workspace.mention(this.person, this.#place(), mention[1] ?? "");
    this.#workspace.message(this.person, this.#place(), text);
    return null;
  }

  #click(label: string): Delivery {
    const visible = this.#workspace.visible(this.person, this.#place());
    for (const message of visible.reverse()) {
      const button = buttonsOf(message).find((b) => b.label.toLowerCase() === label.toLowerCase());
      if (button !== undefined) return this.#workspace.click(this.person, message, button.action);
    }
    throw new SallyportError("not_found", `${this.person} sees no button ${label} here.`);
  }

  async #answered(wait: boolean, act: () => Delivery | null): Promise<void> {
    const before = new Set(this.#workspace.messages());
    const delivery = act();
    if (delivery === null) return;
    const fresh = () => this.#workspace.messages().filter((m) => !before.has(m) && m.via !== "person");
    const refused = delivery.ack.then(async (ack) => {
      if (ack.status !== "acked" && delivery.type !== "slash_commands")
        this.#show.note(`  (Slack shows that the app did not answer: ${ack.status})`);
      if (ack.status === "acked") await new Promise(() => undefined);
    });
    const answer = this.#workspace.waitFor(
      () => delivery.responses.length > 0 || fresh().length > 0,
      ANSWER_MS,
    );
    await Promise.race([answer.catch(() => this.#show.note("  (no answer came)")), refused]);
    answer.catch(() => undefined);
    if (!wait) return;
    await this.#workspace.waitFor(() => fresh().every(isComplete(fresh)), OUTCOME_MS);
    await quiet();
  }

  async #host(args: readonly string[]): Promise<void> {
    const word = args.find((arg) => !arg.startsWith("-"));
    const isUnlock = word === "unlock" && !args.includes("--passphrase-fd");
    const said = isUnlock
      ? await this.#house.unlock(args.slice(args.indexOf("unlock") + 1))
      : await this.#house.run(args);
    this.#show.said(said);
    if (isUnlock && said.status === 0)
      await this.#workspace
        .waitFor(() => this.#workspace.connections.length > 0, ANSWER_MS)
        .catch(() => undefined);
  }

  /** The messages of runs that have no outcome yet. */
  #underWay(): Message[] {
    return this.#workspace.messages().filter(isUnderWay);
  }
}

/** While a run is queued or running its message offers to cancel it. */
function isUnderWay(message: Message): boolean {
  return !message.deleted && buttonsOf(message).some((button) => button.action === "cancel");
}

/** An outcome is shown, and where it says that the output is in the thread, something is there. */
function isComplete(fresh: () => Message[]): (message: Message) => boolean {
  return (message) => {
    if (isUnderWay(message)) return false;
    const isElsewhere = JSON.stringify(message.blocks).includes("bytes of output, in the thread.");
    return !isElsewhere || fresh().some((other) => other.threadTs === message.ts);
  };
}

function buttonsOf(message: Message): { label: string; action: string }[] {
  return message.blocks.flatMap((block) => {
    const elements = Array.isArray(block.elements) ? (block.elements as Record<string, unknown>[]) : [];
    return elements
      .filter((element) => element.type === "button")
      .map((element) => ({
        label: String((element.text as { text?: unknown } | undefined)?.text ?? ""),
        action: String(element.action_id),
      }));
  });
}

function quiet(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, QUIET_MS));
}
