import { getText, SETTINGS, setSetting } from "../store/settings.ts";
import type { Store } from "../store/store.ts";
import type { MessageOf } from "../wire/messages.ts";

/** Every key that ever signed is kept: checkpoints under an older one must verify too. Returns them, the current one first. */
async function rememberNotary(store: Store, opened: MessageOf<"notary.opened">): Promise<string[]> {
  const text = await getText(store.read, SETTINGS.notaryKey);
  const known = text === undefined ? [] : text.split("\n");
  if (known[0] === opened.vkey) return known;
  const keys = [opened.vkey, ...known.filter((key) => key !== opened.vkey)];
  await store.mutate(async (tx) => {
    await setSetting(tx, SETTINGS.notaryKey, keys.join("\n"));
    tx.log({
      type: "notary.key",
      outcome: known.length === 0 ? "success" : "unknown",
      actor: { kind: "system" },
      data: { vkey: opened.vkey, replaced: known[0] ?? null, size: opened.size },
    });
  });
  return keys;
}

/**
 * What is looked at each time the notary tells its state, after an unlock and after its own restart alike: which key signs
 * from here on, and whether what it signed is this log's beginning. `fork` says why not, and is in the log then.
 */
export async function checkNotary(
  store: Store,
  opened: MessageOf<"notary.opened">,
): Promise<{ vkeys: string[]; fork: string | null }> {
  const vkeys = await rememberNotary(store, opened);
  const fork = await forked(store, opened);
  if (fork !== null) {
    await store.mutate((tx) => {
      tx.log({
        type: "notary.fork",
        outcome: "failure",
        actor: { kind: "system" },
        reason: fork,
        data: { size: store.log.size(), signedSize: opened.size, signedRoot: opened.root },
      });
    });
  }
  return { vkeys, fork };
}

/** Why the notary's last signed state is not a prefix of this log, or null when it is. */
async function forked(store: Store, opened: MessageOf<"notary.opened">): Promise<string | null> {
  if (opened.size === 0) return null;
  if (opened.size > store.log.size()) {
    return `it signed ${opened.size} entries, and only ${store.log.size()} are here. An older database was put back.`;
  }
  const root = await store.log.rootAt(opened.size);
  return root.toString("base64") === opened.root
    ? null
    : `its root over the first ${opened.size} entries is another one.`;
}
