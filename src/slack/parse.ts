import type { Envelope } from "./frame.ts";
import { parseEvent } from "./parse-event.ts";
import { parseInteractive } from "./parse-interactive.ts";
import { parseSlash } from "./parse-slash.ts";
import { refused, shown } from "./refuse.ts";
import type { Home, Parsed } from "./types.ts";

/**
 * What an envelope asks for, or by which rule it is refused. Every type has a handler here or none at all: there is
 * no default that lets something through.
 */
export function parseEnvelope(envelope: Envelope, home: Home): Parsed {
  switch (envelope.type) {
    case "slash_commands":
      return parseSlash(envelope, home);
    case "interactive":
      return parseInteractive(envelope, home);
    case "events_api":
      return parseEvent(envelope, home);
    default:
      return refused("unknown_type", "unknown_envelope", `Envelope of type ${shown(envelope.type)}.`);
  }
}
