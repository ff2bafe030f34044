// The official client as a process of its own: some faults end it. Arguments: API URL; the app token comes on stdin.
import { readFileSync } from "node:fs";
import { SocketModeClient } from "@slack/socket-mode";
import { silent } from "./client.ts";

const client = new SocketModeClient({
  appToken: readFileSync(0, "utf8"),
  clientOptions: { slackApiUrl: process.argv[2] ?? "", retryConfig: { retries: 0 } },
  clientPingTimeout: 200,
  logger: silent,
});
client.on("slack_event", ({ ack }: { ack: () => Promise<void> }) => void ack());
await client.start();
