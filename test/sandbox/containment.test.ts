import { createServer } from "node:net";
import { hostname } from "node:os";
import t from "tap";
import { isRoot, once, USERS } from "./support/once.ts";
import { probe } from "./support/probe.ts";
import { type RunSpec, script } from "./support/spec.ts";

const withProbe = (text: string, extra: Partial<RunSpec> = {}): RunSpec =>
  script(text, {
    ...extra,
    files: [{ tree: "op", path: "probe", content: probe() }, ...(extra.files ?? [])],
  });

/** A socket of the host, on which the test listens. */
const ABSTRACT = `sallyport-test-${process.pid}`;
/** What an Op tries through the probe, and what must come of it. */
const TRIES: [string, string | RegExp][] = [
  // Files
  ["open /etc/shadow", "ENOENT"],
  ["open /root/.bashrc", "ENOENT"],
  ["open /work", "ENOENT"],
  ["open /home", "ENOENT"],
  ["open /sys", "ENOENT"],
  ["open /dev/vda", "ENOENT"],
  ["open /dev/mem", "ENOENT"],
  ["open /var/run/docker.sock", "ENOENT"],
  ["create /x", "EROFS"],
  ["create /usr/x", "EROFS"],
  ["create /etc/x", "EROFS"],
  ["create /op/x", "EROFS"],
  ["create /run/secrets/x", "EROFS"],
  ["create /run/empty/x", "EROFS"],
  ["create /dev/x", "EROFS"],
  ["create /proc/acpi/x", /EROFS|ENOENT/],
  ["create /tmp/x", "ok"],
  ["create /dev/shm/x", "ok"],
  ["write /op/probe", /EROFS|ETXTBSY|EACCES/],
  ["write /proc/self/exe", /EROFS|ETXTBSY|EACCES/],
  ["write /proc/1/exe", /EACCES|EPERM/],
  ["write /dev/null", "ok"],
  ["mknod /tmp/null", "EPERM"],
  ["fifo /tmp/fifo", "ok"],
  ["mount /tmp", "EPERM"],
  ["handle", "EPERM"],
  ["dotdot", "ENOENT"],
  // proc
  ["open /proc/kcore", /EACCES|ENOENT/],
  ["open /proc/kallsyms", /EACCES|ENOENT/],
  ["open /proc/keys", /EACCES|ENOENT/],
  ["write /proc/sysrq-trigger", /EROFS|EACCES|ENOENT/],
  ["write /proc/sys/kernel/hostname", /EROFS|EACCES/],
  ["write /proc/self/oom_score_adj", "EROFS"],
  ["open /proc/1/environ", "EACCES"],
  ["open /proc/1/root", "EACCES"],
  ["open /proc/1/mem", "EACCES"],
  ["open /proc/1/maps", "EACCES"],
  // Processes
  ["ptrace", "EPERM"],
  ["vmread", "EPERM"],
  ["kill 3000000", "ESRCH"],
  ["killall", "ok"],
  ["mq", /ok|EACCES/], // its own at most; Landlock refuses it whole
  ["call 438 0 0", "EPERM"], // pidfd_getfd
  // Network
  ["socket 1", "ok"],
  ["socket 2", "EPERM"],
  ["socket 10", "EPERM"],
  ["socket 16", "EPERM"],
  ["socket 17", "EPERM"],
  ["socket 38", "EPERM"],
  ["socket 40", "EPERM"],
  ["socket 44", "EPERM"],
  // The kernel reads the low 32 bits: the high ones change nothing.
  ["socketraw 0x100000002", "EPERM"],
  [`abstract ${ABSTRACT}`, "ECONNREFUSED"],
  // Kernel
  ["clone 0", "ok"],
  ["clone 0x10000000", "EPERM"],
  ["clone 0x00020000", "EPERM"],
  ["clone 0x40000000", "EPERM"],
  ["call 435 0 0", "ENOSYS"], // clone3
  ["call 425 1 0", "ENOSYS"], // io_uring_setup
  ["call 250 0 0", "ENOSYS"], // keyctl
  ["call 9999 0 0", "ENOSYS"],
  ["call 321 0 0", "EPERM"], // bpf
  ["call 298 0 0", "EPERM"], // perf_event_open
  ["call 323 0 0", "EPERM"], // userfaultfd
  ["call 272 0x10000000 0", "EPERM"], // unshare
  ["call 308 0 0", "EPERM"], // setns
  ["call 246 0 0", "EPERM"], // kexec_load
  ["call 175 0 0", "EPERM"], // init_module
  ["call 167 0 0", "EPERM"], // swapon
  ["call 169 0 0", "EPERM"], // reboot
  ["call 155 0 0", "EPERM"], // pivot_root
  ["call 161 0 0", "EPERM"], // chroot
  ["call 135 0x40000 0", "EPERM"], // personality(ADDR_NO_RANDOMIZE)
  ["call 135 0 0", "ok"],
  ["ioctl 0x5412", "EPERM"], // TIOCSTI
  ["ioctl 0x500005412", "EPERM"],
  ["ioctl 0x541C", "EPERM"], // TIOCLINUX
  ["listener", "EPERM"],
  ["memfd 0", "EACCES"],
  ["memfd 0x10", "EACCES"], // MFD_EXEC
  ["memfd 8", "EACCES"], // MFD_NOEXEC_SEAL: made, not executable
];

for (const { name, user } of USERS) {
  const options = user === undefined ? {} : { user };

  t.test(`what an Op tries, as ${name}`, async (t) => {
    const host = createServer().listen(`\0${ABSTRACT}`);
    t.teardown(() => host.close());
    const r = await once(
      withProbe(`trap "" TERM\n${TRIES.map(([what]) => `./probe ${what}`).join("\n")}`),
      options,
    );
    const lines = r.stdout.trim().split("\n");
    t.equal(lines.length, TRIES.length, r.stderr);
    TRIES.forEach(([what, expected], i) => {
      if (typeof expected === "string") t.equal(lines[i], expected, what);
      else t.match(lines[i], expected, what);
    });
  });

  t.test(`foreign calling conventions kill, as ${name}`, async (t) => {
    const r = await once(withProbe("./probe x32; echo $?; ./probe int80; echo $?"), options);
    t.equal(r.stdout, "159\n159\n", "SIGSYS");
  });

  t.test(`identity, as ${name}`, async (t) => {
    const r = await once(
      withProbe(
        "id -u; id -g; hostname; grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status; cat /proc/1/cmdline; echo; ps -e -o pid= | wc -l; ls /dev; cut -d: -f1 /proc/net/dev | tail -n +3; ulimit -c",
        { hostname: "my-op" },
      ),
      options,
    );
    const lines = r.stdout.replaceAll("\0", "").split("\n");
    t.same(lines.slice(0, 3), ["1000", "1000", "my-op"]);
    t.not(lines[2], hostname());
    for (const cap of ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"])
      t.match(r.stdout, `${cap}:\t0000000000000000\n`);
    t.match(r.stdout, "NoNewPrivs:\t1\n");
    t.match(r.stdout, "Seccomp:\t2\n");
    t.notMatch(r.stdout, "launcher", "PID 1's command line names nothing of the host");
    t.match(r.stdout, /\nfd\nfull\nnull\nrandom\nshm\nstderr\nstdin\nstdout\nurandom\nzero\n/);
    t.match(r.stdout, /\n *lo\n0\n$/, "one interface, no core dumps");
    const set = await once(script("id -u; id -g", { ids: [4242, 4343] }), options);
    t.equal(set.stdout, "4242\n4343\n");
  });

  t.test(`programs and files, as ${name}`, async (t) => {
    const r = await once(
      withProbe(
        `cp probe /tmp/p && chmod 755 /tmp/p; /tmp/p true; echo $?
         cp probe /dev/shm/p; /dev/shm/p true; echo $?
         cat /run/secrets/A /run/secrets/nested/B; stat -c %a /run/secrets/A; stat -c %a /op/plain; echo "$X"; awk 'BEGIN{print "awk"}'
         perl -e 'print "perl\\n"'; readlink /etc/link; id -un`,
        {
          env: ["PATH=/usr/bin:/bin", "X=a b\nc"],
          files: [
            { tree: "secrets", path: "A", content: "first ", mode: 0o777 },
            { tree: "secrets", path: "nested/B", content: "second\n" },
            { tree: "op", path: "plain", content: "", mode: 0o644 },
            { tree: "etc", path: "link", kind: "symlink", content: "/op" },
          ],
        },
      ),
      options,
    );
    t.equal(r.stdout, "126\n126\nfirst second\n400\n444\na b\nc\nawk\nperl\n/op\nop\n");
    const env = await once(script("env"), { ...options, env: { PATH: process.env.PATH, LEAK: "secret" } });
    t.notMatch(env.stdout, "LEAK", "the environment is the spec's alone");
    const looked = await once({ argv: ["true"] }, options);
    t.equal(looked.code, 0, "a bare name is looked up in the spec's PATH");
    const cwd = await once({ argv: ["pwd"], cwd: "/tmp" }, options);
    t.equal(cwd.stdout, "/tmp\n");
    const nowhere = await once({ argv: ["pwd"], cwd: "/nowhere" }, options);
    t.match(nowhere, { code: 125, stderr: "launcher: cwd: No such file or directory\n" });
  });

  t.test(`limits, as ${name}`, async (t) => {
    const tmp = await once(
      script(
        "head -c 3000000 /dev/zero > /tmp/a; stat -c %s /tmp/a; rm /tmp/a; i=0; while : > /tmp/f$i; do i=$((i+1)); done 2>/dev/null; echo $i",
        {
          limits: { tmpBytes: 1 << 20, tmpInodes: 64 },
        },
      ),
      options,
    );
    t.match(tmp.stdout, /^1048576\n/, "bytes of /tmp");
    t.ok(Number(tmp.stdout.split("\n")[1] ?? 1e9) < 64, "inodes of /tmp");
    const files = await once(
      script("ulimit -n; ulimit -t; ulimit -f", { limits: { nofile: 77, cpuSeconds: 9, fsize: 5120 } }),
      options,
    );
    t.equal(files.stdout, "77\n9\n10\n");
    const bomb = await once(withProbe("./probe forks 200", { limits: { pids: 20 } }), options);
    t.match(bomb.stdout, /^1\d EAGAIN$/m, "a fork bomb ends at its limit");
    const memory = await once(
      withProbe("./probe eat 400; echo $?", { limits: { memory: 64 << 20 } }),
      options,
    );
    t.notMatch(memory.stdout, /^ok/, "a memory bomb ends");
    const small = await once(withProbe("./probe eat 16", { limits: { memory: 64 << 20 } }), options);
    t.equal(small.stdout, "ok\n");
    const late = await once(script("sleep 60", { limits: { wallMs: 100, graceMs: 100 } }), options);
    t.equal(late.code, 124);
  });

  t.test(`the other profiles, as ${name}`, async (t) => {
    const network = await once(
      withProbe(
        "./probe socket 2; ./probe socket 10; ./probe socket 16; ./probe socket 17; ./probe socketraw 0x100000010",
        { seccomp: "network" },
      ),
      options,
    );
    t.equal(network.stdout, "ok\nok\nEPERM\nEPERM\nEPERM\n");
    const strict = { seccomp: "strict", files: [{ tree: "op" as const, path: "probe", content: probe() }] };
    const outcome = async (...argv: string[]) =>
      (await once({ argv: ["./probe", ...argv], ...strict }, options)).stdout.trim();
    t.equal(await outcome("socket", "1"), "EPERM");
    t.equal(await outcome("clone", "0"), "EPERM");
    t.equal(await outcome("call", "57"), "EPERM"); // fork
    t.equal(await outcome("create", "/tmp/x"), "ok");
    const lo = await once(
      script("cat /sys/class/net/lo/operstate /proc/net/route; grep -c lo /proc/net/if_inet6", {
        seccomp: "network",
      }),
      options,
    );
    t.match(lo.stdout, /^(Iface.*\n)?0\n$/, "loopback is down, no routes");
    const up = await once(
      script("grep -c lo /proc/net/if_inet6", { seccomp: "network", loopback: true }),
      options,
    );
    t.equal(up.stdout, "1\n", "up when asked");
  });
}

t.test("a host whose /proc is masked", { skip: isRoot ? false : "needs root to mask one" }, async (t) => {
  const spec = script("echo started; ls /proc; exec 2>/dev/null; ls -l /proc/self");
  const masked = ["unshare", "-m", "sh", "-c", 'mount --bind /proc/sys /proc/sys && exec "$@"', "sh"];
  const r = await once(spec, { user: 65534, before: masked });
  t.equal(r.stdout, "started\n", "the Op runs without one");
});
