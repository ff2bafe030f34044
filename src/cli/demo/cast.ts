import { SallyportError } from "../../core/errors.ts";
import { startWorkspace, type Workspace } from "../../workspace/index.ts";
import type { Cast } from "./grammar.ts";
import type { House } from "./house.ts";

export const CAST: Cast = { people: ["alice", "bob", "mallory"], channels: ["ops", "random"] };
export const ADMIN = "alice";
const NAMESPACE = "demo";
const READY_MS = 20_000;

/** A workspace with three people and two channels; nobody outside this host can reach it. */
export async function buildWorkspace(): Promise<Workspace> {
  const workspace = await startWorkspace({ keepTcpOpen: false });
  for (const name of CAST.people) workspace.addPerson({ name });
  for (const name of CAST.channels)
    workspace.addChannel({ name, members: [...CAST.people], botIsMember: true });
  return workspace;
}

/** Everything that an admin does on the first day, by the same commands. `tell` is called after each step. */
export async function furnish(
  house: House,
  workspace: Workspace,
  tell: (step: string, what: string) => void,
): Promise<void> {
  await house.init(ADMIN);
  tell("init", `key file, encrypted database, first admin ${ADMIN}`);
  await house.serve(workspace.apiUrl);
  tell("serve", "keeper, gateway, runner, notary and egress as separate, confined processes; sealed");
  const unlocked = await house.unlock();
  if (unlocked.status !== 0) throw new SallyportError("internal", `unlock failed: ${unlocked.err.trim()}`);
  tell("unlock", "with a random passphrase, given on a descriptor");
  const connected = JSON.parse(
    await house.must(
      ["slack", "connect", "--value-fd", "3", "--json"],
      `${workspace.appToken}\n${workspace.botToken}\n`,
    ),
  ) as { connected: boolean; error?: string | null };
  if (!connected.connected) throw new SallyportError("slack_not_connected", connected.error ?? "");
  tell("slack connect", `over Socket Mode to workspace ${workspace.team.name}, simulated on loopback`);
  await house.must(["namespace", "add", NAMESPACE]);
  await house.must(["namespace", "channel", "add", NAMESPACE, workspace.channel("ops").id]);
  tell("namespace", `${NAMESPACE}, whose Ops may be run in #ops alone`);
  for (const name of CAST.people) {
    if (name !== ADMIN) await house.must(["user", "add", name]);
    await link(house, workspace, name);
  }
  await house.must(["role", "grant", "runner", NAMESPACE, "bob"]);
  tell("user, link", "alice is admin, bob may run the Ops of demo, mallory has no rights");
  const published = await Promise.all(
    house.examples().map((dir) => house.must(["op", "publish", dir, "--json"])),
  );
  const names = published.map((text) => (JSON.parse(text) as { op: string }).op).sort();
  tell("op publish", names.join(", "));
  for (const missing of await sandboxTested(house)) tell("sandbox", missing);
}

/** The person asks in Slack for a code; the admin confirms it on the host, having compared the member ID. */
async function link(house: House, workspace: Workspace, name: string): Promise<void> {
  const person = workspace.person(name);
  const { text, blocks } = await workspace
    .command(person, workspace.channel("ops"), "/ops link")
    .response(READY_MS);
  const code = /sallyport link ([0-9A-Z]{4}-[0-9A-Z]{4})/.exec(`${text}\n${JSON.stringify(blocks)}`)?.[1];
  if (code === undefined) throw new SallyportError("internal", `/ops link showed ${name} no code: ${text}`);
  await house.must(["link", code, "--user", name, "--member-id", person.id]);
}

/**
 * No Op runs before the runner tried to break out of its own sandbox; where that worked, the demo can't go on. Returns what
 * this host does not give, a sentence each.
 */
async function sandboxTested(house: House): Promise<string[]> {
  const until = Date.now() + READY_MS;
  type Doctor = { checks: { name: string; ok: boolean; detail: string }[] };
  for (;;) {
    const said = await house.run(["doctor", "--json"]);
    const { checks } = said.out === "" ? { checks: [] } : (JSON.parse(said.out) as Doctor);
    // "sandbox" alone says that the test is still under way; afterwards each of its checks has a line.
    const done = checks.filter((check) => check.name.startsWith("sandbox:"));
    const failed = done.find((check) => !check.ok);
    if (failed !== undefined)
      throw new SallyportError("sandbox_unavailable", `${failed.name}: ${failed.detail}`);
    if (done.length > 0)
      return done.filter((check) => check.name === "sandbox: degraded").map((check) => check.detail);
    if (Date.now() > until) throw new SallyportError("sandbox_unavailable", said.err.trim());
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
