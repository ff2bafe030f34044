import { chmodSync, lstatSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { makePlainGrant } from "../../src/exec/grant.ts";
import { withResources } from "../../src/exec/resources.ts";
import { encodeSpec } from "../../src/exec/spec.ts";
import type { HostResource } from "../../src/host/resources.ts";
import { plainGrant, sh, startLauncher } from "./launcher.ts";

t.setTimeout(120_000);
const root = realpathSync(mkdtempSync(join(tmpdir(), "sallyport-exec-resources-")));
t.teardown(() => rmSync(root, { recursive: true, force: true }));
chmodSync(root, 0o755);
mkdirSync(join(root, "logs"));
writeFileSync(join(root, "logs/line"), "a line\n");
const uid = process.getuid?.() ?? 0;
const LISTED: HostResource[] = [{ name: "logs", path: join(root, "logs"), mode: "ro", uid }];
const { launcher, stop } = startLauncher();
t.teardown(stop);

const grant = () => plainGrant({ argv: sh("cat /run/resources/logs/line") });
async function result(of: ReturnType<typeof withResources>) {
  if ("outcome" in of) return { out: "", result: of };
  let out = "";
  const run = launcher.run(of, {
    onStarted: () => {},
    onOutput: (_, bytes) => {
      out += bytes.toString();
    },
    ready: () => null,
    onProgress: () => {},
    onDenied: () => {},
  });
  return {
    out,
    result: await run.finished,
    get said() {
      return out;
    },
  };
}

t.test("given by name", async (t) => {
  const run = await result(withResources(grant(), ["logs"], LISTED));
  t.match(run, { said: "a line\n", result: { outcome: "exited", exit: 0 } });
  t.equal(withResources(grant(), [], LISTED) instanceof Object, true);
});

t.test("a name that is not listed, or what is there no more", async (t) => {
  t.match(withResources(grant(), ["other"], LISTED), {
    outcome: "launch_failed",
    resource: "other",
    detail: /^The resource other is not given: sallyport\.yaml of this host does not list it\.$/,
  });
  const gone = [{ ...LISTED[0]!, path: join(root, "gone") }];
  t.match(withResources(grant(), ["logs"], gone), {
    outcome: "launch_failed",
    resource: "logs",
    detail: /is not there/,
  });
});

t.test("what is put in its place after the runner has looked: the launcher's own word", async (t) => {
  const checked = withResources(grant(), ["logs"], LISTED);
  if ("outcome" in checked) throw new Error("refused");
  rmSync(join(root, "logs"), { recursive: true });
  // Another inode for certain: the old one's number may be given out again at once.
  mkdirSync(join(root, "between"));
  mkdirSync(join(root, "logs"));
  const { ino } = lstatSync(join(root, "logs"), { bigint: true });
  const binds = checked.spec.binds!.map((bind) => (bind.ino === ino ? { ...bind, ino: ino + 1n } : bind));
  const { result: end, out } = await result({ ...checked, spec: { ...checked.spec, binds } });
  t.match(end, {
    outcome: "launch_failed",
    resource: "logs",
    detail: /^The resource logs is not given: another thing was put in its place just now \(ESTALE\)\.$/,
  });
  t.equal(out, "");
});

t.test("more than a launch takes is said so", async (t) => {
  const plain = makePlainGrant({
    run: "r-test",
    files: [],
    argv: ["x"],
    seccomp: "default",
    outputBytes: 1,
    limits: { wallMs: 1, graceMs: 1, memoryBytes: 1, pids: 1, cpu: 1, tmpBytes: 1 },
  });
  const bind = { name: "x", path: "/x", kind: "file", writable: false, dev: 1n, ino: 1n } as const;
  const binds = Array.from({ length: 65 }, (_, i) => ({ ...bind, name: `x${i}` }));
  t.throws(() => encodeSpec({ ...plain.spec, binds }), {
    code: "launch_failed",
    message: /resources of the host/,
  });
});
