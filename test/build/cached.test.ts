import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { BUILD, cached, ROOT } from "../../scripts/lib/run.ts";

t.test("made again when an input, a version or the code that makes it changed, and only then", async (t) => {
  const name = `cached-test-${process.pid}`;
  const dir = join(BUILD, name);
  mkdirSync(dir);
  t.teardown(() => {
    rmSync(dir, { recursive: true });
    rmSync(join(BUILD, "stamps", name), { force: true });
  });
  const at = (file: string) => join(dir, file).slice(ROOT.length + 1);
  const code = join(dir, "code.ts");
  const output = join(dir, "output");
  writeFileSync(code, "flags 1");
  writeFileSync(join(dir, "input"), "1");
  let also = "gcc 1";
  const make = async () => writeFileSync(output, "");
  const isMade = () =>
    cached(name, { code, inputs: [at("input")], also: [also], outputs: [at("output")], make });
  const log = console.log;
  console.log = () => {};
  t.teardown(() => (console.log = log));
  const again = async (why: string) => {
    t.equal(await isMade(), true, why);
    t.ok(existsSync(output));
    t.equal(await isMade(), false, `${why}, once`);
  };
  await again("never yet");
  writeFileSync(join(dir, "input"), "2");
  await again("its input");
  also = "gcc 2";
  await again("a version");
  writeFileSync(code, "flags 2");
  await again("the code with its flags");
  rmSync(output);
  await again("the output is gone");
});
