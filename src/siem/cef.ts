import { hostname } from "node:os";
import { cleanText } from "../core/text.ts";
import { VERSION } from "../host/self.ts";
import { ecsKind } from "./ecs.ts";
import { type Logged, numberOf, opOf, readLogged, targetOf, userIdOf } from "./logged.ts";

/** Ours to CEF's scale of ten. */
const SEVERITIES: Readonly<Record<number, number>> = { 1: 1, 3: 5, 4: 8, 5: 10 };

/**
 * One log entry as one line of CEF:0 (ArcSight Common Event Format) with its newline. The data of an event have keys of our own:
 * `sallyport` and the field's name. `host`: of the device that it happened on.
 */
export function cefLine(entry: Uint8Array, sequence: number, hash: Uint8Array, host = hostname()): string {
  const e = readLogged(entry);
  const header = ["CEF:0", "sallyport", "sallyport", VERSION, e.type, nameOf(e.type)].map(headerText);
  const extension = Object.entries(fieldsOf(e, sequence, hash, host))
    .filter(([, value]) => value !== undefined && value !== null)
    .map(([key, value]) => `${key}=${extensionText(String(value))}`);
  return `${header.join("|")}|${SEVERITIES[e.severity] ?? 5}|${extension.join(" ")}\n`;
}

/** "run.break_glass" reads "run break glass". */
const nameOf = (type: string): string => type.replace(/[._]/g, " ");

/** CEF's own keys, in its own meaning. */
function fieldsOf(e: Logged, sequence: number, hash: Uint8Array, host: string): Record<string, unknown> {
  const data = e.data ?? {};
  const at = targetOf(data);
  const account = e.actor.uid;
  return {
    rt: Date.parse(e.time),
    dvchost: host,
    externalId: sequence,
    cat: ecsKind(e.type).category,
    act: e.outcome === "denied" ? "denied" : undefined,
    outcome: e.outcome === "denied" ? "failure" : e.outcome,
    suid: userIdOf(e.actor),
    ...(e.actor.kind === "user" && typeof account === "number" ? { sallyportHostAccount: account } : {}),
    duid: data.user ?? data.subject,
    reason: e.reason,
    ...(e.run === undefined ? {} : { cs1Label: "run", cs1: e.run }),
    ...(opOf(e) === undefined ? {} : { cs2Label: "op", cs2: opOf(e) }),
    ...(e.namespace === undefined ? {} : { cs3Label: "namespace", cs3: e.namespace }),
    ...(e.policy === undefined ? {} : { cs4Label: "policy", cs4: e.policy }),
    cs5Label: "hash",
    cs5: Buffer.from(hash).toString("hex"),
    ...(e.type.startsWith("network.")
      ? {
          dst: data.address,
          dhost: at.host === data.address ? undefined : at.host,
          dpt: at.port,
          in: numberOf(data.bytesIn),
          out: numberOf(data.bytesOut),
          proto: "TCP",
        }
      : {}),
    ...Object.fromEntries(Object.entries(data).map(([name, value]) => [keyOf(name), value])),
  };
}

const keyOf = (name: string): string => `sallyport${name.charAt(0).toUpperCase()}${name.slice(1)}`;

/** No control character, in either: a line stays one line, and a terminal that shows it does nothing. */
const headerText = (text: string): string => cleanText(text).replace(/[\\|]/g, "\\$&");

const extensionText = (text: string): string =>
  cleanText(text, { newlines: true }).replace(/[\\=]/g, "\\$&").replaceAll("\n", "\\n");
