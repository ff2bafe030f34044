import { SallyportError } from "../core/errors.ts";
import type { Caller } from "./callers.ts";
import { say } from "./documents.ts";
import type { Session } from "./session.ts";
import type { Answer } from "./slack-desk.ts";
import type { Answered } from "./waits.ts";

/** `/ops approve`, `/ops deny`, their buttons, and the code that was typed into the form. */
export async function answerWait(
  session: Session,
  caller: Caller,
  o: { verb: "approve" | "deny"; run: string; code?: string; digest?: string },
): Promise<Answer> {
  const { verb, run } = o;
  if (run === "") throw new SallyportError("usage", `Which run? Write: /ops ${verb} RUN`);
  if (verb === "deny") return told(await session.waits.deny(caller, run));
  const given = {
    ...(o.code === undefined ? {} : { code: o.code }),
    ...(o.digest === undefined ? {} : { digest: o.digest }),
  };
  return told(await session.waits.approve(caller, run, given));
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
