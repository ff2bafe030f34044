/** The parts of a log entry that a SIEM line is made of (src/audit/entry.ts has the whole). */
export type Logged = {
  time: string;
  type: string;
  outcome: string;
  severity: number;
  actor: Record<string, unknown>;
  run?: string;
  op?: string;
  namespace?: string;
  reason?: string;
  policy?: string;
  data?: Record<string, unknown>;
};

/** The log's own entries, which were parsed when they were written or exported. */
export function readLogged(entry: Uint8Array): Logged {
  return JSON.parse(Buffer.from(entry).toString("utf8")) as Logged;
}

/** The row of this very type, else that of its family: the name's first word. */
export function rowOf<R>(rows: Readonly<Record<string, R>>, type: string): R | undefined {
  return rows[type] ?? rows[type.split(".")[0] ?? ""];
}

/** Who acted, without a name: a user's id, "uid:UID" of a host account, "TEAM/USER" of Slack; null for sallyport itself. */
export function userIdOf(actor: Record<string, unknown>): string | null {
  if (actor.kind === "user") return String(actor.id);
  if (actor.kind === "host") return `uid:${String(actor.uid)}`;
  return actor.kind === "slack" ? `${String(actor.team)}/${String(actor.user)}` : null;
}

/** "namespace/op", or what is known of it. */
export function opOf({ namespace, op }: Logged): string | undefined {
  return op === undefined || namespace === undefined ? op : `${namespace}/${op}`;
}

/** "ssh://db.test:22", "[fd00::1]:443": host and port; an empty target has neither. */
export function targetOf(data: Record<string, unknown>): { host?: string; port?: number } {
  const [, host = "", port = ""] =
    /^(?:[a-z]+:\/\/)?\[?(.*?)\]?:([0-9]+)$/.exec(String(data.target ?? "")) ?? [];
  return { ...(host === "" ? {} : { host }), ...(port === "" ? {} : { port: Number(port) }) };
}

/** The number in a field, where there is one. */
export function numberOf(value: unknown): number | undefined {
  return typeof value === "number" ? value : undefined;
}
