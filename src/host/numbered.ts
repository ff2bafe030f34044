import { harden } from "./harden.ts";

/** Makes descriptors until one has at least this number, and closes the lower ones. */
export function numberedFrom(lowest: number, make: () => number): number {
  const low: number[] = [];
  try {
    for (;;) {
      const fd = make();
      if (fd >= lowest) return fd;
      low.push(fd);
    }
  } finally {
    for (const fd of low) harden().closeFd(fd);
  }
}
