import { randomBytes } from "node:crypto";
import {
  type Answer,
  type Args,
  content,
  jsonField,
  type MethodContext,
  optionalString,
  requiredString,
  SlackFailure,
  target,
} from "./args.ts";

export const MAX_UPLOAD = 64 * 1024 * 1024;

export function getUploadUrl(args: Args, { state, origin }: MethodContext): Answer {
  const name = requiredString(args, "filename");
  const length = Number(requiredString(args, "length"));
  if (!Number.isSafeInteger(length) || length < 1) throw new SlackFailure("invalid_arguments");
  if (length > MAX_UPLOAD) throw new SlackFailure("file_upload_size_restricted");
  const id = `F0${randomBytes(4).toString("hex").toUpperCase()}`;
  state.files.push({ id, name, title: name, announcedLength: length, bytes: null, channel: null, ts: null });
  return { upload_url: `${origin()}/upload/v1/${id}`, file_id: id };
}

export function completeUpload(args: Args, { state }: MethodContext): Answer {
  const listed = jsonField(args, "files", "invalid_arguments");
  if (!Array.isArray(listed) || listed.length === 0) throw new SlackFailure("invalid_arguments");
  const files = listed.map((entry: { id?: unknown; title?: unknown }) => {
    const file = state.files.find((f) => f.id === entry?.id);
    if (file === undefined || file.bytes === null) throw new SlackFailure("file_not_found");
    if (file.ts !== null) throw new SlackFailure("file_already_completed");
    if (typeof entry.title === "string") file.title = entry.title;
    return file;
  });
  if (optionalString(args, "channel_id") !== undefined) {
    const channel = target(args, state, "channel_id");
    const { blocks } = content(args, true);
    const message = state.post({
      channel: channel.id,
      user: state.bot.userId,
      botId: state.bot.botId,
      text: optionalString(args, "initial_comment") ?? "",
      ...(blocks === undefined ? {} : { blocks }),
      threadTs: optionalString(args, "thread_ts") ?? null,
      files,
      via: "files.completeUploadExternal",
    });
    for (const file of files) Object.assign(file, { channel: channel.id, ts: message.ts });
  }
  return { files: files.map((f) => ({ id: f.id, title: f.title })) };
}
