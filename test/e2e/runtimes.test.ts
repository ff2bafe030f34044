import { execFileSync, spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import t from "tap";
import { type Member, makeLayout, tar, writeLayout } from "../cli/image-layout.ts";
import { Box, FILE_TIMEOUT } from "../faults/support.ts";
import { program, until } from "./appliance.ts";

/** `sallyport runtime`, from an image to an Op that runs in it, and everything that comes in between. */

t.setTimeout(FILE_TIMEOUT);
const INSIDE = "RUNTIMES_TEST_DIR";

/** A shell, `cat` and what they need, as the host has them, and the C library for Node. */
function rootMembers(): Member[] {
  const programs = ["/bin/sh", "/bin/cat", "/bin/ls", "/bin/id"].map((path) => realpathSync(path));
  const libraries = new Map<string, Buffer>();
  for (const path of [...programs, program()[0]!]) {
    const said = execFileSync("ldd", [path], { encoding: "utf8" });
    for (const [, needed = ""] of said.matchAll(/(?:=> )?(\/\S+) \(0x/g))
      libraries.set(needed, readFileSync(needed));
  }
  // What sallyport carries itself must not come from the image.
  for (const path of libraries.keys()) if (/libstdc|libgcc|libatomic/.test(path)) libraries.delete(path);
  for (const name of ["libdl.so.2", "libpthread.so.0", "libm.so.6", "libc.so.6"]) {
    const path = `/lib/x86_64-linux-gnu/${name}`;
    if (existsSync(path)) libraries.set(path, readFileSync(path));
  }
  return [
    ...programs.map((path) => ({
      name: `image/bin/${path.split("/").at(-1)}`,
      bytes: readFileSync(path),
      mode: 0o755,
    })),
    ...[...libraries].map(([path, bytes]) => ({
      name: path.slice(1).replace(/^usr\//, ""),
      bytes,
      mode: 0o755,
    })),
    { name: "bin", type: "2", link: "image/bin" },
    { name: "image/bin/sh", type: "1", link: `image/bin/${programs[0]!.split("/").at(-1)}` },
    { name: "etc/of-the-image", bytes: "from the image\n" },
    { name: "etc/passwd", bytes: "image:x:0:0::/:/bin/sh\n" },
    { name: "tmp", type: "2", link: "/image" },
    { name: "escape", type: "2", link: "/tmp" },
    { name: "image/setuid", bytes: readFileSync(programs[3]!), mode: 0o4755 },
  ];
}

const OP = (name: string, more = "root: tiny\n") => ({
  name,
  manifest: `op: demo/${name}\nsummary: x\nruntime: shell\nentry: main.sh\n${more}`,
});

function publish(box: Box, of: { name: string; manifest: string }, main: string, entry = "main.sh") {
  const dir = join(box.dir, "ops", of.name);
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, "op.yaml"), of.manifest);
  writeFileSync(join(dir, entry), main);
  return box.cli(["op", "publish", dir, "--json"]);
}

function layout(box: Box, name: string, members: readonly Member[]): { path: string; digest: string } {
  const made = makeLayout([{ tar: tar(members), packing: "gzip" }]);
  return { path: writeLayout(join(box.dir, name), made), digest: made.digest };
}

if (process.env[INSIDE] === undefined) {
  t.test("an Op in a root file system of its own", async (t) => {
    const box = new Box();
    t.teardown(async () => {
      // What is imported can't be written to, by an ordinary user not even to remove it.
      execFileSync("chmod", ["-R", "u+w", join(box.stateDir, "runtimes")]);
      await box.stop();
    });
    await box.unlocked();
    await box.demo();
    const { path, digest } = layout(box, "tiny", rootMembers());

    const early = await publish(box, OP("where"), "id -u\n");
    t.match(early, {
      status: 1,
      stderr: /root file system tiny, which is not imported[\s\S]*runtime import tiny/,
    });

    t.match((await box.ok(["runtime", "import", "tiny", path, "--json"])).json(), { digest, known: false });
    await publish(
      box,
      OP("where"),
      `cat /etc/of-the-image; cat /etc/passwd
[ -e /usr ] && echo 'THE HOST IS HERE'
ls /; cat /run/secrets/x 2>&1; echo > /image/x
cat /proc/self/mountinfo | while read -r a b c d at options rest; do case $at in /image) echo "$at $options";; esac; done
/image/setuid -u
cp=/escape/run; cat /image/setuid > $cp; chmod 755 $cp 2>&1; $cp
echo "$INPUT_X" "$0" $(pwd)
`,
    );
    const ran = await box.cli(["run", "demo/where"]);
    t.match(ran.stdout, /^from the image\nroot:x:0:0:/, "the image's /etc, and the run's own files in it");
    t.notMatch(ran.stdout, /THE HOST IS HERE|image:x:0/);
    for (const name of ["bin", "dev", "etc", "image", "op", "proc", "run", "tmp"])
      t.match(ran.stdout, new RegExp(`^${name}$`, "m"));
    t.match(ran.stdout, /^\/image ro,nosuid,nodev/m);
    t.match(ran.stdout, /^1000$/m, "a setuid bit is none");
    t.match(ran.stderr, /\/image\/x: Read-only file system/);
    t.match(
      ran.stderr,
      /\/escape\/run: Permission denied/,
      "what the Op writes can't be executed, by no link",
    );
    const [requested] = await box.entries({ type: "run.requested" });
    t.match(requested?.entry.data, { root: digest }, "the intent names the image");

    t.test("Node and Python in it", async (t) => {
      const node = `op: demo/node\nsummary: x\nruntime: node\nentry: main.ts\nroot: tiny\n`;
      await publish(
        box,
        { name: "node", manifest: node },
        "const a: number = 1; console.log(process.version, a);",
        "main.ts",
      );
      const said = await box.cli(["run", "demo/node"]);
      t.match(said, { status: 0, stdout: /^v2\d\.\S+ 1\n$/ }, said.stderr);
      const python = `op: demo/python\nsummary: x\nruntime: python\nentry: main.py\nroot: tiny\n`;
      await publish(box, { name: "python", manifest: python }, "print(1)", "main.py");
      t.match((await box.cli(["run", "demo/python"])).stderr, /no python3 where the Op runs.*root: NAME/);
    });

    t.test("the list", async (t) => {
      t.match((await box.ok(["runtime", "list", "--json"])).json(), {
        runtimes: [{ name: "tiny", digest, present: true, ops: ["demo/node", "demo/python", "demo/where"] }],
        unnamed: [],
      });
    });

    t.test("it can't be removed while an Op runs in it", async (t) => {
      const refused = await box.cli(["runtime", "remove", "tiny"]);
      t.match(refused, { status: 1, stderr: /demo\/node and 2 more runs in tiny/ });
      t.match((await box.cli(["run", "demo/where"])).stdout, /from the image/);
    });

    t.test("an image under a name that was another's: what waited is refused", async (t) => {
      const slow = OP("slow", "root: tiny\nconcurrency: 1\n");
      await publish(box, slow, "echo up; read -r x <&3\n");
      const first = spawn(program()[0]!, [...program().slice(1), "run", "demo/slow"], {
        env: box.env,
        stdio: "pipe",
      });
      let out = "";
      first.stdout.on("data", (chunk) => (out += chunk));
      await until(() => out.includes("up"), 15_000);
      const second = box.cli(["run", "demo/slow"]);
      await box.event("run.queued");
      const other = layout(box, "other", [...rootMembers(), { name: "etc/other", bytes: "other\n" }]);
      t.match((await box.ok(["runtime", "import", "tiny", other.path, "--json"])).json(), {
        digest: other.digest,
      });
      first.kill("SIGINT");
      t.match((await second).stderr, /Another image was imported as tiny meanwhile/);
      const imported = (await box.entries({ type: "runtime.imported" })).map(({ entry }) => entry.data);
      t.match(
        imported.find((data) => data?.digest === other.digest),
        { runtime: "tiny", previous: digest },
      );
    });

    t.test("removed once nothing uses it", async (t) => {
      for (const name of ["where", "node", "python", "slow"]) await box.ok(["op", "disable", `demo/${name}`]);
      await box.ok(["runtime", "remove", "tiny"]);
      await box.event("runtime.removed");
      const { unnamed, runtimes } = (await box.ok(["runtime", "list", "--json"])).json() as {
        unnamed: string[];
        runtimes: unknown[];
      };
      t.strictSame(runtimes, []);
      for (const left of unnamed) await box.ok(["runtime", "remove", left]);
      const stored = readdirSync(join(box.stateDir, "runtimes"));
      t.strictSame(stored, ["lock"]);
    });

    t.test("a kill in the middle leaves nothing that is used, and the next import sweeps", async (t) => {
      const big = Array.from({ length: 64 }, (_, i) => ({
        name: `f${i}`,
        bytes: Buffer.alloc(4 * 1024 * 1024),
      }));
      const { path: bigPath, digest: bigDigest } = layout(box, "big", big);
      const dir = join(box.stateDir, "runtimes");
      const [file = "", ...rest] = program();
      const child = spawn(file, [...rest, "runtime", "import", "big", bigPath], {
        env: box.env,
        stdio: "ignore",
      });
      const ended = new Promise((resolve) => child.once("exit", (_, signal) => resolve(signal)));
      await until(() => readdirSync(dir).some((name) => name.startsWith(".import-")), 15_000);
      const both = await box.cli(["runtime", "import", "big", bigPath]);
      child.kill("SIGKILL");
      t.equal(await ended, "SIGKILL");
      t.match(both, { status: 1, stderr: /Another import or removal is under way/ });
      t.notOk(existsSync(join(dir, bigDigest.replace(":", "-"))), "no half of it has the name");
      t.match((await box.ok(["runtime", "list", "--json"])).json(), { runtimes: [], unnamed: [] });
      await box.ok(["runtime", "import", "big", bigPath]);
      t.strictSame(readdirSync(dir).toSorted(), ["lock", bigDigest.replace(":", "-")].toSorted());
    });

    t.test("bad images and people without the right change nothing", async (t) => {
      const bad = layout(box, "bad", [{ name: "../../x", bytes: "x" }]);
      t.match(await box.cli(["runtime", "import", "bad", bad.path]), { status: 2, stderr: /climbs out/ });
      t.match(await box.cli(["runtime", "import", "Bad Name", bad.path]), { status: 2 });
      t.match(await box.cli(["runtime", "remove", "never"]), { status: 1, stderr: /Root file system never/ });
      await box.ok(["lock"]);
      await box.sealedAgain();
      t.match(
        await box.cli(["runtime", "import", "tiny", path]),
        { status: 4 },
        "sealed: nobody's rights are known",
      );
    });
  });

  const dir = mkdtempSync(join(tmpdir(), "sallyport-small-"));
  chmodSync(dir, 0o755);
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  const how = process.getuid?.() === 0 ? "-m" : "-rm";
  const script = 'mount -t tmpfs -o size=40m,mode=0755 tmpfs "$1" && shift && exec "$@"';
  const small = (command: string[]) =>
    spawnSync("unshare", [how, "sh", "-c", script, "sh", dir, ...command], {
      env: { ...process.env, [INSIDE]: dir, TMPDIR: dir },
      encoding: "utf8",
    });
  const skip =
    small(["true"]).status === 0 ? false : "needs a mount namespace and tmpfs to make a small disk";
  t.test("a full disk", { skip }, (t) => {
    const ran = small([process.execPath, fileURLToPath(import.meta.url)]);
    t.equal(ran.status, 0, "on a disk of 40 MiB");
    if (ran.status !== 0) t.comment(`${ran.stdout}\n${ran.stderr}`);
    t.end();
  });
} else {
  t.test("on a disk of 40 MiB", async (t) => {
    const box = new Box();
    t.teardown(() => box.stop());
    await box.unlocked();
    const { path } = layout(box, "big", [{ name: "zeros", bytes: Buffer.alloc(64 * 1024 * 1024) }]);
    const before = statfsSync(box.dir).bfree;
    const said = await box.cli(["runtime", "import", "big", path]);
    t.match(said, { status: 1, stderr: /could not be imported.*(disk is full|no space)/i });
    t.strictSame(readdirSync(join(box.stateDir, "runtimes")), ["lock"]);
    t.ok(statfsSync(box.dir).bfree > before - 1024, "its room is free again");
    t.match((await box.ok(["runtime", "list", "--json"])).json(), { runtimes: [] });
  });
}
