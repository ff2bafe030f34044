import t from "tap";
import { Box, FILE_TIMEOUT, isAlive, marker } from "../faults/support.ts";
import { until } from "./appliance.ts";

t.setTimeout(FILE_TIMEOUT);

type Line = { event: { sequence: number; action: string; hash: string; outcome: string } };

t.test(
  "every entry of the log is a line on standard output: at unlock, at lock, at a stop too",
  async (t) => {
    const box = new Box();
    t.teardown(() => box.stop());
    await box.init();
    await box.serve();
    await box.wrong();
    await box.unlock();
    await box.tested();
    await box.demo();
    await box.op("nap", 'exec sleep "$INPUT_FOR"', "inputs:\n  for: {type: string}\n");
    await box.ok(["lock"]);
    await box.unlock();
    await box.tested();
    const mark = marker();
    const running = box.cli(["run", "demo/nap", "--for", mark]);
    await until(
      () => isAlive(mark),
      15_000,
      () => box.log,
    );
    box.serving?.kill("SIGTERM");
    t.equal(await box.exited(), 0);
    await running;
    // The process has ended, but what it wrote last may still be on its way to us.
    await until(() => box.events.at(-1)?.includes('"appliance.stopped"') === true, 15_000);
    const before = box.events.length;

    await box.serve();
    await box.unlock();
    const entries = await box.entries();
    const lines = box.events.map((text) => JSON.parse(text) as Line);
    t.same(
      lines.slice(0, before).map(({ event }) => event.sequence),
      lines.slice(0, before).map((_, i) => i + (lines[0]?.event.sequence ?? 0)),
      "no gap, and none twice",
    );
    const first = lines[0]?.event;
    t.equal(first?.action, "appliance.unlock_failed", "what happened while sealed came first");
    for (const { event } of lines.slice(0, before)) {
      const { entry } = entries.find(({ seq }) => seq === event.sequence) ?? {};
      t.equal(entry?.type, event.action);
    }
    const said = lines.slice(0, before).map(({ event }) => event.action);
    for (const type of ["appliance.unlocked", "appliance.locked", "notary.key", "run.started"])
      t.ok(said.includes(type), type);
    t.same(said.slice(-2), ["run.finished", "appliance.stopped"], "the last words of a stop");
    t.match(lines[0]?.event.hash, /^[0-9a-f]{64}$/);
  },
);
