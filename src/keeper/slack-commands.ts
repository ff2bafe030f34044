import { SallyportError } from "../core/errors.ts";
import { channelKindOf } from "../core/identity.ts";
import { isFinal } from "../core/run.ts";
import { finishReceipt } from "../store/receipts.ts";
import { getRun, readOutput } from "../store/runs.ts";
import type { Document } from "../wire/document.ts";
import type { MessageOf } from "../wire/messages.ts";
import { type Caller, slackActor, slackCaller } from "./callers.ts";
import { codeOf } from "./code-form.ts";
import { opDocument, runDocument, say } from "./documents.ts";
import { findOp, readableOp } from "./find-op.ts";
import { LINK_MINUTES, requestLink } from "./linking.ts";
import { runLog } from "./log-view.ts";
import { Presenter } from "./presenter.ts";
import type { Session } from "./session.ts";
import { linkedDocument, statusDocument, whoamiDocument } from "./slack-answers.ts";
import type { Answer } from "./slack-desk.ts";
import { helpDocument, listDocument, unlinkedHelp } from "./slack-help.ts";
import { answerWait } from "./slack-waits.ts";
import { demandKnown, mayReadOutput } from "./visible-runs.ts";
import { waitAnswer } from "./wait-documents.ts";

type Request = MessageOf<"slack.request">;

/** Every surface of Slack ends here: a slash command, a mention with the same words, a button, a modal, the Home tab. */
export async function dispatchSlack(session: Session, request: Request): Promise<Answer> {
  const words = wordsOf(request);
  if (words === null) return { outcome: "ignored", document: null };
  const { verb, rest } = words;
  const ours = await session.team();
  const isKnown = ours !== null && ours.team !== null;
  // Whose organisation it is the gateway has seen; whether the person is of it Slack alone knows.
  if (!isKnown || !isOurs(ours, request.identity) || request.standing === "foreign")
    return refuseWorkspace(session, request, verb, isKnown);
  let caller: Caller;
  try {
    caller = await slackCaller(session.store.read, request.identity, {
      standing: request.standing ?? "unknown",
      channel: request.channel === null ? null : { id: request.channel.id, kind: kindOf(request) },
    });
  } catch (error) {
    if (!(error instanceof SallyportError)) throw error;
    if (error.code === "not_linked") {
      if (verb === "link") return answerLink(session, request);
      if (verb === "help" || verb === "whoami") return answerUnlinked(session, request, verb);
    }
    await logUnknown(session, request, verb, error);
    return { outcome: error.code, document: say(error.message) };
  }
  // Where nothing is demanded of one thing, who is not served at all must hear that too: everybody served may ask for help.
  switch (verb) {
    case "link":
      return done(
        "linked already",
        await guarded(session, caller, "request_link", () => linkedDocument(caller)),
      );
    case "help":
      return done("help", await guarded(session, caller, "help", () => helpDocument(session, caller)));
    case "whoami":
      return done("whoami", await guarded(session, caller, "whoami", () => whoamiDocument(caller, request)));
    case "status":
      return done("status", await guarded(session, caller, "status", () => statusDocument(session)));
    case "list":
      await session.access.demand(caller, "help", { kind: "appliance" });
      return done("list", await listDocument(session, caller));
    case "show":
      return show(session, caller, rest);
    case "log":
      await session.access.demand(caller, "help", { kind: "appliance" });
      return done("log", await runLog(session, caller, rest));
    case "run":
      return run(session, caller, request, rest);
    case "approve":
    case "deny":
      await session.access.demand(caller, "help", { kind: "appliance" });
      return answerWait(session, caller, { verb, run: rest, typed: codeOf(request) });
    case "cancel":
      await session.runs.cancel(caller, need(rest, "Which run? Write: /ops cancel RUN"));
      return done("canceled", say(`${rest} is being canceled.`));
    default:
      await session.access.demand(caller, "help", { kind: "appliance" });
      return done(
        "unknown",
        say(`There is no command "${verb.slice(0, 40)}". Write /ops help to see what there is.`),
      );
  }
}

function isOurs(
  ours: { enterprise: string | null; team: string | null; org: boolean },
  { enterprise, team }: Request["identity"],
): boolean {
  return ours.org ? enterprise !== null && enterprise === ours.enterprise : team === ours.team;
}

function wordsOf(request: Request): { verb: string; rest: string } | null {
  if (request.surface === "home") return null;
  if (request.surface === "modal") {
    const typed = codeOf(request);
    return typed === null ? null : { verb: "approve", rest: typed.run };
  }
  if (request.surface === "button") {
    const { action } = request;
    return action === null ? null : { verb: action.id, rest: action.value };
  }
  const text = request.text.trim();
  const [verb = ""] = text.split(/\s+/, 1);
  return { verb: verb === "" ? "help" : verb.toLowerCase(), rest: text.slice(verb.length).trim() };
}

function kindOf(request: Request): "channel" | "dm" | "group" {
  const kind = request.channel?.kind;
  if (kind === "im") return "dm";
  if (kind === "mpim") return "group";
  return kind === "unknown" ? channelKindOf(request.channel?.id ?? "") : "channel";
}

function done(outcome: string, document: Document, parts?: Buffer[]): Answer {
  return { outcome, document, ...(parts === undefined ? {} : { parts }) };
}

function need(rest: string, what: string): string {
  if (rest === "") throw new SallyportError("usage", what);
  return rest;
}

/** Between two pairs of tokens nobody knows which workspace is ours: then everybody has to ask again. */
async function refuseWorkspace(
  session: Session,
  request: Request,
  verb: string,
  isKnown: boolean,
): Promise<Answer> {
  const policy = isKnown ? "slack-foreign" : "slack-unverified";
  const error = isKnown
    ? new SallyportError("foreign_identity", `(policy ${policy})`)
    : new SallyportError("slack_not_connected", `It is just being connected; try again. (policy ${policy})`);
  await logUnknown(session, request, verb, error, policy);
  return { outcome: error.code, document: say(error.message) };
}

async function logUnknown(
  session: Session,
  request: Request,
  verb: string,
  error: SallyportError,
  policy: string = error.code,
): Promise<void> {
  await session.store.mutate((tx) => {
    tx.log({
      type: "authn.denied",
      outcome: "denied",
      actor: slackActor(request.identity),
      reason: error.code,
      policy,
      data: { surface: request.surface, command: verb.slice(0, 40), channel: request.channel?.id ?? null },
    });
  });
}

/** What somebody without a user may ask; the same authorizer decides. Null: allowed. */
async function refusedUnlinked(
  session: Session,
  request: Request,
  action: "help" | "whoami" | "request_link",
): Promise<Answer | null> {
  const decision = session.access.authorizer.authorize({
    principal: { kind: "unlinked", identity: request.identity },
    action,
    resource: { kind: "appliance" },
    context: { source: "slack", standing: request.standing ?? "unknown", channel: null, time: session.now() },
  });
  if (decision.allow) return null;
  const policy = decision.policies.join(",");
  const error = new SallyportError("denied", `${decision.reason} (policy ${policy})`);
  await logUnknown(session, request, action, error, policy);
  return { outcome: "denied", document: say(error.message) };
}

async function answerUnlinked(session: Session, request: Request, verb: "help" | "whoami"): Promise<Answer> {
  const refused = await refusedUnlinked(session, request, verb);
  if (refused !== null) return refused;
  const { team, user } = request.identity;
  const howTo = say(
    "This Slack account is not linked to a user of this appliance. Type /ops link and follow what it says.",
    {
      kind: "fields",
      rows: [
        ["Workspace", team],
        ["Member ID", user],
      ],
    },
  );
  if (verb === "whoami") return done(verb, howTo);
  const help = unlinkedHelp();
  return done(verb, { summary: help.summary, blocks: [...help.blocks, ...howTo.blocks] });
}

async function answerLink(session: Session, request: Request): Promise<Answer> {
  const refused = await refusedUnlinked(session, request, "request_link");
  if (refused !== null) return refused;
  const code = await requestLink(session.store, request.identity, session.now());
  return done(
    "link code given",
    say(
      `Your code is ${code}. It is valid ${LINK_MINUTES} minutes, once. Type this on the host, from your own account there:`,
      { kind: "code", text: `sallyport link ${code}` },
      {
        kind: "note",
        text: `An admin who types it for you adds --user NAME, with your name there. The appliance then shows workspace ${request.identity.team} and member ID ${request.identity.user}: compare it with your own (profile, "Copy member ID").`,
      },
    ),
  );
}

async function guarded(
  session: Session,
  caller: Caller,
  action: "help" | "whoami" | "status" | "request_link",
  make: () => Document | Promise<Document>,
): Promise<Document> {
  await session.access.demand(caller, action, { kind: "appliance" });
  return make();
}

async function show(session: Session, caller: Caller, rest: string): Promise<Answer> {
  const what = need(rest, "Which? Write: /ops show OP, or /ops show RUN");
  if (what.startsWith("r-")) return showRun(session, caller, what);
  const op = await findOp(session.access, session.store.read, caller, what, "show");
  await session.access.demand(caller, "show", { kind: "op", op: op.row, namespace: op.namespace });
  return done("show", opDocument(op.manifest, op.version.number, op.version.digest, op.row.resources));
}

async function showRun(session: Session, caller: Caller, id: string): Promise<Answer> {
  const { access, store } = session;
  const row = await getRun(store.read, id);
  const op = row && (await readableOp(access, store.read, { namespace: row.namespace, name: row.op }));
  const resource = row && op && (await access.runResource(store.read, row, op));
  await demandKnown(access, caller, "show", id, resource);
  if (row === undefined || op === undefined || resource === undefined) throw new SallyportError("not_found");
  await access.demand(caller, "show", resource);
  const { requester } = resource;
  const isRead = await mayReadOutput(access, store.read, caller, row, op);
  const output = isRead ? await readOutput(store.read, row.id, { limitBytes: 2400 }) : [];
  const shown = runDocument(
    { row, manifest: op.manifest, requester },
    { chunks: output, bytes: isRead ? row.outputBytes : 0 },
    { longOutput: "too long for here" },
  );
  return done("show", shown.document, shown.parts);
}

async function run(session: Session, caller: Caller, request: Request, rest: string): Promise<Answer> {
  const [name = ""] = need(rest, "Which Op? Write: /ops run OP, and /ops list to see them").split(/\s+/, 1);
  const presenter = new Presenter({ outbox: session.outbox, request });
  const view = await session.runs.request({
    caller,
    op: name,
    args: rest.slice(name.length).trim(),
    requestId: request.id,
    slackUser: request.identity.user,
    ...(request.thread === null ? {} : { thread: request.thread }),
    listener: presenter,
    recording: async (tx, id) => {
      await finishReceipt(tx, request.dedupe, { state: "done", outcome: id });
    },
  });
  presenter.accepted(view);
  if (view.row.state === "waiting" && view.wait !== undefined)
    return done(view.row.id, waitAnswer(view, view.wait));
  const isPrivate = view.manifest.reply === "private" || request.channel === null;
  // One that ended already was told as that.
  return isPrivate && !isFinal(view.row.state)
    ? done(
        view.row.id,
        say(`${view.manifest.op} is ${view.row.state === "queued" ? "queued" : "running"}: ${view.row.id}`),
      )
    : { outcome: view.row.id, document: null };
}
