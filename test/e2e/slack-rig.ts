import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { callKeeper } from "../../src/cli/client.ts";
import { type Delivery, type Message, renderMessage, type Workspace } from "../../src/workspace/index.ts";
import { type TestAppliance, until } from "./appliance.ts";

export const EXAMPLES = join(import.meta.dirname, "../../examples");
/** The machine may be busy with other tests: a bound on hanging, not a measure. */
export const PATIENCE = 30_000;

/** One line of the appliance's log stream. */
export type Ecs = {
  event: { action: string; outcome: string; reason?: string; sequence: number };
  user?: { id: string };
  rule?: { id: string };
  process?: { entity_id: string };
  sallyport: Record<string, unknown>;
};

export function logged(appliance: TestAppliance, ...actions: string[]): Ecs[] {
  return appliance.events
    .map((line) => JSON.parse(line) as Ecs)
    .filter((line) => actions.length === 0 || actions.includes(line.event.action));
}

/** Waits until the stream has every entry that the log has now: a command may be answered before its line is read here. */
export async function caughtUp(appliance: TestAppliance): Promise<void> {
  const { logSize } = (await callKeeper(join(appliance.dir, "run"), "status", {})) as { logSize: number };
  await eventually(appliance, () => (logged(appliance).at(-1)?.event.sequence ?? -1) >= logSize - 1);
}

/** Writes an Op's folder: `manifest` is op.yaml, files that begin with #! are executable. Returns the folder. */
export function opFolder(
  appliance: TestAppliance,
  manifest: string,
  files: Record<string, string> = {},
): string {
  const dir = mkdtempSync(join(appliance.dir, "op-"));
  writeFileSync(join(dir, "op.yaml"), manifest);
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(join(dir, name, ".."), { recursive: true });
    writeFileSync(join(dir, name), text, { mode: text.startsWith("#!") ? 0o755 : 0o644 });
  }
  return dir;
}

export const plain = (message: Message): string => renderMessage(message, { emphasis: "strip" });

/** The answer that this person alone sees. */
export async function answer(delivery: Delivery): Promise<string> {
  return plain(await delivery.response(PATIENCE));
}

/** The id of the run that a command became, as its receipt's log entry and the run's tell. */
export function runsOf(appliance: TestAppliance): string[] {
  return logged(appliance, "run.requested").map((line) => line.process?.entity_id ?? "");
}

/** Waits for the message that says how a run ended. */
export function result(workspace: Workspace, channel: string, match: RegExp): Promise<Message> {
  return workspace.waitFor(
    () => workspace.messages(channel).find((m) => match.test(plain(m)) && ENDED.test(plain(m))),
    PATIENCE,
  );
}
export const ENDED = /succeeded|✘|was stopped|was canceled|was lost/;

export function eventually(appliance: TestAppliance, test: () => boolean): Promise<void> {
  return until(test, PATIENCE, () => appliance.log);
}
