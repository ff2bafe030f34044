import { z } from "zod";
import type { HostFacts as Facts } from "../core/host-facts.ts";

const text = z.string().max(200);
const maybe = text.nullable();

/** What the runner read of its host (src/core/host-facts.ts says what each is). */
export const HostFacts: z.ZodType<Facts> = z.strictObject({
  kernel: text,
  uid: z.int().min(0).max(0xffffffff),
  vulnerabilities: z
    .record(z.string().regex(/^[a-z0-9_]{1,64}$/), text)
    .refine((all) => Object.keys(all).length <= 64, "too many")
    .nullable(),
  smt: maybe,
  lockdown: maybe,
  yama: maybe,
  userNamespaces: maybe,
  unprivilegedUserns: maybe,
  apparmorUserns: maybe,
  landlock: z.string().max(48),
  auditd: z.enum(["running", "not running", "no audit in the kernel", "unknown"]),
});
