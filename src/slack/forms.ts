import type { Contexts } from "./contexts.ts";
import type { View } from "./document.ts";
import type { Failure } from "./failure.ts";
import { renderText, renderView } from "./render.ts";
import type { Web } from "./web.ts";
import type { Whisper } from "./whisper.ts";

const TOO_LATE =
  "Slack opens a form only within 3 seconds, and this took longer. Press the button, or type the command, again.";
const NO_FORM =
  "Slack opens a form only for a button or a slash command. Press the button, or type /ops and the rest.";
const LATE = ["expired_trigger_id", "exchanged_trigger_id"];

/** Opens forms: once a request, as Slack has it [docs.slack.dev/reference/methods/views.open]. */
export class Forms {
  readonly #web: Web;
  readonly #contexts: Contexts;
  readonly #whisper: Whisper;
  readonly #onAuth: (text: string) => void;

  constructor(o: { web: Web; contexts: Contexts; whisper: Whisper; onAuth: (text: string) => void }) {
    this.#web = o.web;
    this.#contexts = o.contexts;
    this.#whisper = o.whisper;
    this.#onAuth = o.onAuth;
  }

  /** Whose form can't be opened is told so. */
  async open(request: string, view: View): Promise<void> {
    const context = this.#contexts.get(request);
    if (context === undefined) return;
    const { trigger } = context;
    context.trigger = null;
    if (trigger === null) return this.#whisper.respond(request, renderText(NO_FORM));
    // By external_id the submission, which names no place, leads back to where it was asked for.
    const opened = await this.#web.call("views.open", {
      trigger_id: trigger,
      view: { ...renderView(view), external_id: request },
    });
    if (!opened.ok) this.#whisper.respond(request, renderText(this.#why(opened.failure)));
  }

  #why(failure: Failure): string {
    if (failure.kind === "platform" && LATE.includes(failure.error)) return TOO_LATE;
    if (failure.kind === "auth") this.#onAuth(failure.text);
    return `The form could not be opened (${failure.text}). Press the button, or type the command, again.`;
  }
}
