/** A small generator with a seed (mulberry32), so that a failing input can be made again. */
export function generator(seed: number): { next(below: number): number; pick<T>(list: readonly T[]): T } {
  let state = seed >>> 0;
  const next = (below: number): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = Math.imul(state ^ (state >>> 15), state | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) % below;
  };
  return { next, pick: (list) => list[next(list.length)]! };
}
