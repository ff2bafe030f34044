import type { Need } from "../core/approvals.ts";
import type { Args } from "../core/args.ts";
import type { BoundSecret } from "../core/bound-secret.ts";
import type { SallyportError } from "../core/errors.ts";
import type { Confirm, Manifest } from "../core/manifest.ts";
import type { RunRow } from "../store/runs.ts";
import type { Tx } from "../store/tx.ts";
import type { ActiveOp } from "./access.ts";
import type { Caller } from "./callers.ts";
import type { RunOutput, Shown } from "./run-output.ts";

export type RunView = { row: RunRow; manifest: Manifest; requester: string; wait?: WaitView };

/** What a run waits for, as people are shown it. */
export type WaitView = {
  digest: string;
  confirm: Confirm;
  reached: Confirm;
  needs: readonly Need[];
  missing: readonly { need: Need; have: number }[];
  /** Names of who approved, in that order. */
  approved: readonly string[];
  /** ms since the epoch */
  expires: number;
};

/** Told of what happens to one run; `recording` adds to the outcome's transaction, `ended` speaks after it is durable. */
export type RunListener = {
  /** Joins the transaction that makes it wait, and each that changes what it waits for. */
  waiting?(tx: Tx, view: RunView): Promise<void>;
  /** After such a transaction is durable. */
  waited?(view: RunView): void;
  /** It waited for somebody, and now for its turn alone. */
  queued?(view: RunView): void;
  started?(view: RunView): void;
  output?(stream: "stdout" | "stderr", bytes: Buffer): void;
  progress?(text: string, percent: number | null): void;
  recording?(tx: Tx, view: RunView, output: Shown): Promise<void>;
  ended?(view: RunView): void;
  /** Instead of `ended`: the run is over, and its outcome could not be made durable. */
  unrecorded?(view: RunView, error: SallyportError): void;
};

/** One run between its request and its recorded outcome. */
export type Live = {
  view: RunView;
  op: ActiveOp;
  caller: Caller;
  args: Args;
  /** Digest of the root file system that the Op's name for it led to when it was asked for; undefined: the host's own. */
  root: string | undefined;
  /** Which version of each secret it was asked for with. */
  secrets: readonly BoundSecret[];
  listener: RunListener;
  output: RunOutput;
  denied: Set<string>;
  /** Which secret was taken out of which output. */
  printed: Set<string>;
  /** Whether it waits to be confirmed or approved. */
  waiting: boolean;
  /** Whether it holds a slot. */
  started: boolean;
  ending: boolean;
  /** Canceled between the record of its start and the order. */
  cancelWanted: boolean;
  /** Why it is being canceled, where nobody asked for that by its id. */
  cancelReason?: string;
};

export type RunRequest = {
  caller: Caller;
  /** As typed: "web/restart" or "restart". */
  op: string;
  /** The rest of the command, as typed in Slack, or the tokens of a command line. */
  args: string | string[];
  thread?: string;
  requestId?: string;
  /** Member id of who asked in Slack. */
  slackUser?: string;
  /** Why an admin runs it without the approvals that it needs. */
  breakGlass?: string;
  listener: RunListener;
  /** Joins the transaction that makes the intent durable. */
  recording?: (tx: Tx, run: string) => Promise<void>;
};
