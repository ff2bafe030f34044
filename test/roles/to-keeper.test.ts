import { spawnSync } from "node:child_process";
import t from "tap";
import { encodeFrame } from "../../src/wire/frame.ts";

const MODULE = new URL("../../src/roles/to-keeper.ts", import.meta.url).href;
const CONNECT = JSON.stringify({ type: "gateway.disconnect" });

/** A process that gets these bytes from its "keeper" and ends with what onEnd says. */
function role(input: Buffer, handler: string) {
  const script = `
    import { Duplex } from "node:stream";
    const { connectToKeeper } = await import(${JSON.stringify(MODULE)});
    const stream = Duplex.from({ readable: process.stdin, writable: process.stderr });
    connectToKeeper({ stream, self: "gateway", onMessage: ${handler}, onEnd: (status) => process.exit(status) });
  `;
  return spawnSync(process.execPath, ["--input-type=module", "-e", script], { input, encoding: "utf8" });
}

const frame = Buffer.concat(encodeFrame(JSON.parse(CONNECT), []));

t.test("an error in a handler is said, and is the end with status 1", async (t) => {
  const ended = role(frame, `() => { throw new Error("a handler's own mistake"); }`);
  t.equal(ended.status, 1);
  t.match(ended.stderr, /gateway: the keeper's connection was ended: Error: a handler's own mistake\n\s+at /);
});

t.test("so is a message that the keeper may not send", async (t) => {
  const ended = role(Buffer.from([0xff, 0xff, 0xff, 0xff, 1]), "() => {}");
  t.match(ended, {
    status: 1,
    stderr: /^gateway: the keeper's connection was ended: it sent what it may not/,
  });
});

t.test("the keeper's own end is no error", async (t) => {
  t.match(role(frame, "() => {}"), { status: 0, stderr: "" });
});
