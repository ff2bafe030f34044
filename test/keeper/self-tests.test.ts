import t from "tap";
import { SelfTests } from "../../src/keeper/self-tests.ts";
import type { MessageOf } from "../../src/wire/messages.ts";
import { GOOD_HOST } from "./host-facts.ts";

type Ready = MessageOf<"runner.ready">;
const ready = (): Ready => ({
  type: "runner.ready",
  ok: true,
  checks: [],
  cgroup: "v2",
  degraded: [],
  facts: GOOD_HOST,
});

class FakePeers {
  asked = 0;
  connected = true;
  selfTest: Ready | undefined;
  #next = Promise.withResolvers<Ready | undefined>();

  send(): boolean {
    if (this.connected) this.asked++;
    return this.connected;
  }

  nextSelfTest(): Promise<Ready | undefined> {
    return this.#next.promise;
  }

  says(result: Ready | undefined): void {
    this.selfTest = result;
    this.#next.resolve(result);
    this.#next = Promise.withResolvers();
  }
}

t.test("one test at a time, whoever asks", async (t) => {
  const peers = new FakePeers();
  const tests = new SelfTests(peers);
  const both = [tests.again(), tests.again()];
  t.equal(peers.asked, 1);
  const answer = ready();
  peers.says(answer);
  t.strictSame(await Promise.all(both), [answer, answer]);
  t.equal(await tests.again(), answer, "a fresh answer serves again");
  t.equal(peers.asked, 1);
  peers.says(ready());
  const later = tests.again();
  t.equal(peers.asked, 2, "but not once another runner, or another test, has said something");
  peers.says(answer);
  t.equal(await later, answer);
});

t.test("no runner, one that goes, one that says nothing", async (t) => {
  const peers = new FakePeers();
  peers.connected = false;
  const tests = new SelfTests(peers, 20);
  t.equal(await tests.again(), undefined);
  peers.connected = true;
  const gone = tests.again();
  peers.says(undefined);
  t.equal(await gone, undefined);
  t.equal(await tests.again(), undefined, "in time");
  const answer = ready();
  const asked = tests.again();
  peers.says(answer);
  t.equal(await asked, answer, "and it is asked again");
});
