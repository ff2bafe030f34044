import t from "tap";
import { describeCall } from "../../src/exec/denied-call.ts";

const X86 = 0xc000003e;
const call = (nr: number, ...args: bigint[]): string => describeCall({ nr, arch: X86, args });

t.test("a refused call says what was wanted", async (t) => {
  const told: [string, string][] = [
    [call(41, 17n, 3n, 0n), "socket(AF_PACKET)"],
    [call(41, 0x1_0000_0010n), "socket(AF_NETLINK)"],
    [call(41, 99n), "socket(0x63)"],
    [call(53, 2n), "socketpair(AF_INET)"],
    [call(56, 0x10000011n), "clone(CLONE_NEWUSER)"],
    [call(56, 0x50000000n), "clone(CLONE_NEWUSER|CLONE_NEWNET)"],
    [call(56, 17n), "clone(a process)"],
    [call(272, 0x80n), "unshare(CLONE_NEWTIME)"],
    [call(308, 3n, 0x20000n), "setns(CLONE_NEWNS)"],
    [call(16, 0n, 0x5_0000_5412n), "ioctl(TIOCSTI)"],
    [call(16, 0n, 0x541cn), "ioctl(TIOCLINUX)"],
    [call(16, 0n, 0xdeadn), "ioctl(0xdead)"],
    [call(157, 35n), "prctl(PR_SET_MM)"],
    [call(101, 0x4206n), "ptrace(PTRACE_SEIZE)"],
    [call(321, 5n), "bpf(BPF_PROG_LOAD)"],
    [call(135, 0x40000n), "personality(0x40000)"],
    [call(317, 1n, 8n), "seccomp(NEW_LISTENER)"],
    [call(165, 0x7fff_0000_1234n), "mount"],
    [call(9999), "syscall 9999"],
    [describeCall({ nr: 5, arch: 0x40000003, args: [] }), "foreign 5"],
  ];
  for (const [got, wanted] of told) t.equal(got, wanted);
});

t.test("no name is too long for the wire, and no pointer is in one", async (t) => {
  for (let nr = 0; nr < 500; nr++)
    for (const arg of [0n, 0xffff_ffff_ffff_ffffn, 0x7ffe_dead_beefn]) {
      const said = call(nr, arg, arg, arg, arg, arg, arg);
      t.ok(said.length <= 64, said);
      t.notMatch(said, /7ffe/, said);
    }
});
