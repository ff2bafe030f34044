import t from "tap";
import { once, USERS } from "./support/once.ts";
import { script } from "./support/spec.ts";

/** Programs are the host's, or the Op's own. */
const PROGRAMS = /^\/(usr|bin|sbin|lib|lib32|lib64|libx32|op)(\/|$)/;
const WRITABLE = /^\/(tmp|dev\/shm)$/;
const DEVICE = /^\/dev\/(null|zero|full|random|urandom)$/;

for (const { name, user } of USERS)
  t.test(`how a run's file systems are mounted, as ${name}`, async (t) => {
    const secret = { tree: "secrets" as const, path: "S", content: "s" };
    const { stdout, stderr } = await once(
      script("cut -d' ' -f5,6 /proc/self/mountinfo", { files: [secret] }),
      user === undefined ? {} : { user },
    );
    const mounts = stdout
      .trim()
      .split("\n")
      .map((line) => {
        const [point = "", options = ""] = line.split(" ");
        return { point, options: options.split(",") };
      });
    for (const expected of ["/", "/usr", "/op", "/tmp", "/dev/shm", "/run/secrets", "/dev/null"])
      t.ok(
        mounts.some(({ point }) => point === expected),
        `${expected} is there. ${stderr}`,
      );
    for (const { point, options } of mounts) {
      t.ok(options.includes("nosuid"), `${point}: nosuid`);
      if (DEVICE.test(point)) {
        // Its node is what it is for, and opens to write all the same.
        t.ok(options.includes("ro") && options.includes("noexec"), `${point}: its mode is not the Op's`);
        continue;
      }
      t.ok(options.includes("nodev"), `${point}: nodev`);
      t.equal(options.includes("noexec"), !PROGRAMS.test(point), `${point}: noexec where nothing must run`);
      t.equal(options.includes("ro"), !WRITABLE.test(point), `${point}: read-only but for /tmp and /dev/shm`);
    }
  });

t.test("limits of the Op's own process", async (t) => {
  const { stdout } = await once(
    script("cat /proc/self/limits", { limits: { nofile: 100, pids: 10, fsize: 12_345 } }),
  );
  const hard = (what: string) => new RegExp(`^${what} .*?(\\d+|unlimited) +\\w* *$`, "m").exec(stdout)?.[1];
  // 1: see core(5), a core_pattern that names a program ignores 0.
  t.equal(hard("Max core file size"), "1");
  t.equal(hard("Max open files"), "100");
  t.equal(hard("Max file size"), "12345");
  t.equal(hard("Max nice priority"), "0");
  t.equal(hard("Max realtime priority"), "0");
  t.match(hard("Max processes"), /^1[12]$/);
});
