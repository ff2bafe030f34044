import { performance } from "node:perf_hooks";
import { pathToFileURL } from "node:url";
import { SocketModeClient } from "@slack/socket-mode";
import { startWorkspace, type Workspace } from "../../src/workspace/index.ts";

export interface Latency {
  /** Round trips measured. */
  trips: number;
  /** Milliseconds. */
  median: number;
  p99: number;
  max: number;
}

export function summarize(samples: number[]): Latency {
  const sorted = samples.toSorted((a, b) => a - b);
  const at = (q: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? Number.NaN;
  return { trips: sorted.length, median: at(0.5), p99: at(0.99), max: sorted.at(-1) ?? Number.NaN };
}

/**
 * Slash commands one after the other; milliseconds from the envelope's write to its ack's arrival at the workspace.
 * Whoever is connected to the workspace is what is measured. 50 commands go ahead unmeasured.
 */
export async function ackLatency(workspace: Workspace, trips = 500, line = "/ops help"): Promise<Latency> {
  const person = workspace.people.find((p) => p.name === "bench") ?? workspace.addPerson({ name: "bench" });
  const channel =
    workspace.channels.find((c) => c.name === "bench") ?? workspace.addChannel({ name: "bench" });
  const samples: number[] = [];
  for (let i = 0; i < trips + 50; i++) {
    const ack = await workspace.command(person, channel, line).ack;
    if (ack.status !== "acked") throw new Error(`round trip ${i} was not acked: ${ack.status}`);
    if (i >= 50) samples.push(ack.ms);
  }
  return summarize(samples);
}

/** The bare official client that acks at once: the floor that the gateway is compared with. */
export async function officialClient(trips = 500): Promise<Latency> {
  const workspace = await startWorkspace({ keepTcpOpen: false });
  const client = new SocketModeClient({
    appToken: workspace.appToken,
    clientOptions: { slackApiUrl: workspace.apiUrl },
    autoReconnectEnabled: false,
  });
  client.on("slack_event", ({ ack }: { ack: () => Promise<void> }) => void ack());
  try {
    await client.start();
    return await ackLatency(workspace, trips);
  } finally {
    await client.disconnect();
    await workspace.close();
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const started = performance.now();
  const latency = await officialClient();
  console.log(
    `official client, envelope sent to ack received, ${latency.trips} round trips: ` +
      `median ${latency.median.toFixed(3)} ms, p99 ${latency.p99.toFixed(3)} ms, max ${latency.max.toFixed(3)} ms ` +
      `(${((performance.now() - started) / 1000).toFixed(1)} s)`,
  );
}
