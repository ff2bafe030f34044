import { z } from "zod";
import { cleanText } from "./text.ts";

/** What a person may give to an Op, typed by its op.yaml. */
export type Value = string | number | boolean;

interface InputBase {
  readonly name: string;
  readonly required: boolean;
  readonly description?: string;
}
export interface StringInput extends InputBase {
  readonly type: "string";
  readonly enum?: readonly string[];
  /** Code points. */
  readonly minLength: number;
  readonly maxLength: number;
  readonly default?: string;
}
export interface NumberInput extends InputBase {
  readonly type: "integer" | "number";
  readonly minimum?: number;
  readonly maximum?: number;
  readonly default?: number;
}
export interface BooleanInput extends InputBase {
  readonly type: "boolean";
  readonly default?: boolean;
}
export type Input = StringInput | NumberInput | BooleanInput;

export const INPUT_LIMITS = {
  inputs: 32,
  enum: 100,
  enumText: 75,
  text: 4096,
  defaultText: 1024,
  number: 1e11,
} as const;

// Tabs and line feeds are text; the rest of the control characters can only serve to deceive or to cut a value.
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f]/;

/** What an op.yaml says to people: one line that shows all of itself, so that a reviewer and a terminal read the same. */
export function isPrintable(text: string): boolean {
  return cleanText(text) === text;
}

/** The one check of a value against its input. Returns what would be right, null when the value is. */
export function valueFault(input: Input, value: unknown): string | null {
  switch (input.type) {
    case "boolean":
      return typeof value === "boolean" ? null : "must be true or false";
    case "integer":
      if (typeof value !== "number" || !Number.isSafeInteger(value)) return "must be a whole number";
      return rangeFault(input, value);
    case "number":
      if (!isDecimal(value)) return "must be a number with at most 4 decimals";
      return rangeFault(input, value);
    case "string":
      return textFault(input, value);
  }
}

function rangeFault({ minimum, maximum }: NumberInput, value: number): string | null {
  if (minimum !== undefined && value < minimum) return `must be at least ${minimum}`;
  if (maximum !== undefined && value > maximum) return `must be at most ${maximum}`;
  return null;
}

/** Policies compare decimals of 4 places (Cedar's `decimal`); what they can't see exactly is not let in. */
export function isDecimal(value: unknown): value is number {
  return (
    typeof value === "number" &&
    Math.abs(value) <= INPUT_LIMITS.number &&
    Math.round(value * 10_000) / 10_000 === value
  );
}

function textFault(input: StringInput, value: unknown): string | null {
  if (typeof value !== "string") return "must be text";
  if (!value.isWellFormed() || CONTROL.test(value)) return "must be text without control characters";
  if (input.enum !== undefined) {
    return input.enum.includes(value)
      ? null
      : `must be one of ${input.enum.map((v) => JSON.stringify(v)).join(", ")}`;
  }
  const length = value.length > input.maxLength * 2 ? Number.POSITIVE_INFINITY : [...value].length;
  if (length < input.minLength) {
    return input.minLength === 1 ? "must not be empty" : `must have at least ${input.minLength} characters`;
  }
  return length > input.maxLength ? `must have at most ${input.maxLength} characters` : null;
}

const flag = z.boolean({ error: "must be true or false" });
const description = z
  .string({ error: "must be text" })
  .min(1, { error: "must not be empty" })
  .max(150, { error: "must have at most 150 characters" })
  .refine(isPrintable, { error: "must be one line without control or invisible characters" });
const length = z
  .int({ error: "must be a whole number" })
  .min(0, { error: "must be 0 or more" })
  .max(INPUT_LIMITS.text, {
    error: `must be at most ${INPUT_LIMITS.text}`,
  });
const whole = z.int({ error: "must be a whole number" });
const decimal = z.custom<number>(isDecimal, { error: "must be a number with at most 4 decimals" });
const base = { required: flag.optional(), description: description.optional() };
const choice = z
  .string({ error: "must be text; put it in quotes" })
  .min(1, { error: "must not be empty" })
  .max(INPUT_LIMITS.enumText, { error: `must have at most ${INPUT_LIMITS.enumText} characters` })
  .refine(isPrintable, { error: "must be one line without control or invisible characters" });
const range = { minimum: whole.optional(), maximum: whole.optional(), default: whole.optional() };
const decimalRange = {
  minimum: decimal.optional(),
  maximum: decimal.optional(),
  default: decimal.optional(),
};

/** One entry of `inputs:` in op.yaml. */
export const inputShape = z.discriminatedUnion(
  "type",
  [
    z.strictObject({
      type: z.literal("string"),
      enum: z
        .array(choice, { error: "must be a list of texts" })
        .min(1, { error: "must not be empty" })
        .max(INPUT_LIMITS.enum, { error: `must have at most ${INPUT_LIMITS.enum} texts` })
        .optional(),
      minLength: length.optional(),
      maxLength: length.optional(),
      default: z.string({ error: "must be text; put it in quotes" }).optional(),
      ...base,
    }),
    z.strictObject({ type: z.literal("integer"), ...range, ...base }),
    z.strictObject({ type: z.literal("number"), ...decimalRange, ...base }),
    z.strictObject({ type: z.literal("boolean"), default: flag.optional(), ...base }),
  ],
  { error: "needs type: string, integer, number or boolean" },
);

/** The rules between an input's keys. Returns the key and what would be right, or the input. */
export function makeInput(
  name: string,
  shape: z.infer<typeof inputShape>,
): { input: Input } | { key: string; fault: string } {
  const { required, description: text, ...rest } = shape;
  const common = { name, required: required ?? false, ...(text === undefined ? {} : { description: text }) };
  let input: Input;
  if (rest.type === "string") {
    const { minLength = 0, maxLength = INPUT_LIMITS.defaultText, enum: choices, ...more } = rest;
    if (choices !== undefined && (rest.minLength !== undefined || rest.maxLength !== undefined)) {
      return { key: "enum", fault: "already says which texts are right; leave out minLength and maxLength" };
    }
    if (minLength > maxLength) return { key: "minLength", fault: `must be at most maxLength (${maxLength})` };
    if (choices !== undefined && new Set(choices).size !== choices.length) {
      return { key: "enum", fault: "must not name a text twice" };
    }
    input = {
      ...common,
      ...more,
      minLength,
      maxLength,
      ...(choices === undefined ? {} : { enum: choices }),
    } as Input;
  } else {
    input = { ...common, ...rest } as Input;
    if (input.type !== "boolean" && input.type !== "string") {
      const { minimum, maximum } = input;
      if (minimum !== undefined && maximum !== undefined && minimum > maximum) {
        return { key: "minimum", fault: `must be at most maximum (${maximum})` };
      }
    }
  }
  if (input.default !== undefined) {
    if (input.required) return { key: "default", fault: "has no use when required is true; leave one out" };
    const fault = valueFault(input, input.default);
    if (fault !== null) return { key: "default", fault };
  }
  return { input };
}
