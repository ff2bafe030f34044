import { createRequire } from "node:module";

type Decode = (pixels: Uint8ClampedArray, width: number, height: number) => { data: string } | null;
const loaded = createRequire(import.meta.url)("jsqr") as Decode | { default: Decode };
const jsQR = typeof loaded === "function" ? loaded : loaded.default;

/** Pixels a module: as from a photograph, not a matrix. */
const SCALE = 4;
/** A light frame: a terminal's screen drops the blanks at the end of lines. */
const FRAME = 8;

/** What a camera before the screen reads: half blocks, dark where the character is; by a decoder that is not ours. */
export function decodeQr(lines: readonly string[]): string | null {
  const columns = Math.max(...lines.map((line) => [...line].length));
  const width = (columns + 2 * FRAME) * SCALE;
  const height = (2 * lines.length + 2 * FRAME) * SCALE;
  const pixels = new Uint8ClampedArray(width * height * 4).fill(255);
  const darken = (column: number, row: number) => {
    for (let y = 0; y < SCALE; y++)
      for (let x = 0; x < SCALE; x++) {
        const at = (((row + FRAME) * SCALE + y) * width + (column + FRAME) * SCALE + x) * 4;
        pixels.fill(0, at, at + 3);
      }
  };
  for (const [row, line] of lines.entries())
    for (const [column, char] of [...line].entries()) {
      if (char === "█" || char === "▀") darken(column, 2 * row);
      if (char === "█" || char === "▄") darken(column, 2 * row + 1);
    }
  return jsQR(pixels, width, height)?.data ?? null;
}
