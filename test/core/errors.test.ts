import t from "tap";
import { ERRORS, SallyportError } from "../../src/core/errors.ts";

t.test("text and detail read as sentences, one after the other", async (t) => {
  for (const [code, { text }] of Object.entries(ERRORS)) t.match(text, /\.$/, code);
  t.equal(
    new SallyportError("not_running", "No keeper answers at /run/admin.sock.").message,
    "The keeper is not running. Start it with: sallyport serve. No keeper answers at /run/admin.sock.",
  );
  t.equal(new SallyportError("sealed").message, "The appliance is sealed. Unlock it with: sallyport unlock.");
});
