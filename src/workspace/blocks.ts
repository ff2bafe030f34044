import type { Block } from "./types.ts";

/** What Slack says of blocks it does not take: the error and its `response_metadata.messages`. */
export interface BlockProblem {
  error: "invalid_blocks" | "invalid_blocks_format" | "msg_blocks_too_long";
  messages: string[];
}

const TOTAL = 13_200;

type Obj = Record<string, unknown>;
type Check = (o: Obj, at: string, report: Report) => void;
type Report = (what: string, at: string) => void;

function isObj(value: unknown): value is Obj {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function text(o: unknown, at: string, report: Report, max: number, plainOnly = false): void {
  if (!isObj(o)) {
    report("must be an object", at);
    return;
  }
  if (o.type !== "plain_text" && (plainOnly || o.type !== "mrkdwn")) {
    report(plainOnly ? "must be of type plain_text" : "unsupported text type", `${at}/type`);
    return;
  }
  string(o.text, `${at}/text`, report, max, 1);
}

function string(value: unknown, at: string, report: Report, max: number, min = 0): void {
  if (typeof value !== "string") {
    report("must be a string", at);
    return;
  }
  if (value.length > max) {
    report(`must be less than ${max + 1} characters`, at);
    return;
  }
  if (value.length < min) {
    report(`must be more than ${min - 1} characters`, at);
    return;
  }
}

function list(value: unknown, at: string, report: Report, max: number, each: Check, min = 1): void {
  if (!Array.isArray(value)) {
    report("must be an array", at);
    return;
  }
  if (value.length > max) {
    report(`no more than ${max} items allowed`, at);
    return;
  }
  if (value.length < min) {
    report(`must have at least ${min} items`, at);
    return;
  }
  value.forEach((item: unknown, i) => {
    if (isObj(item)) each(item, `${at}/${i}`, report);
    else report("must be an object", `${at}/${i}`);
  });
}

const option: Check = (o, at, report) => {
  text(o.text, `${at}/text`, report, 75);
  string(o.value, `${at}/value`, report, 150);
};

const confirm: Check = (o, at, report) => {
  text(o.title, `${at}/title`, report, 100, true);
  text(o.text, `${at}/text`, report, 300);
  for (const key of ["confirm", "deny"]) {
    if (o[key] !== undefined) text(o[key], `${at}/${key}`, report, 30, true);
  }
};

const SELECTS = ["users_select", "conversations_select", "channels_select"];
const PICKERS = ["datepicker", "timepicker", "datetimepicker"];
const INPUTS = ["plain_text_input", "email_text_input", "url_text_input", "number_input"];
const CHOICES = ["static_select", "multi_static_select", "radio_buttons", "checkboxes", "overflow"];

const element: Check = (o, at, report) => {
  const type = String(o.type);
  if (o.action_id !== undefined) string(o.action_id, `${at}/action_id`, report, 255);
  if (o.confirm !== undefined && isObj(o.confirm)) confirm(o.confirm, `${at}/confirm`, report);
  if (o.placeholder !== undefined) text(o.placeholder, `${at}/placeholder`, report, 150, true);
  if (type === "button") {
    text(o.text, `${at}/text`, report, 75, true);
    if (o.value !== undefined) string(o.value, `${at}/value`, report, 2000);
    if (o.url !== undefined) string(o.url, `${at}/url`, report, 3000);
    if (o.style !== undefined && o.style !== "primary" && o.style !== "danger") {
      report("must be one of: primary, danger", `${at}/style`);
    }
  } else if (CHOICES.includes(type)) {
    const most = type === "overflow" ? 5 : type === "radio_buttons" || type === "checkboxes" ? 10 : 100;
    if (o.option_groups === undefined) list(o.options, `${at}/options`, report, most, option);
  } else if (INPUTS.includes(type)) {
    if (o.initial_value !== undefined) string(o.initial_value, `${at}/initial_value`, report, 3000);
  } else if (type === "image") {
    string(o.alt_text, `${at}/alt_text`, report, 2000, 1);
  } else if (!SELECTS.includes(type) && !PICKERS.includes(type)) {
    report(`unsupported type: ${type}`, `${at}/type`);
  }
};

const RICH_LEAVES = ["text", "link", "user", "usergroup", "channel", "emoji", "broadcast", "date", "color"];

const richLeaf: Check = (o, at, report) => {
  if (!RICH_LEAVES.includes(String(o.type))) {
    report(`unsupported type: ${o.type}`, `${at}/type`);
    return;
  }
  if (o.type === "text") string(o.text, `${at}/text`, report, 40_000, 1);
  if (o.type === "link") string(o.url, `${at}/url`, report, 3000, 1);
};

const richPart: Check = (o, at, report) => {
  if (o.type === "rich_text_list") {
    if (o.style !== "bullet" && o.style !== "ordered")
      report("must be one of: bullet, ordered", `${at}/style`);
    list(o.elements, `${at}/elements`, report, 1000, richPart, 0);
  } else if (["rich_text_section", "rich_text_preformatted", "rich_text_quote"].includes(String(o.type))) {
    list(o.elements, `${at}/elements`, report, 1000, richLeaf, 0);
  } else {
    report(`unsupported type: ${o.type}`, `${at}/type`);
  }
};

const CHECKS: Record<string, Check> = {
  section: (o, at, report) => {
    if (o.text === undefined && o.fields === undefined) report("missing required field: text", at);
    if (o.text !== undefined) text(o.text, `${at}/text`, report, 3000);
    if (o.fields !== undefined) {
      list(o.fields, `${at}/fields`, report, 10, (field, where) => text(field, where, report, 2000));
    }
    if (isObj(o.accessory)) element(o.accessory, `${at}/accessory`, report);
  },
  divider: () => {},
  header: (o, at, report) => text(o.text, `${at}/text`, report, 150, true),
  context: (o, at, report) =>
    list(o.elements, `${at}/elements`, report, 10, (item, where) => {
      if (item.type === "image") element(item, where, report);
      else text(item, where, report, 3000);
    }),
  actions: (o, at, report) => {
    list(o.elements, `${at}/elements`, report, 25, element);
    const ids = Array.isArray(o.elements) ? o.elements.map((e: Obj) => e?.action_id).filter(Boolean) : [];
    if (new Set(ids).size < ids.length) report("action_id already exists", `${at}/elements`);
  },
  input: (o, at, report) => {
    text(o.label, `${at}/label`, report, 2000, true);
    if (o.hint !== undefined) text(o.hint, `${at}/hint`, report, 2000, true);
    if (isObj(o.element)) element(o.element, `${at}/element`, report);
    else report("missing required field: element", at);
  },
  image: (o, at, report) => string(o.alt_text, `${at}/alt_text`, report, 2000, 1),
  markdown: (o, at, report) => string(o.text, `${at}/text`, report, 12_000, 1),
  rich_text: (o, at, report) => list(o.elements, `${at}/elements`, report, 1000, richPart, 0),
};

/**
 * Checks what the Block Kit reference states (counts, lengths, types) and the limit that it does not state: a
 * posted message's blocks together, which Slack refuses from about 13,200 characters on (bolt-js #2509).
 */
export function checkBlocks(blocks: unknown, max: number, limitTotal: boolean): BlockProblem | null {
  if (!Array.isArray(blocks)) return { error: "invalid_blocks_format", messages: [] };
  const messages: string[] = [];
  const report: Report = (what, at) => void messages.push(`[ERROR] ${what} [json-pointer:${at}]`);
  if (blocks.length > max) report(`no more than ${max} items allowed`, "/blocks");
  const ids = new Set<string>();
  blocks.slice(0, max).forEach((block: unknown, i) => {
    const at = `/blocks/${i}`;
    if (!isObj(block)) {
      report("must be an object", at);
      return;
    }
    const check = Object.hasOwn(CHECKS, String(block.type)) ? CHECKS[String(block.type)] : undefined;
    if (check === undefined) {
      report(`unsupported type: ${block.type}`, `${at}/type`);
      return;
    }
    if (block.block_id !== undefined) {
      string(block.block_id, `${at}/block_id`, report, 255);
      if (ids.has(String(block.block_id))) report("block_id already exists", `${at}/block_id`);
      ids.add(String(block.block_id));
    }
    check(block, at, report);
  });
  if (messages.length > 0) return { error: "invalid_blocks", messages };
  if (limitTotal && JSON.stringify(blocks).length > TOTAL)
    return { error: "msg_blocks_too_long", messages: [] };
  return null;
}

/** Every interactive element of the blocks with the block it stands in. */
export function elementsOf(blocks: Block[]): { block: Block; element: Obj }[] {
  const found: { block: Block; element: Obj }[] = [];
  for (const block of blocks) {
    const parts = [block.accessory, block.element, ...(Array.isArray(block.elements) ? block.elements : [])];
    for (const part of parts)
      if (isObj(part) && typeof part.action_id === "string") found.push({ block, element: part });
  }
  return found;
}
