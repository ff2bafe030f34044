import { DOMAINS } from "./mrkdwn.ts";
import type { State } from "./state.ts";

const TOKEN = new RegExp(
  [
    "(?<url>\\bhttps?://[^\\s]+)",
    "(?<![\\w.+-])(?<mail>[\\w.+-]+@[\\w-]+(?:\\.[\\w-]+)+)",
    `(?<![\\w./@-])(?<host>(?:[a-z0-9-]+\\.)+(?:${DOMAINS})\\b(?:/[^\\s]*)?)(?![\\w@])`,
    "(?<!\\w)@(?<person>[a-z0-9_-]+(?:\\.[a-z0-9_-]+)*)",
    "(?<!\\w)#(?<channel>[a-z0-9_-]+)",
  ].join("|"),
  "giu",
);

function entities(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

/**
 * What a person typed, as Slack hands it on: messages always, commands with `should_escape`. Names become ids, hosts
 * become links, also where a file name looks like one (main.sh -> <http://main.sh|main.sh>).
 */
export function escapeTyped(typed: string, state: State): string {
  let out = "";
  let from = 0;
  for (const match of typed.matchAll(TOKEN)) {
    const [found] = match;
    const g = match.groups ?? {};
    out += entities(typed.slice(from, match.index));
    from = match.index + found.length;
    const person = state.people.find((p) => p.name === g.person);
    const channel = state.channels.find((c) => c.kind !== "im" && c.name === g.channel);
    if (g.url !== undefined) out += `<${entities(g.url)}>`;
    else if (g.mail !== undefined) out += `<mailto:${g.mail}|${g.mail}>`;
    else if (g.host !== undefined) out += `<http://${entities(g.host)}|${entities(g.host)}>`;
    else if (/^(?:here|channel|everyone)$/.test(g.person ?? "")) out += `<!${g.person}>`;
    else if (person !== undefined) out += `<@${person.id}|${person.name}>`;
    else if (channel !== undefined) out += `<#${channel.id}|${channel.name}>`;
    else out += entities(found);
  }
  return out + entities(typed.slice(from));
}
