/**
 * Every error that reaches a person has one of these codes. `exit` is the CLI's status (DESIGN section 6):
 * 1 failed, 2 usage, 3 refused, 4 sealed, 5 not running, 6 integrity failure. Every text is whole sentences, for a detail may
 * follow it.
 */
export const ERRORS = {
  usage: { exit: 2, text: "The command was not understood." },
  config_invalid: { exit: 2, text: "The configuration file is not valid." },
  input_invalid: { exit: 2, text: "A value is missing, of the wrong type or outside its bounds." },
  manifest_invalid: { exit: 2, text: "op.yaml is not valid." },
  bundle_invalid: { exit: 2, text: "The Op's folder can't be published as it is." },
  policy_invalid: { exit: 2, text: "The policies do not validate against the schema." },
  image_invalid: { exit: 2, text: "The image can't be used as a root file system." },
  import_failed: { exit: 1, text: "The root file system could not be imported." },
  not_found: { exit: 1, text: "There is nothing of that name." },
  conflict: { exit: 1, text: "That exists already or is in use." },
  secret_missing: { exit: 1, text: "A secret that the Op needs is not there." },
  denied: { exit: 3, text: "Refused." },
  unsupported: { exit: 3, text: "Refused: this version can't do what the Op asks for." },
  code_needed: { exit: 3, text: "A one-time code from your authenticator is needed." },
  not_linked: { exit: 3, text: "This Slack account is not linked to a user of this appliance." },
  user_disabled: { exit: 3, text: "This user is disabled." },
  foreign_identity: { exit: 3, text: "Only members of the installing Slack workspace are served." },
  unlock_failed: { exit: 3, text: "That passphrase or recovery code opens no key slot." },
  slow_down: { exit: 3, text: "Too many failed attempts; wait before the next one." },
  sealed: { exit: 4, text: "The appliance is sealed. Unlock it with: sallyport unlock." },
  not_running: { exit: 5, text: "The keeper is not running. Start it with: sallyport serve." },
  start_failed: { exit: 1, text: "sallyport could not be started." },
  already_running: { exit: 1, text: "Another sallyport already runs on this state directory." },
  already_initialized: { exit: 1, text: "This state directory is initialized already." },
  not_initialized: { exit: 1, text: "This state directory is not initialized. Run: sallyport init." },
  already_unlocked: { exit: 0, text: "The appliance is unlocked already." },
  state_dir_unsafe: { exit: 1, text: "The state directory can be reached by others." },
  keyring_damaged: { exit: 6, text: "The key file is damaged." },
  database_damaged: { exit: 6, text: "The database is damaged." },
  database_newer: { exit: 1, text: "The database was written by a newer sallyport." },
  database_plaintext: { exit: 6, text: "The database is not encrypted; it is not used." },
  log_damaged: { exit: 6, text: "The audit log does not verify." },
  log_unwritable: { exit: 1, text: "The audit log can't be written, so nothing is done." },
  notary_refused: { exit: 6, text: "The notary refused to sign the log's state." },
  no_exec_mount: { exit: 1, text: "No place allows code to run." },
  sandbox_unavailable: { exit: 1, text: "The sandbox's self-test failed, so no Op runs." },
  engine_unavailable: { exit: 1, text: "The engine that the Op asks for can't be used on this host." },
  runs_halted: { exit: 1, text: "No Op runs now." },
  vault_failed: { exit: 1, text: "A secret could not be fetched from its vault." },
  launch_failed: { exit: 1, text: "The sandbox could not be set up; the Op was not started." },
  slack_not_connected: { exit: 1, text: "The gateway is not connected to Slack." },
  slack_failed: { exit: 1, text: "Slack refused a call." },
  wire_violation: { exit: 1, text: "A peer sent what it may not send; its connection was ended." },
  timeout: { exit: 1, text: "No answer came in time." },
  canceled: { exit: 1, text: "Canceled." },
  internal: { exit: 1, text: "An internal error; the log of the process that failed has the cause." },
} as const satisfies Record<string, { exit: number; text: string }>;

export type ErrorCode = keyof typeof ERRORS;

/** The one error class. `detail` says what exactly and what to do; it never holds a secret. */
export class SallyportError extends Error {
  override readonly name = "SallyportError";
  readonly code: ErrorCode;
  readonly detail: string;

  constructor(code: ErrorCode, detail = "", options?: { cause?: unknown }) {
    super(detail === "" ? ERRORS[code].text : `${ERRORS[code].text} ${detail}`, options);
    this.code = code;
    this.detail = detail;
  }

  get exit(): number {
    return ERRORS[this.code].exit;
  }
}

/** Wraps whatever was thrown; an unknown error becomes `internal` and keeps its cause. */
export function asSallyportError(error: unknown): SallyportError {
  return error instanceof SallyportError ? error : new SallyportError("internal", "", { cause: error });
}
