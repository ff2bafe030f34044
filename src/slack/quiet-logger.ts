import { type Logger, LogLevel } from "@slack/web-api";

/**
 * The libraries write frames, URLs with tickets and answers into their log texts, at levels above DEBUG too. None is
 * passed on: what happened reaches the keeper as slack.state and slack.alarm, in our own words.
 */
export const quietLogger: Logger = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  setLevel() {},
  getLevel: () => LogLevel.ERROR,
  setName() {},
};
