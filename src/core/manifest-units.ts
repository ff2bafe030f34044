import { z } from "zod";

const SECOND = 1000;
const KIB = 1024;
const TIME_UNITS: Readonly<Record<string, number>> = { s: SECOND, m: 60 * SECOND, h: 3600 * SECOND };
const SIZE_UNITS: Readonly<Record<string, number>> = { KiB: KIB, MiB: KIB ** 2, GiB: KIB ** 3 };

/** A text like "60s" as a number, within bounds; `error` says what would be right. */
function quantity(units: Readonly<Record<string, number>>, min: string, max: string, example: string) {
  const form = new RegExp(`^([1-9][0-9]{0,8})(${Object.keys(units).join("|")})$`);
  const read = (text: string): number => {
    const [, digits = "", unit = ""] = form.exec(text) ?? [];
    return Number(digits) * (units[unit] ?? Number.NaN);
  };
  const [low, high] = [read(min), read(max)];
  const error = `must be ${min} to ${max}, written like ${example}`;
  return z
    .string({ error })
    .transform(read)
    .refine((value) => value >= low && value <= high, { error });
}

function count(low: number, high: number) {
  const error = `must be a whole number, ${low} to ${high}`;
  return z.int({ error }).min(low, { error }).max(high, { error });
}

const CPU_ERROR = "must be a number of processors, 0.05 to 64";

export interface Limits {
  readonly timeMs: number;
  readonly memoryBytes: number;
  readonly pids: number;
  readonly diskBytes: number;
  readonly outputBytes: number;
  /** Processors; 0.5 is half of one. */
  readonly cpu: number;
}

export const DEFAULT_LIMITS: Limits = {
  timeMs: 60 * SECOND,
  memoryBytes: 256 * KIB ** 2,
  pids: 64,
  diskBytes: 64 * KIB ** 2,
  outputBytes: KIB ** 2,
  cpu: 1,
};

export const MAX_LIMITS: Limits = {
  timeMs: 24 * 3600 * SECOND,
  memoryBytes: 64 * KIB ** 3,
  pids: 4096,
  diskBytes: 16 * KIB ** 3,
  outputBytes: 64 * KIB ** 2,
  cpu: 64,
};

/** `limits:` of op.yaml. */
export const limitsShape = z.strictObject(
  {
    time: quantity(TIME_UNITS, "1s", "24h", "60s, 5m or 1h").optional(),
    memory: quantity(SIZE_UNITS, "4MiB", "64GiB", "256MiB or 1GiB").optional(),
    pids: count(1, MAX_LIMITS.pids).optional(),
    disk: quantity(SIZE_UNITS, "64KiB", "16GiB", "64MiB or 1GiB").optional(),
    output: quantity(SIZE_UNITS, "1KiB", "64MiB", "512KiB or 1MiB").optional(),
    cpu: z
      .number({ error: CPU_ERROR })
      .min(0.05, { error: CPU_ERROR })
      .max(64, { error: CPU_ERROR })
      .optional(),
  },
  { error: "must be keys with values, like {time: 60s, memory: 256MiB}" },
);

/** How long a run waits to be confirmed and approved, in ms. */
export const APPROVAL_TIME_MS = 3600 * SECOND;
export const approvalTime = quantity(TIME_UNITS, "60s", "168h", "30m or 8h");

export function makeLimits(shape: z.infer<typeof limitsShape> | undefined): Limits {
  return {
    timeMs: shape?.time ?? DEFAULT_LIMITS.timeMs,
    memoryBytes: shape?.memory ?? DEFAULT_LIMITS.memoryBytes,
    pids: shape?.pids ?? DEFAULT_LIMITS.pids,
    diskBytes: shape?.disk ?? DEFAULT_LIMITS.diskBytes,
    outputBytes: shape?.output ?? DEFAULT_LIMITS.outputBytes,
    cpu: shape?.cpu ?? DEFAULT_LIMITS.cpu,
  };
}

/** The way back to op.yaml's form. */
export function limitsSource(limits: Limits): Record<string, string | number> {
  return {
    time: `${limits.timeMs / SECOND}s`,
    memory: `${limits.memoryBytes / KIB}KiB`,
    pids: limits.pids,
    disk: `${limits.diskBytes / KIB}KiB`,
    output: `${limits.outputBytes / KIB}KiB`,
    cpu: limits.cpu,
  };
}
