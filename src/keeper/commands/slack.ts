import { SallyportError } from "../../core/errors.ts";
import { SETTINGS, setSetting } from "../../store/settings.ts";
import type { Handlers } from "./command.ts";

const TOKENS = [
  { name: "app token", prefix: "xapp-", setting: SETTINGS.slackApp },
  { name: "bot token", prefix: "xoxb-", setting: SETTINGS.slackBot },
] as const;

export const slack: Handlers = {
  "slack.connect": async ({ session, caller, parts }) => {
    await session.access.demand(caller, "administer", { kind: "appliance" });
    for (const [index, token] of TOKENS.entries()) checkToken(parts[index]!, token.name, token.prefix);
    await session.store.mutate(async (tx) => {
      for (const [index, token] of TOKENS.entries()) await setSetting(tx, token.setting, parts[index]!);
      tx.log({ type: "slack.tokens_set", outcome: "success", actor: caller.actor });
    });
    for (const part of parts) part.fill(0);
    if (!(await session.connectSlack()))
      return { stored: true, connected: false, error: "the gateway is not running" };
    return { stored: true, ...(await settled(session)) };
  },
};

function checkToken(token: Buffer, name: string, prefix: string): void {
  const text = token.toString("latin1");
  if (text.startsWith(prefix) && text.length <= 512 && /^[A-Za-z0-9-]+$/.test(text)) return;
  throw new SallyportError(
    "input_invalid",
    `The ${name} is a line that begins with ${prefix}; the app token comes first.`,
  );
}

/** Waits a little for the gateway's word, so that a wrong token is told to the person who typed it. */
async function settled(
  session: Parameters<NonNullable<Handlers["slack.connect"]>>[0]["session"],
): Promise<object> {
  const until = Date.now() + 8000;
  for (;;) {
    const state = session.slack();
    if (state !== undefined && (state.connections > 0 || state.error !== null)) {
      return { connected: state.connections > 0, team: state.team, error: state.error };
    }
    if (Date.now() > until)
      return { connected: false, team: null, error: "no connection within 8 s; see: sallyport slack status" };
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
