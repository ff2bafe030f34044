import qrcode from "qrcode-generator";

/** Light modules around it [ISO/IEC 18004 asks for 4; cameras read it from 2]. */
const QUIET = [4, 2] as const;
/** Upper half, lower half: dark where 1. */
const HALVES = [" ", "▄", "▀", "█"] as const;
/** Black on white by number, so that it is the same on a light and on a dark background, whatever the terminal's theme. */
const BLACK_ON_WHITE = "\x1b[38;5;16;48;5;231m";
const RESET = "\x1b[0m";

/** The QR code of an ASCII text in half blocks, two modules a character; null where it is wider or higher than the terminal. */
export function qrLines(text: string, room: { columns: number; rows: number }): string[] | null {
  const code = qrcode(0, "L");
  code.addData(text, "Byte");
  code.make();
  const size = code.getModuleCount();
  const quiet = QUIET.find((q) => size + 2 * q <= room.columns && Math.ceil(size / 2) + q <= room.rows);
  if (quiet === undefined) return null;
  const isDark = (row: number, column: number) =>
    row >= 0 && row < size && column >= 0 && column < size && code.isDark(row, column);
  const lines: string[] = [];
  for (let row = -quiet; row < size + quiet; row += 2) {
    let line = "";
    for (let column = -quiet; column < size + quiet; column++)
      line += HALVES[(isDark(row, column) ? 2 : 0) + (isDark(row + 1, column) ? 1 : 0)];
    lines.push(`${BLACK_ON_WHITE}${line}${RESET}`);
  }
  return lines;
}
