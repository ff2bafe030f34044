/**
 * Started as the runner is, by the launcher under the runner's own spec, but asks for what it likes: arguments: what each run
 * wants of the host, as JSON. Prints a result each, as JSON.
 */
import { openLauncher } from "../../../src/exec/launch.ts";
import type { LaunchSpec } from "../../../src/exec/spec.ts";
import { inheritedFd } from "../../../src/host/role.ts";
import { plainGrant } from "../../exec/launcher.ts";

const launcher = openLauncher(inheritedFd("SALLYPORT_LAUNCHER_FD")!);
const wants = JSON.parse(process.argv[2] ?? "[]") as Partial<LaunchSpec>[];
const told: { outcome: string; detail: string | null }[] = [];
for (const want of wants) {
  const grant = plainGrant({ argv: ["/bin/true"] });
  const numbers = (want.binds ?? []).map((bind) => ({
    ...bind,
    dev: BigInt(bind.dev),
    ino: BigInt(bind.ino),
  }));
  const egress = want.egress === undefined ? {} : { egress: { ...want.egress, token: Buffer.alloc(16) } };
  const run = launcher.run(
    { ...grant, spec: { ...grant.spec, ...want, ...egress, binds: numbers } },
    {
      onStarted: () => {},
      onOutput: () => {},
      ready: () => null,
      onProgress: () => {},
      onDenied: () => {},
    },
  );
  const { outcome, detail } = await run.finished;
  told.push({ outcome, detail });
}
process.stdout.write(JSON.stringify(told));
process.exit(0);
