import type { Reader, Tx } from "./tx.ts";

/** Single values of the appliance. Nothing here is outside the encrypted database. */
export const SETTINGS = {
  /** Name of the log in its checkpoints. */
  origin: "log.origin",
  /** The notary's verifier key, as text. */
  notaryKey: "notary.vkey",
  slackApp: "slack.app_token",
  slackBot: "slack.bot_token",
  slackTeam: "slack.team",
  slackEnterprise: "slack.enterprise",
  slackBotUser: "slack.bot_user",
} as const;

export async function getSetting(reader: Reader, key: string): Promise<Buffer | undefined> {
  const row = await reader.get<{ value: Buffer }>("SELECT value FROM settings WHERE key = ?", [key]);
  return row?.value;
}

export async function getText(reader: Reader, key: string): Promise<string | undefined> {
  return (await getSetting(reader, key))?.toString("utf8");
}

/** At most 64 KiB; replaces what was there. */
export async function setSetting(tx: Tx, key: string, value: Uint8Array | string): Promise<void> {
  const bytes = typeof value === "string" ? Buffer.from(value, "utf8") : value;
  const sql =
    "INSERT INTO settings (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
  await tx.run(sql, [key, bytes]);
}
