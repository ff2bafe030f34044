import { SallyportError } from "../core/errors.ts";
import type { Caller } from "./callers.ts";
import { codeForm, type TypedCode } from "./code-form.ts";
import type { Purpose } from "./codes.ts";
import { say } from "./documents.ts";
import type { Session } from "./session.ts";
import type { Answer } from "./slack-desk.ts";
import type { Answered } from "./waits.ts";

/** `/ops approve`, `/ops deny`, their buttons, and the code that was typed into the form. Where one is needed, the form. */
export async function answerWait(
  session: Session,
  caller: Caller,
  o: { verb: "approve" | "deny"; run: string; typed: TypedCode | null },
): Promise<Answer> {
  const { verb, run, typed } = o;
  if (run === "") throw new SallyportError("usage", `Which run? Write: /ops ${verb} RUN`);
  if (verb === "deny") return told(await session.waits.deny(caller, run));
  const shown = waiting(session, caller, run);
  if (typed !== null && shown !== null && typed.purpose !== shown.purpose)
    throw new SallyportError("conflict", `The form was not opened to ${shown.purpose} run ${run}.`);
  const given = typed === null ? {} : { code: typed.code, digest: typed.digest };
  try {
    return told(await session.waits.approve(caller, run, given));
  } catch (error) {
    if (!(error instanceof SallyportError) || error.code !== "code_needed" || shown === null) throw error;
    return { outcome: error.code, document: null, view: codeForm(shown) };
  }
}

function waiting(
  session: Session,
  caller: Caller,
  run: string,
): { purpose: Purpose; run: string; op: string; digest: string } | null {
  const view = session.runs.waiting().find((live) => live.view.row.id === run)?.view;
  if (view?.wait === undefined) return null;
  const { row, wait } = view;
  const isOwn = row.requester === caller.id;
  return {
    purpose: isOwn ? "confirm" : "approve",
    run,
    op: `${row.namespace}/${row.op}`,
    digest: wait.digest,
  };
}

function told({ live, state }: Answered): Answer {
  const { row, wait } = live.view;
  const name = `${row.namespace}/${row.op}`;
  if (state === "denied") return { outcome: "denied", document: say(`You denied ${name} (${row.id}).`) };
  const rest =
    row.state !== "waiting"
      ? "It runs now."
      : wait?.missing.length === 0
        ? "It waits for the one who asked for it to confirm it."
        : "It waits for more approvals.";
  const said = state === "confirmed" ? `You confirmed ${name}` : `You approved ${name}`;
  return { outcome: state, document: say(`${said} (${row.id}). ${rest}`) };
}
