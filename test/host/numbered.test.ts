import { closeSync, fstatSync, openSync } from "node:fs";
import t from "tap";
import { numberedFrom } from "../../src/host/numbered.ts";

t.test("the number is as high as asked, and the lower ones are closed again", async (t) => {
  const made: number[] = [];
  const make = () => {
    const fd = openSync("/dev/null", "r");
    made.push(fd);
    return fd;
  };
  const first = make();
  closeSync(first);
  const fd = numberedFrom(first + 5, make);
  t.ok(fd >= first + 5, `${fd}`);
  t.ok(made.length > 2, "lower ones were free");
  for (const low of made.filter((one) => one !== fd)) t.throws(() => fstatSync(low), { code: "EBADF" });
  t.ok(fstatSync(fd).isCharacterDevice());
  t.equal(
    numberedFrom(0, () => fd),
    fd,
  );
  closeSync(fd);
});

t.test("what fails to be made leaves nothing open", async (t) => {
  const made: number[] = [];
  const make = () => {
    if (made.length === 2) throw new Error("no more");
    made.push(openSync("/dev/null", "r"));
    return made.at(-1)!;
  };
  t.throws(() => numberedFrom(1 << 16, make), /no more/);
  for (const low of made) t.throws(() => fstatSync(low), { code: "EBADF" });
});
