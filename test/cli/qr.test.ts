import { randomBytes } from "node:crypto";
import t from "tap";
import { qrLines } from "../../src/cli/qr.ts";
import { enrolmentText } from "../../src/core/totp.ts";
import { decodeQr } from "./qr-decode.ts";

const LINE = /^\x1b\[38;5;16;48;5;231m([ ▀▄█]+)\x1b\[0m$/;
const uri = enrolmentText(Buffer.alloc(20, 1), { issuer: "sallyport", label: "erin@web01" }).uri;

const plain = (lines: readonly string[] | null): string[] =>
  (lines ?? []).map((line) => LINE.exec(line)?.[1] ?? `not black on white: ${JSON.stringify(line)}`);

t.test("another's decoder reads what was encoded", async (t) => {
  for (const name of ["a", "erin", "x".repeat(64)]) {
    const made = enrolmentText(randomBytes(20), { issuer: "sallyport", label: `${name}@web01` });
    const lines = plain(qrLines(made.uri, { columns: 200, rows: 100 }));
    t.equal(decodeQr(lines), made.uri, name);
  }
});

t.test("as wide as the terminal allows, and not at all in one too small", async (t) => {
  const full = plain(qrLines(uri, { columns: 200, rows: 100 }));
  const width = full[0]?.length ?? 0;
  t.ok(
    full.every((line) => line.length === width),
    "one width",
  );
  t.equal(width, full.length * 2 - (width % 2 === 0 ? 0 : 1), "square, two modules a line");
  const narrow = plain(qrLines(uri, { columns: width - 1, rows: 100 }));
  t.equal(narrow[0]?.length, width - 4, "with half of the quiet zone");
  t.equal(decodeQr(narrow), uri);
  t.equal(qrLines(uri, { columns: width - 5, rows: 100 }), null);
  t.equal(qrLines(uri, { columns: 200, rows: 10 }), null);
  t.ok(plain(qrLines(uri, { columns: 80, rows: 23 })).length <= 23, "an ordinary terminal shows it whole");
});

t.test("the decoder of this test sees a fault", async (t) => {
  const lines = plain(qrLines(uri, { columns: 200, rows: 100 }));
  const middle = lines.map((line, i) => (i > 5 && i < lines.length - 9 ? line.replaceAll("█", " ") : line));
  t.not(decodeQr(middle), uri);
});
