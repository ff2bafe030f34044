import { SallyportError } from "../../core/errors.ts";
import { tokenize } from "../../core/tokens.ts";

/** One typed line of the demo, understood. `wait` false: the next line does not wait for its outcome. */
export type Action =
  | { kind: "nothing" }
  | { kind: "switch"; person: string }
  | { kind: "channel"; channel: string }
  | { kind: "say"; person: string | null; text: string; wait: boolean }
  | { kind: "click"; person: string | null; label: string; wait: boolean }
  | { kind: "host"; args: string[] }
  | { kind: "wait" }
  | { kind: "help" }
  | { kind: "quit" };

export type Cast = { people: readonly string[]; channels: readonly string[] };

export const HELP = [
  "/ops help                   a slash command as the person at the prompt",
  "bob: /ops list              the same as bob, who stays at the prompt; bob> works as well; bob alone only switches",
  "@sallyport list             a mention: an ordinary message that names the app",
  "click Cancel                press the newest button with that label",
  "in #random                  go to another channel (#ops, #random, or dm for the app's direct messages)",
  "host: sallyport audit log   a command of the host's terminal, as alice, the admin",
  "wait                        until no run is under way; a line that ends in & does not wait by itself",
  "# ...                       a comment",
  "quit                        end the demo and remove everything (also Ctrl-D, Ctrl-C)",
] as const;

const NOT_HERE = ["serve", "demo", "init"];

/** Throws `usage` for a line that means nothing. Pure: the whole of a script is checked before anything starts. */
export function parseLine(typed: string, cast: Cast): Action {
  const line = typed.trim();
  if (line === "" || line.startsWith("#")) return { kind: "nothing" };
  if (line === "quit" || line === "exit") return { kind: "quit" };
  if (line === "help" || line === "?") return { kind: "help" };
  if (line === "wait") return { kind: "wait" };
  const host = /^host\s*[:>]\s*(.*)$/s.exec(line);
  if (host) return hostCommand(host[1] ?? "");
  const channel = /^in\s+(\S+)$/.exec(line);
  if (channel) return { kind: "channel", channel: channelName(channel[1] ?? "", cast) };
  if (cast.people.includes(line)) return { kind: "switch", person: line };
  const named = /^([a-z][a-z0-9._-]*)\s*[:>]\s*(.*)$/s.exec(line);
  if (named && !cast.people.includes(named[1] ?? ""))
    throw unknown(`There is no ${named[1]} here; there are ${cast.people.join(", ")}.`);
  const person = named?.[1] ?? null;
  const said = named === null ? line : (named[2] ?? "");
  if (said === "") return person === null ? { kind: "nothing" } : { kind: "switch", person };
  return personal(person, said);
}

function personal(person: string | null, said: string): Action {
  const wait = !/\s&$/.test(said);
  const text = wait ? said : said.slice(0, -1).trimEnd();
  const click = /^click\s+(.+)$/.exec(text);
  if (click) return { kind: "click", person, label: (click[1] ?? "").replace(/^\[(.*)\]$/, "$1"), wait };
  if (/^\/ops(\s|$)/.test(text)) return { kind: "say", person, text, wait };
  if (/^@sallyport(\s|$)/.test(text)) return { kind: "say", person, text, wait };
  // Somebody named who speaks plainly is a message; without a name it is more likely a slip.
  if (person !== null && !text.startsWith("/")) return { kind: "say", person, text, wait };
  throw unknown(`"${text.slice(0, 60)}" means nothing here; write help to see what does.`);
}

function hostCommand(text: string): Action {
  const [word, ...args] = tokenize(text);
  if (word !== "sallyport") throw unknown(`Only sallyport can be run on the host: host: sallyport status`);
  const command = args.find((arg) => !arg.startsWith("-"));
  if (command !== undefined && NOT_HERE.includes(command))
    throw unknown(`sallyport ${command} has been done by the demo.`);
  return { kind: "host", args };
}

function channelName(typed: string, cast: Cast): string {
  const name = typed.replace(/^#/, "");
  if (name === "dm" || cast.channels.includes(name)) return name;
  throw unknown(
    `There is no channel ${typed}; there are ${cast.channels.map((c) => `#${c}`).join(", ")} and dm.`,
  );
}

const unknown = (detail: string): SallyportError => new SallyportError("usage", detail);

/** Every line of a script, numbered. Throws `usage` that names the first line which means nothing. */
export function parseScript(text: string, cast: Cast): { typed: string; action: Action }[] {
  return text.split(/\r?\n/).map((typed, index) => {
    try {
      return { typed: typed.trim(), action: parseLine(typed, cast) };
    } catch (error) {
      if (!(error instanceof SallyportError)) throw error;
      throw new SallyportError("usage", `Line ${index + 1}: ${error.detail}`);
    }
  });
}
