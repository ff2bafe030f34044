import type { Actor, HostAccount } from "../audit/event.ts";
import type { AuthRequest, UserRow as Principal } from "../core/authorizer.ts";
import { SallyportError } from "../core/errors.ts";
import type { SlackIdentity } from "../core/identity.ts";
import { principal } from "../store/grants.ts";
import { listIdentities, userByIdentity } from "../store/identities.ts";
import type { Reader } from "../store/tx.ts";
import { userByUid } from "../store/users.ts";

/** Where a request came from and in which Slack channel. */
export type Origin = {
  source: "slack" | "tty";
  /** What Slack says of the person now; a request from the host has Linux's word instead. */
  standing: AuthRequest["context"]["standing"];
  channel: AuthRequest["context"]["channel"];
  /** Of whoever asked at the admin socket. */
  account?: HostAccount;
  /** Member id of whoever asked in Slack. */
  slackUser?: string;
};

/** A known, enabled person. */
export type Caller = Origin & { id: string; principal: Principal; actor: Actor };

export type { HostAccount } from "../audit/event.ts";

/** The person behind a host account. Throws `denied` for an unmapped account and `user_disabled`. */
export async function hostCaller(reader: Reader, account: HostAccount): Promise<Caller> {
  const user = await userByUid(reader, account.uid);
  if (user === undefined) {
    throw new SallyportError(
      "denied",
      `Host account ${account.uid} belongs to no user. An admin adds it with: sallyport user add NAME --host-user LOGIN`,
    );
  }
  return known(reader, user.id, { source: "tty", standing: "host", channel: null, account });
}

/** The person behind a Slack identity. Throws `not_linked` and `user_disabled`. */
export async function slackCaller(
  reader: Reader,
  identity: SlackIdentity,
  origin: Pick<Origin, "standing" | "channel">,
): Promise<Caller> {
  const user = await userByIdentity(reader, identity);
  if (user === undefined) throw new SallyportError("not_linked", "Type /ops link and follow what it says.");
  return known(reader, user.id, { source: "slack", slackUser: identity.user, ...origin });
}

/**
 * The same person from the same place, with the rights of this moment. Throws `not_linked` and `denied` where the account through
 * which they asked is theirs no more: it may have been another's all along.
 */
export async function recall(
  reader: Reader,
  { id, source, standing, channel, account, slackUser }: Origin & { id: string },
): Promise<Caller> {
  if (slackUser !== undefined && !(await listIdentities(reader, id)).some(({ user }) => user === slackUser))
    throw new SallyportError("not_linked", "The Slack account that was used was unlinked.");
  if (account !== undefined && (await userByUid(reader, account.uid))?.id !== id)
    throw new SallyportError("denied", "The host account that was used was taken from this user.");
  const from = {
    ...(account === undefined ? {} : { account }),
    ...(slackUser === undefined ? {} : { slackUser }),
  };
  return known(reader, id, { source, standing, channel, ...from });
}

async function known(reader: Reader, id: string, origin: Origin): Promise<Caller> {
  const found = await principal(reader, id);
  if (found === undefined) throw new SallyportError("denied", "This user does not exist any more.");
  if (found.disabled)
    throw new SallyportError("user_disabled", "An admin enables it with: sallyport user enable NAME");
  const { account } = origin;
  const actor = {
    kind: "user",
    id,
    name: found.name,
    ...(account === undefined ? {} : { account }),
  } as const;
  return { ...origin, id, principal: found, actor };
}

export function hostActor(account: HostAccount): Actor {
  return { kind: "host", uid: account.uid, loginUid: account.loginUid };
}

export function slackActor(identity: SlackIdentity): Actor {
  return { kind: "slack", ...identity };
}
