import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import t from "tap";
import { callKeeper } from "../../src/cli/client.ts";
import { TestAppliance, until } from "./appliance.ts";
import { rolePid } from "./processes.ts";

const ROLES = ["keeper", "gateway", "runner", "notary", "egress"] as const;
const box = new TestAppliance();
t.teardown(() => box.stop());

type Status = { roles: Record<string, boolean>; landlock: Record<string, string | null> };
const status = async () => (await callKeeper(`${box.dir}/run`, "status", {})) as Status;

/** Fields of /proc/PID/task/TID/status, of every thread. */
function threads(pid: number): Map<string, string>[] {
  return readdirSync(`/proc/${pid}/task`).map((tid) => {
    const lines = readFileSync(`/proc/${pid}/task/${tid}/status`, "utf8").split("\n");
    return new Map(lines.map((line) => line.split(":\t") as [string, string]));
  });
}

const isRoot = process.getuid?.() === 0;
/** Filters that this test itself is under, as in a container. */
const OUTER = Number(threads(process.pid)[0]?.get("Seccomp_filters") ?? 0);

t.test("the roles of a live serve", async (t) => {
  await box.init();
  await box.serve();
  await until(
    // Their hello comes after the last step of their confinement; `roles` tells of a connection alone.
    async () => Object.values((await status()).landlock).every((said) => said !== null),
    20_000,
    () => box.log,
  );

  // A role's own descriptors are put in place before the launcher is opened by its number.
  const fds = `/proc/${box.serving!.pid}/fd`;
  const launcher = readdirSync(fds).filter((fd) =>
    readlinkSync(`${fds}/${fd}`).includes("sallyport-launcher"),
  );
  t.equal(launcher.length, 1);
  t.ok(Number(launcher[0]) >= 16, `the launcher is descriptor ${launcher[0]}`);

  const { landlock } = await status();
  for (const role of ROLES)
    t.match(landlock[role], /^(abi=[1-9][0-9]*|refused=[A-Z0-9]+)$/, `status tells of ${role}'s Landlock`);

  for (const role of ROLES) {
    await t.test(role, async (t) => {
      const pid = rolePid(box.serving!.pid!, role)!;
      // Those that the role had from the start and those that it made later.
      for (const thread of threads(pid)) {
        const name = thread.get("Name") ?? "";
        t.equal(
          Number(thread.get("Seccomp_filters")),
          OUTER + 3,
          `its filter, and those against signals and exec: ${name}`,
        );
        t.equal(thread.get("NoNewPrivs"), "1", name);
        for (const set of ["CapInh", "CapPrm", "CapEff", "CapAmb", ...(isRoot ? ["CapBnd"] : [])])
          t.match(thread.get(set), /^0+$/, `${set} is empty: ${name}`);
      }
    });
  }
});
