/**
 * What the first bytes of a connection say. Each reader is a pure function of all bytes so far and settles on one answer:
 * once it is "ok" or "refused", more bytes don't change it, so that how they were cut says nothing.
 */
export type Verdict<T = unknown> =
  | { readonly state: "more" }
  | { readonly state: "refused"; readonly reason: string }
  | ({ readonly state: "ok" } & T);

export const MORE = { state: "more" } as const;
export const refused = (reason: string) => ({ state: "refused", reason }) as const;
