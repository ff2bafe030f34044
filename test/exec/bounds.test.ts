import t from "tap";
import {
  BUNDLE_LIMITS,
  type BundleFile,
  bundleDigest,
  encodeBundle,
  openBundle,
} from "../../src/core/bundle.ts";
import { makeGrant } from "../../src/exec/grant.ts";
import { startLauncher } from "./launcher.ts";

const started = startLauncher();
t.teardown(() => started.stop());
const MIB = 1024 ** 2;

/** Launches /bin/true with these files and just the memory that `openBundle` asks for. */
async function launched(files: BundleFile[]): Promise<string> {
  for (let mib = 4; ; mib++) {
    const yaml = `op: a/b\nsummary: x\nrun: [/bin/true]\nlimits: {memory: ${mib}MiB}\n`;
    const bundle = encodeBundle([{ path: "op.yaml", mode: 0o644, bytes: Buffer.from(yaml) }, ...files]);
    try {
      openBundle(bundle);
    } catch (error) {
      if (mib < 20 && /limits\.memory/.test(`${error}`)) continue;
      throw error;
    }
    const order = {
      run: "r-bounds",
      op: "a/b",
      digest: bundleDigest(bundle),
      argv: ["/bin/true"],
      env: {},
      input: "{}",
      limits: {
        timeMs: 20_000,
        memoryBytes: mib * MIB,
        pids: 8,
        diskBytes: MIB,
        outputBytes: MIB,
        cpu: 1,
      },
      seccomp: "default",
      network: [],
      secrets: [],
    } as const;
    const handlers = {
      onStarted: () => {},
      onOutput: () => {},
      ready: () => null,
      onProgress: () => {},
      onDenied: () => {},
    };
    const { outcome, exit, detail } = await started.launcher.run(
      makeGrant(order, bundle, [], false),
      handlers,
    ).finished;
    return `${outcome} ${exit} ${detail ?? ""}`.trim();
  }
}

const file = (path: string, size = 1): BundleFile => ({ path, mode: 0o644, bytes: Buffer.alloc(size, 65) });
const count = BUNDLE_LIMITS.files - 1;

t.test("whatever may be published can be launched", async (t) => {
  const long = (i: number) => `${"d".repeat(120)}/${"e".repeat(125)}/${String(i).padStart(8, "0")}`;
  const chain = (i: number, depth: number) =>
    [...Array.from({ length: depth }, (_, level) => `${level}-${i}`), "f"].join("/");
  const cases: Record<string, BundleFile[]> = {
    "the longest paths": Array.from({ length: count }, (_, i) => file(long(i))),
    "as many folders as files": Array.from({ length: count }, (_, i) => file(chain(i, 1))),
    "the deepest folders": Array.from({ length: 34 }, (_, i) => file(chain(i, 15))),
    "the most bytes in one": [file("big", BUNDLE_LIMITS.total - 200)],
    "the most bytes in many": Array.from({ length: count }, (_, i) => file(`f${i}`, 16_000)),
    "small ones, a page each": Array.from({ length: count }, (_, i) => file(`f${i}`)),
    "names that a shell would trip over": ["-rf", " ", "...", "$x", "'", '"', "*", "💥", "a "].map((name) =>
      file(name),
    ),
  };
  for (const [what, files] of Object.entries(cases)) t.equal(await launched(files), "exited 0", what);
});
