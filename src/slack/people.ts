import { standingOf } from "./identity.ts";
import type { Home, Standing } from "./types.ts";
import type { Web } from "./web.ts";

const MAX_PEOPLE = 5000;

/** What users.info says of people. An answer counts for `maxAgeMs`; "unknown" is never kept. */
export class People {
  readonly #web: Web;
  readonly #home: Home;
  readonly #known = new Map<string, { standing: Standing; at: number }>();
  readonly #asked = new Map<string, Promise<Standing>>();

  constructor(web: Web, home: Home) {
    this.#web = web;
    this.#home = home;
  }

  recent(user: string, maxAgeMs: number): Standing | null {
    const known = this.#known.get(user);
    return known !== undefined && Date.now() - known.at <= maxAgeMs ? known.standing : null;
  }

  look(user: string): Promise<Standing> {
    let asked = this.#asked.get(user);
    if (asked === undefined) {
      asked = this.#ask(user).finally(() => this.#asked.delete(user));
      this.#asked.set(user, asked);
    }
    return asked;
  }

  async #ask(user: string): Promise<Standing> {
    const at = Date.now();
    const result = await this.#web.call("users.info", { user });
    if (!result.ok) return "unknown";
    const standing = standingOf(this.#home, user, result.data.user);
    if (standing === "unknown") return standing;
    this.#known.delete(user);
    this.#known.set(user, { standing, at });
    const oldest = this.#known.keys().next();
    if (this.#known.size > MAX_PEOPLE && !oldest.done) this.#known.delete(oldest.value);
    return standing;
  }
}
