import { type LogLevel, SocketModeClient } from "@slack/socket-mode";
import { WebClient } from "@slack/web-api";
import { startWorkspace, type Workspace, type WorkspaceOptions } from "../../src/workspace/index.ts";

/** What @slack/socket-mode hands to a listener. */
export interface SlackEvent {
  ack: (payload?: Record<string, unknown>) => Promise<void>;
  envelope_id: string;
  type: string;
  body: Record<string, unknown>;
  retry_num?: number;
  retry_reason?: string;
}

export const silent = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  setLevel() {},
  setName() {},
  getLevel: () => "error" as LogLevel,
};

export function webClient(workspace: Workspace, token = workspace.botToken): WebClient {
  return new WebClient(token, {
    slackApiUrl: workspace.apiUrl,
    retryConfig: { retries: 0 },
    rejectRateLimitedCalls: true,
    logger: silent,
  });
}

/** The real client, one connection, not reconnecting by itself unless told so. */
export function socketClient(workspace: Workspace, listener: (event: SlackEvent) => void, reconnect = false) {
  const client = new SocketModeClient({
    appToken: workspace.appToken,
    autoReconnectEnabled: reconnect,
    clientPingTimeout: 300,
    clientOptions: { slackApiUrl: workspace.apiUrl, retryConfig: { retries: 0 } },
    logger: silent,
  });
  client.on("slack_event", listener);
  return client;
}

/** alice and bob in #ops, TCP closed after the close handshake so that tests end at once. */
export async function acme(options: WorkspaceOptions = {}): Promise<Workspace> {
  const workspace = await startWorkspace({ keepTcpOpen: false, ...options });
  workspace.addPerson({ name: "alice" });
  workspace.addPerson({ name: "bob" });
  workspace.addChannel({ name: "ops", members: ["alice", "bob"] });
  return workspace;
}
