import { z } from "zod";
import { isName } from "../core/identity.ts";

/** `resources` of sallyport.yaml: what of the host an Op may be given, by name. */

const path = z
  .string({ error: "must be an absolute path" })
  .max(512, { error: "must have at most 512 characters" })
  .refine((value) => /^(\/[^/\0-\x1f]+)+$/.test(value) && !/\/\.\.?(\/|$)/.test(value), {
    error: "must be an absolute path without '.', '..', doubled or closing slashes",
  });
const owner = z.union(
  [z.int().min(0).max(0xfffffffe), z.string().regex(/^[A-Za-z_][A-Za-z0-9._-]{0,31}\$?$/)],
  {
    error: "must be a login name or a uid",
  },
);

const listed = z.union(
  [
    z.strictObject({ path, mode: z.enum(["ro", "rw"]).default("ro"), owner: owner.optional() }),
    z.strictObject({ socket: path, owner: owner.optional() }),
  ],
  {
    error:
      "must be {path: /a/path, mode: ro or rw} or {socket: /a/path.sock}, each with an owner if you like",
  },
);

export const resourcesShape = z
  .record(
    z.string().refine((name) => isName("resource", name)),
    listed,
    {
      error: ({ code }) =>
        code === "invalid_key"
          ? "is no resource's name (a-z, 0-9, '_', '-')"
          : "must be names with what they stand for, like {app-logs: {path: /var/log/app, mode: ro}}",
    },
  )
  .refine((all) => Object.keys(all).length <= 64, { error: "must have at most 64 entries" })
  .refine((all) => JSON.stringify(all).length <= 16 * 1024, { error: "must have at most 16 KiB of paths" })
  .default({});

export type ListedResources = z.infer<typeof resourcesShape>;
