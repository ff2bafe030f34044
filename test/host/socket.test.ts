import t from "tap";
import { harden } from "../../src/host/harden.ts";
import { openSocket } from "../../src/host/socket.ts";
import { until } from "../e2e/appliance.ts";

t.test("what was read is overwritten once its listeners have had it; nothing is read before", async (t) => {
  const [one, other] = harden().socketpair();
  const from = openSocket(one);
  const to = openSocket(other);
  t.teardown(() => {
    from.destroy();
    to.destroy();
  });
  from.write("before anybody listens");
  await new Promise((resolve) => setImmediate(resolve));
  const kept: Buffer[] = [];
  let text = "";
  to.on("data", (bytes: Buffer) => {
    text += bytes.toString();
    kept.push(bytes);
  });
  await until(() => text !== "", 15_000);
  t.equal(text, "before anybody listens");
  t.ok(kept.every((bytes) => bytes.every((byte) => byte === 0)));
  from.write(Buffer.alloc(300_000, 0x61));
  await until(() => text.length === 300_022, 15_000);
  t.ok(kept.every((bytes) => bytes.every((byte) => byte === 0)));
  const ended = new Promise((resolve) => to.once("end", () => resolve(true)));
  from.end("last words");
  t.equal(await ended, true);
  t.ok(text.endsWith("last words"));
});
