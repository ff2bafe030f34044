import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { readConfig } from "../../src/host/config.ts";
import { ownPlaces } from "../../src/host/resource-places.ts";
import { checkResource, type HostResource, readResources } from "../../src/host/resources.ts";

const root = realpathSync(mkdtempSync(join(tmpdir(), "sallyport-resources-")));
t.teardown(() => rmSync(root, { recursive: true, force: true }));
const uid = process.getuid?.() ?? 0;
const at = (name: string): string => join(root, name);
const OWN = ownPlaces(
  { state: at("own/state"), run: at("own/run"), log: at("own/log") },
  at("bin/sallyport"),
  at("conf/sallyport.yaml"),
  at("runtimes"),
);
for (const dir of ["logs", "own/state/deep", "open/logs", "bin", "conf"])
  mkdirSync(at(dir), { recursive: true });
writeFileSync(at("logs/app.log"), "x");
writeFileSync(at("bin/sallyport"), "x");
writeFileSync(at("conf/sallyport.yaml"), "x");
symlinkSync("logs", at("link"));
symlinkSync(at("own"), at("alias"));
chmodSync(at("open"), 0o777);

function read(yaml: string): HostResource[] {
  const file = at("test.yaml");
  writeFileSync(file, yaml);
  return readResources(readConfig(file).resources, OWN);
}

t.test("what root lists", async (t) => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(at("s.sock"), resolve));
  t.teardown(() => server.close());
  const got = read(`resources:
  logs: {path: ${at("logs")}}
  file: {path: ${at("logs/app.log")}, mode: rw, owner: ${uid}}
  sock: {socket: ${at("s.sock")}, owner: ${uid}}
  later: {socket: ${at("later.sock")}, owner: root}
`);
  t.same(got, [
    { name: "logs", path: at("logs"), mode: "ro", uid },
    { name: "file", path: at("logs/app.log"), mode: "rw", uid },
    { name: "sock", path: at("s.sock"), mode: "socket", uid },
    { name: "later", path: at("later.sock"), mode: "socket", uid: 0 },
  ]);
  t.match(checkResource(got[0]!), { kind: "directory", uid });
  t.match(checkResource(got[1]!), { kind: "file" });
  t.match(checkResource(got[2]!), { kind: "socket" });
  t.equal(checkResource(got[3]!), "is not there");
  t.same(read("limits: required\n"), []);
});

t.test("what root can't list, with the resource and the reason", async (t) => {
  const cases: [string, RegExp][] = [
    ["{path: logs}", /absolute path/],
    ["{path: /srv/../etc}", /absolute path/],
    ["{path: /srv//x}", /absolute path/],
    ["{path: /srv/x/}", /absolute path/],
    ["{path: /}", /absolute path/],
    ["{path: /srv/x, mode: rwx}", /must be/],
    ["{path: /srv/x, socket: /run/x}", /must be/],
    ["{socket: /run/x.sock, mode: rw}", /mode/],
    [`{path: ${at("link")}}`, /leads through a link, .*\/link\. /],
    [`{path: ${at("link/app.log")}}`, /leads through a link/],
    [`{path: ${at("none")}}`, /is not there, so its owner can't be noted/],
    [`{path: ${at("logs/app.log/x")}}`, /no directory|can't be looked at/],
    [`{path: ${at("open/logs")}}`, /could be put in place of by others: .*\/open /],
    [`{socket: ${at("logs")}}`, /is no socket/],
    [`{path: ${at("logs")}, owner: ${uid + 1}}`, new RegExp(`belongs to uid ${uid}, not to ${uid + 1}`)],
    [`{path: ${at("logs")}, owner: nobody-of-that-name}`, /no account nobody-of-that-name/],
    [`{path: ${at("own/state")}}`, /sallyport's own/],
    [`{path: ${at("own/state/deep")}}`, /sallyport's own/],
    [`{path: ${at("own")}}`, /sallyport's own/],
    [`{path: ${root}}`, /sallyport's own/],
    [`{path: ${at("bin/sallyport")}}`, /sallyport's own/],
    [`{path: ${at("conf")}}`, /sallyport's own/],
    ...[
      "/etc/passwd",
      "/proc/1",
      "/sys",
      "/dev/null",
      "/usr/share",
      "/lib64",
      "/boot",
      "/root/x",
      "/var/lib/sallyport/x",
    ].map((path): [string, RegExp] => [`{path: ${path}}`, /is a path of the system/]),
    ...["/run", "/var", "/var/lib", "/home", "/tmp"].map((path): [string, RegExp] => [
      `{path: ${path}}`,
      /belongs to all of the host/,
    ]),
    ...[
      "/run/docker.sock",
      "/run/containerd/containerd.sock",
      "/run/systemd/private",
      "/run/dbus/system_bus_socket",
      "/srv/proxy/docker.sock",
      "/run/user/1000/bus",
    ].map((path): [string, RegExp] => [`{socket: ${path}, owner: 0}`, /what to do as root/]),
    ["{path: /var/lib/docker}", /what to do as root/],
  ];
  for (const [entry, why] of cases)
    t.throws(
      () => read(`resources: {app-logs: ${entry}}\n`),
      { code: "config_invalid", message: why },
      entry,
    );
  t.throws(() => read(`resources: {App: {path: ${at("logs")}}}\n`), { message: /resource's name/ });
  const many = Array.from({ length: 65 }, (_, i) => `r${i}: {path: ${at("logs")}}`);
  t.throws(() => read(`resources: {${many}}\n`), { message: /at most 64/ });
});

t.test("what lies in a resource that Ops may write to is none of its own", async (t) => {
  const nested = (outer: string) =>
    read(`resources: {part: {path: ${at("logs/app.log")}}, all: {path: ${at("logs")}, mode: ${outer}}}\n`);
  t.throws(() => nested("rw"), {
    message: /resources\.part: .* is part of the resource all, which Ops may write to/,
  });
  t.equal(nested("ro").length, 2);
});

t.test("sallyport's own is found behind links too", async (t) => {
  const own = ownPlaces({ state: at("alias/state"), run: "/r", log: "/l" }, "/x", "/c", "/rt");
  const listed = { s: { path: at("own/state/deep"), mode: "ro" as const } };
  t.throws(() => readResources(listed, own), { message: /sallyport's own/ });
});

t.test("another owner than noted is refused", async (t) => {
  const said = checkResource({ name: "logs", path: at("logs"), mode: "ro", uid: uid + 7 });
  t.equal(said, `belongs to uid ${uid} now, not to uid ${uid + 7} as when the configuration was read`);
});

t.test(
  "a directory on the way that others own",
  {
    skip: uid === 0 ? false : "only root can give a directory away",
  },
  async (t) => {
    mkdirSync(at("theirs/logs"), { recursive: true });
    chownSync(at("theirs"), 12_345, 12_345);
    t.throws(() => read(`resources: {x: {path: ${at("theirs/logs")}}}\n`), {
      message: /could be put in place of by others: .*\/theirs /,
    });
  },
);
