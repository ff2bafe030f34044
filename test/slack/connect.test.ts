import t from "tap";
import { FILE_TIMEOUT } from "../faults/support.ts";
import { type Rig, sessionRig } from "./rig.ts";

t.setTimeout(FILE_TIMEOUT);

/** What the official client does not survive (SLACK.md), each on a live session; a command afterwards is acked. */
async function works(rig: Rig): Promise<string> {
  await rig.keeper.connected();
  return (await rig.workspace.command("alice", "ops", "/ops status").ack).status;
}

async function started(options?: Parameters<typeof sessionRig>[0]) {
  const rig = await sessionRig(options);
  rig.session.start();
  await rig.keeper.connected();
  return rig;
}

t.test("no hello, stalled upgrades, refused upgrades, at start", async (t) => {
  for (const fault of ["dropHello", "stallUpgrade", "stallAfterUpgrade", "refuseUpgrade"] as const) {
    const rig = await sessionRig();
    t.teardown(rig.stop);
    if (fault === "refuseUpgrade") rig.workspace.faults.refuseUpgrade(503, 3);
    else rig.workspace.faults[fault](3);
    rig.session.start();
    await rig.keeper.until(() => rig.keeper.of("slack.state").find((s) => s.error !== null), "an error");
    t.equal(await works(rig), "acked", fault);
  }
});

t.test("apps.connections.open fails at a reconnect", async (t) => {
  const rig = await started();
  t.teardown(rig.stop);
  const { faults } = rig.workspace;
  const all = () => {
    for (const c of rig.workspace.connections) faults.kill(c.id);
  };
  for (const fault of [
    { status: 503 },
    { error: "internal_error" },
    { hang: true },
    { garbage: true },
    { resetBefore: true },
  ] as const) {
    faults.api("apps.connections.open", fault, 3);
    all();
    await rig.keeper.connected(0);
    t.equal(await works(rig), "acked", JSON.stringify(fault));
  }
  faults.api("apps.connections.open", { status: 429, retryAfter: 1 }, 2);
  all();
  await rig.keeper.connected(0);
  t.equal(await works(rig), "acked", "429");
  faults.api("apps.connections.open", { error: "invalid_auth" }, 2);
  all();
  await rig.keeper.connected(0);
  const alarm = await rig.keeper.alarm("auth_failed");
  t.match(alarm.detail, /app token.*invalid_auth/);
  t.equal(await works(rig), "acked", "invalid_auth");
});

t.test("auth.test fails at start", async (t) => {
  for (const fault of [
    { error: "invalid_auth" },
    { status: 502 },
    { garbage: true },
    { hang: true },
  ] as const) {
    const rig = await sessionRig();
    t.teardown(rig.stop);
    rig.workspace.faults.api("auth.test", fault, 2);
    rig.session.start();
    await rig.keeper.until(() => rig.keeper.of("slack.state").find((s) => s.error !== null), "an error");
    t.equal(rig.workspace.connections.length, 0, "nothing is taken before it is known who we are");
    t.equal(await works(rig), "acked", JSON.stringify(fault));
  }
});
