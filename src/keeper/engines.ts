import { type Engine, engineConflict } from "../core/engines.ts";
import { SallyportError } from "../core/errors.ts";
import type { ResourceModes } from "../core/resources.ts";
import type { MessageOf } from "../wire/messages.ts";
import type { ActiveOp } from "./access.ts";

type Ready = MessageOf<"runner.ready"> | undefined;
type Op = Pick<ActiveOp, "manifest" | "namespaceEngine">;

/** What starts it: its namespace's engine, else its own, else the host's default, which a runner that is there has told. */
export function engineOf({ manifest, namespaceEngine }: Op, ready: Ready): Engine {
  return namespaceEngine ?? manifest.engine ?? ready?.engine ?? "native";
}

/** Why a run that was taken while no runner had told its default can't start after all; null where it can. */
export function lateConflict(op: Op, ready: Ready, listed: ResourceModes): string | null {
  const engine = engineOf(op, ready);
  const conflict = engineConflict(engine, op.manifest, listed);
  return conflict === null ? null : `It would be started by ${engine}: ${conflict}.`;
}

/** Why no run of this Op may start: its engine is not the namespace's, is missing, or failed its self-test. */
export function engineObstacle(
  op: Op,
  ready: Ready,
  engines: MessageOf<"runner.engines"> | undefined,
  listed: ResourceModes,
): SallyportError | undefined {
  const { manifest, namespaceEngine } = op;
  const engine = engineOf(op, ready);
  const refuse = (why: string) => new SallyportError("engine_unavailable", `${why}.`);
  if (manifest.engine !== undefined && manifest.engine !== engine)
    return refuse(
      `Namespace ${manifest.namespace} runs its Ops under ${engine}, and ${manifest.op} asks for ${manifest.engine}: take engine: out of op.yaml, or have an admin run: sallyport namespace engine ${manifest.namespace} default`,
    );
  // No runner: its successor takes what waits, and says so itself when it can't.
  if (engine === "native" || ready === undefined) return undefined;
  const whose =
    namespaceEngine !== undefined
      ? `Namespace ${manifest.namespace}`
      : manifest.engine !== undefined
        ? manifest.op
        : "sallyport.yaml's default";
  const because = (why: string) => refuse(`${whose} asks for ${engine}: ${why}`);
  const conflict = engineConflict(engine, manifest, listed);
  if (conflict !== null) return because(conflict);
  if (engines === undefined) return because("its self-test has not ended yet; try again in a moment");
  const report = engines.engines.find((e) => e.engine === engine);
  if (report?.ok === true) return undefined;
  return because(
    report === undefined || report.path === null
      ? "it is not installed; install it (Debian has the packages crun, runc and runsc), or have root choose another engine"
      : `${report.path} was tried and can't be used: ${report.detail}`,
  );
}
