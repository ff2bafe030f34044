import t from "tap";
import { Refusals } from "../../src/keeper/refusals.ts";

t.test("one entry a minute and account, with the count of what it stands for", async (t) => {
  const refusals = new Refusals();
  t.equal(refusals.count(7, "denied", 0), 1);
  for (let i = 0; i < 100; i++) t.equal(refusals.count(7, "denied", 1000), 0);
  t.equal(refusals.count(8, "denied", 1000), 1, "another account has its own");
  t.equal(refusals.count(7, "denied", 61_000), 101);
  t.equal(refusals.count(7, "user_disabled", 61_000), 1, "and another reason");
});
