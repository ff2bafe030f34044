import { engineConflict } from "../core/engines.ts";
import { SallyportError } from "../core/errors.ts";
import type { Manifest } from "../core/manifest.ts";
import type { ResourceModes } from "../core/resources.ts";
import type { MessageOf } from "../wire/messages.ts";

/** Why no run of this Op may start: its engine, or the host's default, is missing or failed its self-test. */
export function engineObstacle(
  manifest: Manifest,
  ready: MessageOf<"runner.ready"> | undefined,
  engines: MessageOf<"runner.engines"> | undefined,
  listed: ResourceModes,
): SallyportError | undefined {
  const engine = manifest.engine ?? ready?.engine ?? "native";
  // No runner: its successor takes what waits, and says so itself when it can't.
  if (engine === "native" || ready === undefined) return undefined;
  const whose = manifest.engine === undefined ? "sallyport.yaml's default" : manifest.op;
  const refuse = (why: string) =>
    new SallyportError("engine_unavailable", `${whose} asks for ${engine}: ${why}.`);
  const conflict = engineConflict(engine, manifest, listed);
  if (conflict !== null) return refuse(conflict);
  if (engines === undefined) return refuse("its self-test has not ended yet; try again in a moment");
  const report = engines.engines.find((e) => e.engine === engine);
  if (report?.ok === true) return undefined;
  return refuse(
    report === undefined || report.path === null
      ? "it is not installed; install it (Debian has the packages crun, runc and runsc), or have root choose another engine"
      : `${report.path} was tried and can't be used: ${report.detail}`,
  );
}
