import t from "tap";
import { Attempts } from "../../src/keeper/attempts.ts";

const HOUR = 3_600_000;
const START = 1_800_000_000_000;

function failing(times: number, caller = "uid:1", at = START): Attempts {
  const attempts = new Attempts();
  for (let i = 0; i < times; i++) attempts.failed(caller, at);
  return attempts;
}

t.test("three tries are free, then each failure doubles the wait, up to a minute", async (t) => {
  const waits = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 30].map((n) => failing(n).wait("uid:1", START));
  t.same(waits.slice(0, 3), [0, 0, 0]);
  t.same(waits.slice(3, 9), [1000, 2000, 4000, 8000, 16_000, 32_000]);
  t.same(waits.slice(9), [60_000, 60_000]);
  t.equal(failing(4).wait("uid:1", START + 1500), 500, "it runs from the last failure");
});

t.test("over all callers too, so that many accounts guess no faster than one", async (t) => {
  const attempts = new Attempts();
  for (let i = 0; i < 12; i++) attempts.failed(`uid:${i}`, START);
  t.equal(attempts.wait("uid:99", START), 4000);
  attempts.succeeded("uid:1");
  t.equal(attempts.wait("uid:99", START), 4000, "one person's success forgives nobody else");
  t.equal(attempts.failures, 12);
});

t.test("or by caller alone, where each guesses at what is their own", async (t) => {
  const attempts = new Attempts({ together: false });
  for (let i = 0; i < 30; i++) attempts.failed("uid:1", START);
  t.equal(attempts.wait("uid:1", START), 60_000);
  t.equal(attempts.wait("uid:2", START), 0);
});

t.test("success forgives the caller, an hour forgets", async (t) => {
  const attempts = failing(5);
  t.ok(attempts.wait("uid:1", START) > 0);
  attempts.succeeded("uid:1");
  t.equal(attempts.wait("uid:1", START), 0);
  const later = failing(5);
  later.failed("uid:1", START + HOUR + 1);
  t.equal(later.wait("uid:1", START + HOUR + 1), 0);
});

t.test("a clock that was ahead locks nobody out", async (t) => {
  const attempts = failing(5, "uid:1", START + 30 * 24 * HOUR);
  t.equal(attempts.wait("uid:1", START), 4000, "no wait is longer than it would be by the right clock");
  attempts.failed("uid:1", START);
  t.ok(attempts.wait("uid:1", START) <= 4000);
});
