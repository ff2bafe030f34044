import { spawn } from "node:child_process";
import t from "tap";
import { program, until } from "../e2e/appliance.ts";
import { Box, FILE_TIMEOUT, isAlive, marker } from "../faults/support.ts";

t.setTimeout(FILE_TIMEOUT);

const box = new Box();
t.teardown(() => box.stop());

t.test("sallyport run", async (t) => {
  await box.unlocked();
  await box.demo();
  await box.op("nap", 'exec sleep "$INPUT_FOR"', "inputs:\n  for: {type: string, default: '0'}\n");
  await box.op("json", 'echo "json is $INPUT_JSON"', "inputs:\n  json: {type: string, default: none}\n");

  await t.test("Ctrl-C cancels the run, says so, and is exit status 130", async (t) => {
    const mark = marker();
    const [file = "", ...args] = program();
    const child = spawn(file, [...args, "run", "demo/nap", "--for", mark], {
      env: box.env,
      stdio: ["ignore", "ignore", "pipe"],
    });
    let stderr = "";
    child.stderr.on("data", (chunk: Buffer) => {
      stderr += chunk.toString();
    });
    const closed = new Promise<number | null>((resolve) => child.once("close", resolve));
    await until(() => isAlive(mark), 10_000);
    child.kill("SIGINT");
    t.equal(await closed, 130);
    t.equal(stderr, "canceled\n");
    await until(() => !isAlive(mark), 15_000);
    await box.event("run.finished", (e) => e.data?.state === "canceled");
  });

  await t.test("what stands after -- is the Op's", async (t) => {
    t.match(await box.cli(["run", "demo/json", "--", "--json", "mine"]), {
      status: 0,
      stdout: "json is mine\n",
    });
    const said = await box.cli(["run", "demo/json", "--json"]);
    t.match(said.json(), { state: "succeeded", output: "json is none\n" }, "before it, it is ours");
  });
});
