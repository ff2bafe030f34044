/** The wire's Document, field by field: this room may not import the wire, the compiler compares the two in the role. */
export type Button = { id: string; label: string; value: string; style?: "primary" | "danger" | undefined };

export type DocumentBlock =
  | { kind: "text"; text: string }
  | { kind: "note"; text: string }
  | { kind: "code"; text: string }
  | { kind: "fields"; rows: [string, string][] }
  | { kind: "list"; items: { title: string; detail: string }[] }
  | { kind: "output"; part: number; truncated: boolean }
  | { kind: "buttons"; buttons: Button[] };

export type View = {
  id: string;
  value: string;
  title: string;
  submit: string;
  blocks: Extract<DocumentBlock, { kind: "text" | "note" | "fields" }>[];
  inputs: { id: string; kind: "text"; label: string; hint: string; maxLength: number }[];
};

export type Document = { summary: string; blocks: DocumentBlock[] };
