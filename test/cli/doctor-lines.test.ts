import t from "tap";
import { doctorLines } from "../../src/cli/admin/appliance.ts";

t.test("doctor for people: what is wrong is never folded away", (t) => {
  const checks = [
    { name: "disk", ok: true, detail: "9 MiB" },
    { name: "sandbox: mount", ok: true, detail: "" },
    { name: "sandbox: use bpf", ok: true, detail: "" },
    { name: "sandbox: reboot", ok: false, detail: "it did" },
    { name: "sandbox: degraded", ok: true, warn: true as const, detail: "no /proc" },
    { name: "host: Yama", ok: true, warn: true as const, detail: "off" },
  ];
  t.strictSame(doctorLines({ ok: false, checks }), [
    "fine   disk: 9 MiB",
    "WRONG  sandbox: reboot: it did",
    "warn   sandbox: degraded: no /proc",
    "warn   host: Yama: off",
    "fine   sandbox: 2 attempts to break out ended as they must",
  ]);
  t.strictSame(doctorLines({ ok: true, checks: checks.slice(0, 1) }), ["fine   disk: 9 MiB"]);
  t.end();
});
