import { ENGINE_PROGRAM, type Engine, OCI_ENGINES, type OciEngine } from "../core/engines.ts";
import { judge, readAnswers } from "./battery.ts";
import { GRACE_MS, makePlainGrant } from "./grant.ts";
import type { Launcher } from "./launch.ts";
import { ociBattery } from "./oci-battery.ts";
import { collect, probe } from "./selftest.ts";

/** What is known of one engine on this host. */
export interface EngineReport {
  readonly engine: Exclude<Engine, "native">;
  /** Of its program; null: it is not installed. */
  readonly path: string | null;
  /** The first line that it says of itself, or "". */
  readonly version: string;
  /** It ran the self-test: Ops may ask for it. */
  readonly ok: boolean;
  /** Why not; and for one that is fine, what it does not give. */
  readonly detail: string;
}

const KATA =
  "Kata can't be driven: since 2.0 it has no command line that takes a bundle, and it needs /dev/kvm, which a run is not given";
const GVISOR =
  "no control channel on fd 3, refused calls are not reported, no Landlock: gVisor's own kernel stands in their place";

/** The places are those of sandbox/engine.c, in its order. Runs inside a native sandbox, which shows the same /usr. */
const FIND = `for name in ${Object.values(ENGINE_PROGRAM).join(" ")}; do
  for place in /usr/local/sbin /usr/local/bin /usr/sbin /usr/bin; do
    [ -f "$place/$name" ] || continue
    set -- $("$place/$name" --version 2>/dev/null | head -n 1 | cut -c 1-80)
    echo "$name $place/$name $*"
    break
  done
done`;

/**
 * Looks for every engine and lets those that are there run the self-test's attempts, one after the other. Never throws.
 * An engine that answers one of them wrongly, or does not start, is not offered.
 */
export async function testEngines(launcher: Launcher): Promise<EngineReport[]> {
  const found = await findEngines(launcher);
  const reports: EngineReport[] = [];
  for (const [name, program] of Object.entries(ENGINE_PROGRAM)) {
    const engine = name as EngineReport["engine"];
    const there = found.get(program);
    if (there === undefined)
      reports.push({ engine, path: null, version: "", ok: false, detail: "not installed" });
    else if (!isOci(engine)) reports.push({ engine, ...there, ok: false, detail: KATA });
    else {
      const wrong = await tryEngine(launcher, engine);
      const fine = engine === "gvisor" ? GVISOR : "";
      reports.push({ engine, ...there, ok: wrong === null, detail: (wrong ?? fine).slice(0, 400) });
    }
  }
  return reports;
}

function isOci(engine: Engine): engine is OciEngine {
  return (OCI_ENGINES as readonly Engine[]).includes(engine);
}

async function findEngines(launcher: Launcher): Promise<Map<string, { path: string; version: string }>> {
  const grant = makePlainGrant({
    run: "engines",
    files: [],
    argv: ["/bin/sh", "-c", FIND],
    seccomp: "default",
    limits: {
      wallMs: 10_000,
      graceMs: GRACE_MS,
      memoryBytes: 256 << 20,
      pids: 128,
      cpu: 1,
      tmpBytes: 1 << 20,
    },
    outputBytes: 16 * 1024,
  });
  const found = new Map<string, { path: string; version: string }>();
  try {
    const { output } = await collect(launcher, grant);
    for (const line of output.split("\n")) {
      const [, program, path, version] = /^(\S+) (\S+) ?(.*)$/.exec(line) ?? [];
      if (program !== undefined)
        found.set(program, { path: path!.slice(0, 100), version: printable(version!) });
    }
  } catch {
    // The launcher is gone, and with it the runner: nobody will ask.
  }
  return found;
}

/** What was wrong, or null. */
async function tryEngine(launcher: Launcher, engine: OciEngine): Promise<string | null> {
  try {
    const attempts = ociBattery(engine);
    const { output, result } = await probe(launcher, attempts, "default", engine);
    if (result.outcome !== "exited" || result.exit !== 0)
      return (
        result.detail ?? `the self-test ended with ${result.outcome} ${result.signal ?? result.exit ?? ""}`
      );
    const answers = readAnswers(output);
    const bad = attempts.find((attempt) => !judge(attempt, answers.get(attempt.probe), false));
    if (bad !== undefined)
      return `${bad.name}: the answer was "${printable(answers.get(bad.probe) ?? "none")}", expected ${bad.expect.source}`;
    if (engine !== "gvisor" && result.denied.length === 0) return "no refused call was reported";
    return null;
  } catch (error) {
    return printable(error instanceof Error ? error.message : String(error));
  }
}

const printable = (text: string): string => text.replace(/[^ -~]/g, "?").slice(0, 100);
