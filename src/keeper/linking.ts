import { createHash, randomInt } from "node:crypto";
import { SallyportError } from "../core/errors.ts";
import type { SlackIdentity } from "../core/identity.ts";
import { addIdentity, removeIdentity } from "../store/identities.ts";
import { countWrongLink, createLink, type LinkRow, openLink, useLink } from "../store/links.ts";
import type { Store } from "../store/store.ts";
import type { Tx } from "../store/tx.ts";
import { type UserRow, userByName } from "../store/users.ts";
import type { Access } from "./access.ts";
import { Attempts } from "./attempts.ts";
import { type Caller, slackActor } from "./callers.ts";
import { Refusals } from "./refusals.ts";
import { Turns } from "./turns.ts";

const ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
export const LINK_MINUTES = 10;

/** A Slack account asks to be linked: returns the code, which that person alone is shown. 40 random bits, few tries. */
export async function requestLink(store: Store, identity: SlackIdentity, now: number): Promise<string> {
  const digits = Array.from({ length: 8 }, () => ALPHABET[randomInt(ALPHABET.length)]).join("");
  await store.mutate(async (tx) => {
    await createLink(tx, {
      codeHash: hash(digits),
      identity,
      display: "",
      expires: now + LINK_MINUTES * 60_000,
    });
    tx.log({ type: "link.requested", outcome: "success", actor: slackActor(identity) });
  });
  return `${digits.slice(0, 4)}-${digits.slice(4)}`;
}

const APPLIANCE = { kind: "appliance" } as const;
const attempts = new Attempts({ together: false });
const throttled = new Refusals();
/** Side by side, every guess would pass before any of them had counted. */
const guesses = new Turns();

/** `now` is in milliseconds since 1970. */
type Linking = { store: Store; access: Access; now: number };

/**
 * What a code stands for, told to whom it may be told: an admin links anybody, any other person only their own account.
 * Throws `denied`, `not_found`, `slow_down`.
 */
export async function showLink(
  o: Linking,
  caller: Caller,
  code: string,
  userName: string,
): Promise<{ link: LinkRow; user: UserRow; policies: string[] }> {
  const policies = await o.access.demand(caller, "link", { kind: "user", name: userName });
  const user = await userByName(o.store.read, userName);
  if (user === undefined)
    throw new SallyportError("not_found", `User ${userName}. Add it with: sallyport user add ${userName}`);
  return { link: await find(o, caller, code), user, policies };
}

export async function confirmLink(
  o: Linking,
  caller: Caller,
  code: string,
  userName: string,
): Promise<LinkRow> {
  const { link, user, policies } = await showLink(o, caller, code, userName);
  await o.store.mutate(async (tx) => {
    await useLink(tx, link.id);
    await addIdentity(tx, link.identity, user.id);
    tx.log({
      type: "link.confirmed",
      outcome: "success",
      actor: caller.actor,
      policy: policies.join(","),
      data: {
        user: user.id,
        team: link.identity.team,
        slackUser: link.identity.user,
        enterprise: link.identity.enterprise,
      },
    });
  });
  // Not already when a code is shown: with one of their own, people could clear their count as often as they like.
  attempts.succeeded(caller.id);
  return link;
}

/**
 * An admin's wrong code counts against every open one; any other person's only against that person, who could burn
 * everybody's otherwise.
 */
async function find({ store, access, now }: Linking, caller: Caller, code: string): Promise<LinkRow> {
  const isAdmin = access.may(caller, "administer", APPLIANCE);
  const found = await guesses.take(async () => {
    const wait = isAdmin ? 0 : attempts.wait(caller.id, now);
    if (wait > 0) return { wait };
    const link = await openLink(store.read, hash(normal(code)), now);
    if (link === undefined && !isAdmin) attempts.failed(caller.id, now);
    return { wait, link };
  });
  if (found.link !== undefined) return found.link;
  if (found.wait > 0) {
    const tries = throttled.count(caller.id, "throttled", now);
    if (tries > 0) await store.mutate((tx) => failed(tx, caller, "throttled: too many wrong codes", tries));
    throw new SallyportError("slow_down", `Try again in ${Math.ceil(found.wait / 1000)} s.`);
  }
  await store.mutate(async (tx) => {
    if (isAdmin) await countWrongLink(tx);
    failed(tx, caller, "unknown, used or expired code", 1);
  });
  throw new SallyportError(
    "not_found",
    "No open link code is this one. Codes are valid 10 minutes, once; ask for a new one with /ops link",
  );
}

function failed(tx: Tx, caller: Caller, reason: string, tries: number): void {
  tx.log({ type: "link.failed", outcome: "failure", actor: caller.actor, reason, data: { tries } });
}

export async function unlink(
  store: Store,
  access: Access,
  caller: Caller,
  identity: SlackIdentity,
): Promise<void> {
  await access.demand(caller, "administer", APPLIANCE);
  await store.mutate(async (tx) => {
    if (!(await removeIdentity(tx, identity)))
      throw new SallyportError("not_found", "That Slack account is not linked.");
    tx.log({
      type: "link.removed",
      outcome: "success",
      actor: caller.actor,
      data: { team: identity.team, slackUser: identity.user, enterprise: identity.enterprise },
    });
  });
}

function normal(code: string): string {
  return code
    .toUpperCase()
    .replaceAll(/[^0-9A-Z]/g, "")
    .replaceAll("O", "0")
    .replaceAll(/[IL]/g, "1");
}

function hash(digits: string): Buffer {
  return createHash("sha256").update(`sallyport link code\n${digits}`).digest();
}
