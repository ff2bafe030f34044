/** Text in which each byte of a value is written as something else; a byte without an entry stays as it is. */
export type Spelling = readonly (string | undefined)[];

function spelling(of: (byte: number, char: string) => string | undefined): Spelling {
  return Array.from({ length: 256 }, (_, byte) => of(byte, String.fromCharCode(byte)));
}

const hex = (byte: number): string => byte.toString(16).padStart(2, "0");

/** encodeURIComponent, RFC 3986 strict, and encodeURI leave different characters as they are. */
const URL_KEEPS = [/[A-Za-z0-9\-_.~]/, /[A-Za-z0-9\-_.!~*'()]/, /[A-Za-z0-9\-_.!~*'();/?:@&=+$,#]/];

/** As they are, with "+" for a blank, and encoded twice. */
export const PERCENT: readonly Spelling[] = [true, false].flatMap((upper) =>
  URL_KEEPS.flatMap((keep) => {
    const of = (percent: string, blank?: string) =>
      spelling((byte, char) => {
        if (keep.test(char)) return undefined;
        if (char === " " && blank !== undefined) return blank;
        return percent + (upper ? hex(byte).toUpperCase() : hex(byte));
      });
    return [of("%"), of("%", "+"), of("%25")];
  }),
);

/** RFC 2045, 6.7, without `skipped` bytes, "=" among them, as it is looked for in a text without them. */
export function quotedPrintable(skipped: readonly number[]): Spelling {
  return spelling((byte, char) => {
    if (/[^ -<>-~\t\r\n]/.test(char)) return hex(byte).toUpperCase();
    return skipped.includes(byte) ? "" : undefined;
  });
}

const NAMED: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\" };

/** Python's repr, and bash's $'...' and ls with their octal numbers: bytes that can't be printed are spelled. */
export const BYTE_ESCAPES: readonly Spelling[] = ["", "'", '"'].flatMap((quote) =>
  [(byte: number) => `\\x${hex(byte)}`, (byte: number) => `\\${byte.toString(8).padStart(3, "0")}`].map(
    (number) =>
      spelling((byte, char) => {
        if (char === "'" || char === '"') return quote === char ? `\\${char}` : undefined;
        return /[^ -~]|\\/.test(char) ? (NAMED[char] ?? number(byte)) : undefined;
      }),
  ),
);

const json = (more: (byte: number, char: string) => string | undefined): Spelling =>
  spelling(
    (byte, char) =>
      more(byte, char) ??
      (byte < 0x80 && /[^ -!#-[\]-\u007f]/.test(char) ? JSON.stringify(char).slice(1, -1) : undefined),
  );

/** As JavaScript and Go (safe in HTML) write JSON, and with "/" escaped as PHP does. */
export const JSON_ESCAPES: readonly Spelling[] = [
  json(() => undefined),
  json((byte, char) => (/[<>&]/.test(char) ? `\\u00${hex(byte)}` : undefined)),
  json((_, char) => (char === "/" ? "\\/" : undefined)),
];

/** In single quotes, in double quotes and bare for a POSIX shell; a character of several bytes is escaped at its first. */
export const SHELL: readonly Spelling[] = [
  spelling((_, char) => (char === "'" ? "'\\''" : undefined)),
  spelling((_, char) => (char === "'" ? `'"'"'` : undefined)),
  spelling((_, char) => (/[\\"$`]/.test(char) ? `\\${char}` : undefined)),
  spelling((_, char) => (/[^A-Za-z0-9_@%+=:,./\x80-\xbf-]/.test(char) ? `\\${char}` : undefined)),
];

/** As text and as an attribute of XML and HTML; quotes by name, by number, or as they are; line breaks too, or all by number. */
export const XML: readonly Spelling[] = (() => {
  const named: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;" };
  const quoted: Record<string, string>[] = [
    { '"': "&quot;", "'": "&#39;" },
    { '"': "&quot;", "'": "&#x27;" },
    { '"': "&quot;", "'": "&apos;" },
    { '"': "&#34;", "'": "&#39;" },
    { '"': "&quot;" },
  ];
  const of = (names: Record<string, string>) => spelling((_, char) => names[char]);
  return [
    of(named),
    ...quoted.flatMap((quotes) => [of({ ...named, ...quotes }), of({ ...named, ...quotes, "\n": "&#10;" })]),
    spelling((byte, char) => (/[&<>"']/.test(char) ? `&#${byte};` : undefined)),
  ];
})();
