import t from "tap";
import type { ResourceMode } from "../../src/core/resources.ts";
import { queryLog } from "../../src/store/log-query.ts";
import { Rig, watch } from "./runs-rig.ts";

const MORE = "resources: [app-logs, spool]\n";
const LISTED = new Map<string, ResourceMode>([
  ["app-logs", "ro"],
  ["spool", "rw"],
]);

async function entries(rig: Rig, type: string): Promise<Record<string, unknown>[]> {
  const rows = await queryLog(rig.store.read, { type });
  return rows.map(({ entry }) => JSON.parse(entry.toString("utf8")) as Record<string, unknown>);
}

t.test("an order names the resources, and so does the log", async (t) => {
  const rig = await Rig.make(t, 1, { more: MORE, listed: LISTED });
  rig.join();
  const listener = watch();
  const { row } = await rig.request(listener);
  const order = rig.sent.find((message) => message.type === "run.order");
  t.match(order, { resources: ["app-logs", "spool"] }, "names, and no path");
  t.match(await entries(rig, "run.requested"), [{ data: { resources: "app-logs:ro,spool:rw" } }]);
  const reason = "The resource spool is not given: it moved.";
  rig.finish(row.id, { outcome: "launch_failed", exit: null, detail: reason, resource: "spool" });
  t.match((await listener.over).row, { state: "failed", reason: new RegExp(reason) });
  t.match(await entries(rig, "resource.refused"), [
    {
      run: row.id,
      op: "restart",
      outcome: "denied",
      data: { resource: "spool" },
      reason: new RegExp(reason),
    },
  ]);
});

t.test("a site's policy that forbids one is asked, and told", async (t) => {
  const site = `@id("no-spool") @reason("The spool is not for writing.")
forbid (principal, action == Action::"run", resource is Op) when { resource.resources.contains("spool:rw") };`;
  const rig = await Rig.make(t, 1, { more: MORE, listed: LISTED, site });
  rig.join();
  await t.rejects(rig.request(), { code: "denied", message: /The spool is not for writing/ });
  t.match(await entries(rig, "authz.denied"), [{ policy: "no-spool", outcome: "denied", op: "restart" }]);
  t.same(rig.orders(), []);
  const readOnly = new Map(LISTED).set("spool", "ro");
  const other = await Rig.make(t, 1, { more: MORE, listed: readOnly, site });
  other.join();
  t.ok((await other.request()).row.id, "the mode is the host's word, not the manifest's");
});

t.test("what the host does not list is refused before anything is recorded as requested", async (t) => {
  const rig = await Rig.make(t, 1, { more: MORE, listed: new Map([["spool", "rw"]]) });
  rig.join();
  await t.rejects(rig.request(), {
    code: "unsupported",
    message: /the resource app-logs, which sallyport\.yaml/,
  });
  t.same(await entries(rig, "run.requested"), []);
  t.match(await entries(rig, "request.refused"), [{ policy: "unsupported" }]);
});

t.test(
  "a socket that the Op's profile lets it connect to by no means is refused before it is recorded",
  async (t) => {
    const more = "resources: [agent]\nseccomp: strict\n";
    const rig = await Rig.make(t, 1, { more, listed: new Map([["agent", "socket"]]) });
    rig.join();
    await t.rejects(rig.request(), {
      code: "unsupported",
      message: /agent is a socket, and seccomp: strict/,
    });
    t.same(await entries(rig, "run.requested"), []);
    const files = await Rig.make(t, 1, { more, listed: new Map([["agent", "ro"]]) });
    files.join();
    t.ok((await files.request()).row.id);
  },
);
