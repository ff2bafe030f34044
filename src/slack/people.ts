import { standingOf } from "./identity.ts";
import type { Home, Identity, Standing } from "./types.ts";
import type { Web } from "./web.ts";

const MAX_PEOPLE = 5000;

/** What users.info says of people. An answer counts for `maxAgeMs`; "unknown" is never kept. */
export class People {
  readonly #web: Web;
  readonly #home: Home;
  readonly #known = new Map<string, { standing: Standing; at: number }>();
  readonly #asked = new Map<string, Promise<Standing>>();
  /** Until when Slack wants not to be asked; ms since the epoch. */
  #pause = 0;

  constructor(web: Web, home: Home) {
    this.#web = web;
    this.#home = home;
  }

  recent(who: Identity, maxAgeMs: number): Standing | null {
    const known = this.#known.get(keyOf(who));
    return known !== undefined && Date.now() - known.at <= maxAgeMs ? known.standing : null;
  }

  look(who: Identity): Promise<Standing> {
    const key = keyOf(who);
    let asked = this.#asked.get(key);
    if (asked === undefined) {
      asked = this.#ask(who, key).finally(() => this.#asked.delete(key));
      this.#asked.set(key, asked);
    }
    return asked;
  }

  async #ask(who: Identity, key: string): Promise<Standing> {
    const at = Date.now();
    if (at < this.#pause) return "unknown";
    const result = await this.#web.call("users.info", { user: who.user });
    if (!result.ok) {
      if (result.failure.kind === "rate") this.#pause = at + result.failure.afterMs;
      return "unknown";
    }
    const standing = standingOf(this.#home, who, result.data.user);
    if (standing === "unknown") return standing;
    this.#known.delete(key);
    this.#known.set(key, { standing, at });
    const oldest = this.#known.keys().next();
    if (this.#known.size > MAX_PEOPLE && !oldest.done) this.#known.delete(oldest.value);
    return standing;
  }
}

/** Whether somebody is of ours can depend on the workspace that they came from. */
const keyOf = ({ team, user }: Identity): string => `${team}/${user}`;
