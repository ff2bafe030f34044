import { join } from "node:path";
import t from "tap";
import { resolveDirs } from "../../src/host/dirs.ts";
import { Box } from "../faults/support.ts";

t.test("a run directory whose socket's path the kernel would not take", async (t) => {
  const box = new Box();
  t.teardown(() => box.stop());
  await box.init();
  // `egress.sock` and the separator take 12 of the 107 bytes; é is two.
  const bytes = (length: number) => {
    const left = length - Buffer.byteLength(box.dir) - 1;
    return join(box.dir, "é".repeat(Math.floor(left / 2)) + "x".repeat(left % 2));
  };
  t.equal(Buffer.byteLength(bytes(95)), 95);
  for (const args of [["serve"], ["status"]]) {
    const said = await box.cli([...args, "--run-dir", bytes(96)]);
    t.match(said, {
      status: 2,
      stderr: /The run directory's name is too long: .*egress\.sock has 108 bytes, .* at most 107.*--run-dir/,
    });
    t.notMatch(said.stderr, /EINVAL|^\s+at /m);
    t.equal(said.stderr.trim().split("\n").length, 1, "one error");
  }
  t.equal(resolveDirs({ run: bytes(95) }).run, bytes(95));
  t.match(
    await box.cli(["status", "--run-dir", bytes(95)]),
    { status: 5 },
    "a byte less is only not running",
  );
});
