import { cleanText } from "../../core/text.ts";
import { type Message, type MessageChange, renderMessage, type Workspace } from "../../workspace/index.ts";
import type { Said } from "./house.ts";

/** Prints what Slack and the host would show; the same words on a terminal and in a file. */
export class Show {
  readonly #workspace: Workspace;
  readonly #write: (text: string) => void;
  readonly #color: boolean;
  readonly #shown = new Map<string, string>();

  constructor(o: { workspace: Workspace; write: (text: string) => void; color: boolean }) {
    this.#workspace = o.workspace;
    this.#write = o.write;
    this.#color = o.color;
  }

  typed(who: string, line: string): void {
    this.#write(`${this.#paint(1, `${who}>`)} ${cleanText(line)}\n`);
  }

  comment(line: string): void {
    this.#write(`${this.#paint(2, cleanText(line))}\n`);
  }

  step(name: string, what: string): void {
    this.#write(`${this.#paint(1, name.padEnd(14))} ${what}\n`);
  }

  note(text: string): void {
    this.#write(`${text}\n`);
  }

  message(message: Message, change: MessageChange): void {
    if (message.via === "person") return;
    const body = renderMessage(message, {
      names: (id) => this.#workspace.nameOf(id),
      emphasis: this.#color ? "ansi" : "strip",
    });
    const key = `${message.channel} ${message.ts} ${message.ephemeralFor}`;
    // An update that changes nothing to see.
    if (change === "updated" && this.#shown.get(key) === body) return;
    this.#shown.set(key, body);
    const text = change === "deleted" ? "(removed)" : body;
    const lines = text.split("\n").map((line) => `    ${line}`.trimEnd());
    this.#write(`  ${this.#paint(2, this.#heading(message, change))}\n${lines.join("\n")}\n\n`);
  }

  #heading(message: Message, change: MessageChange): string {
    const from = message.via === "slack" ? "Slackbot" : (this.#workspace.nameOf(message.user) ?? "sallyport");
    const { name, imUser } = this.#workspace.channel(message.channel);
    const parts = [`${from} ${imUser === null ? `in #${name}` : `to ${this.#workspace.nameOf(imUser)}`}`];
    if (message.threadTs !== null) parts.push("in the thread");
    if (message.ephemeralFor !== null)
      parts.push(`shown to ${this.#workspace.nameOf(message.ephemeralFor)} alone`);
    if (change === "updated") parts.push("edited");
    return `${parts.join(", ")}:`;
  }

  /** Output of a command on the host; cleaned, because an Op's output may be in it. */
  said({ status, out, err }: Said): void {
    const text = cleanText(`${out}${err}`.trimEnd(), { newlines: true });
    if (text !== "") this.#write(`${text.replaceAll(/^(?=.)/gm, "    ")}\n`);
    if (status !== 0) this.#write(`    (exit status ${status})\n`);
    this.#write("\n");
  }

  #paint(code: number, text: string): string {
    return this.#color ? `\u001b[${code}m${text}\u001b[0m` : text;
  }
}
