import { parseManifest } from "../../src/core/manifest.ts";
import type { RunView } from "../../src/keeper/run-types.ts";
import type { RunRow } from "../../src/store/runs.ts";

export function viewOf(over: Partial<RunRow> = {}, manifest = ""): RunView {
  const row: RunRow = {
    id: "r-0000000000000001",
    namespace: "demo",
    op: "x",
    version: 1,
    digest: `sha256:${"0".repeat(64)}`,
    args: "{}",
    requester: "u-1",
    source: "slack",
    channel: "C0OPS00001",
    thread: null,
    requestId: "q-1",
    policy: null,
    breakGlass: null,
    state: "succeeded",
    created: 0,
    changed: 0,
    started: 0,
    ended: 0,
    exit: 0,
    signal: null,
    reason: null,
    durationMs: 5,
    usage: null,
    outputBytes: 0,
    truncated: false,
    ...over,
  };
  return {
    row,
    manifest: parseManifest(`op: demo/x\nsummary: x\nrun: [/bin/true]\n${manifest}`),
    requester: "bob",
  };
}
