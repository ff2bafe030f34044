import { randomBytes } from "node:crypto";
import { chmodSync, chownSync, existsSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { takeListeners } from "../../src/egress/handover.ts";
import { harden } from "../../src/host/harden.ts";
import { copyOf, listenUnix } from "../../src/host/listen.ts";
import { until } from "../e2e/appliance.ts";
import { FILE_TIMEOUT } from "../faults/support.ts";
import { USERS } from "./support/once.ts";
import { Launcher } from "./support/serve.ts";
import { script } from "./support/spec.ts";

/** What the launcher hands over to egress before an Op begins. */

t.setTimeout(FILE_TIMEOUT);
const PATIENCE = 15_000;
const ASK = (port: number) =>
  `/bin/bash -c 'exec 3<>/dev/tcp/127.0.0.1/${port}; read -r -t 10 line <&3; echo "$line"' 2>&1`;

for (const { name, user } of USERS) {
  t.test(`a run's listeners, as ${name}`, async (t) => {
    const dir = mkdtempSync(join(tmpdir(), "sallyport-egress-"));
    t.teardown(() => rmSync(dir, { recursive: true, force: true }));
    const path = join(dir, "egress.sock");
    const taken: { token: string; line: Socket; closed: boolean }[] = [];
    const servers: Server[] = [];
    const listening = await listenUnix(path);
    t.equal(statSync(path).mode & 0o777, 0o600, "for one account alone");
    t.notOk(existsSync(join(dir, ".new")));
    if (user !== undefined) for (const one of [dir, path]) chownSync(one, user, user);
    chmodSync(dir, 0o700);
    const handover = takeListeners(copyOf(listening), (token, fds, line) => {
      const one = { token, line, closed: false };
      taken.push(one);
      line.once("close", () => {
        one.closed = true;
      });
      line.resume();
      for (const [i, fd] of fds.entries())
        servers.push(createServer((socket) => socket.end(`listener ${i} of ${token}\n`)).listen({ fd }));
    });
    const launcher = new Launcher(user === undefined ? {} : { user });
    t.teardown(() => launcher.end());
    const egress = () => ({ token: randomBytes(16), socket: path });

    const first = egress();
    const r = await launcher.run(
      script(`${ASK(3128)}; ${ASK(1080)}; ls /proc/self/fd | tr '\\n' ' '; ${ASK(22)}`, {
        egress: first,
        seccomp: "network",
      }),
    );
    const token = first.token.toString("hex");
    t.match(
      r.stdout,
      `listener 0 of ${token}\nlistener 1 of ${token}\n`,
      r.stderr + JSON.stringify(r.failed),
    );
    t.match(r.stdout, /\n0 1 2 3 \n?/, "no descriptor of it is the Op's (3 is ls's own)");
    t.match(r.stdout, /Connection refused/, "nothing else listens there");
    await until(() => taken[0]!.closed, PATIENCE);
    t.equal(taken.length, 1);

    const [a, b] = [egress(), egress()];
    const both = await Promise.all(
      [a, b].map((one) => launcher.run(script(ASK(3128), { egress: one, seccomp: "network" }))),
    );
    t.strictSame(
      both.map((run) => run.stdout),
      [a, b].map((one) => `listener 0 of ${one.token.toString("hex")}\n`),
      "each run reaches its own",
    );

    const killed = launcher.start(script("sleep 100", { egress: egress(), seccomp: "network" }));
    await until(() => taken.length === 4, PATIENCE);
    launcher.kill(killed.handle, 9);
    await killed.ended;
    await until(() => taken.every((one) => one.closed), PATIENCE);
    t.pass("a run that is killed hangs up");

    for (const server of [handover, ...servers]) server.close();
    harden().closeFd(listening);
    rmSync(path);
    const without = await launcher.run(script("true", { egress: egress(), seccomp: "network" }));
    t.match(
      without.failed,
      { step: "egress.connect" },
      "no Op starts without the way out that it was promised",
    );
    const long = { token: randomBytes(16), socket: `/${"x".repeat(120)}` };
    t.match((await launcher.run(script("true", { egress: long }))).failed, { step: "egress.connect" });
  });
}

t.test("what is no handover is closed", async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "sallyport-egress-"));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  const path = join(dir, "egress.sock");
  const listening = await listenUnix(path);
  let taken = 0;
  const server = takeListeners(listening, () => taken++);
  t.teardown(() => server.close());
  for (const text of ["x".repeat(16), "short", "x".repeat(1000)]) {
    const ended = new Promise((resolve) => {
      const socket = connect(path, () => socket.write(text));
      socket.on("error", () => undefined).once("close", resolve);
      // The bell.
      socket.once("connect", () =>
        setTimeout(
          () =>
            connect(path)
              .on("error", () => undefined)
              .end(),
          50,
        ),
      );
    });
    await ended;
  }
  t.equal(taken, 0);
});
