import { judgeHost } from "../core/host-facts.ts";
import { confinementOf, FILTERS } from "../host/confinement-of.ts";
import type { MessageOf } from "../wire/messages.ts";
import type { Peers } from "./peers.ts";

/** `warn`: nothing stops, but the detail says what would be better. */
export type Check = { name: string; ok: boolean; warn?: true; detail: string };

export const ROLE_NAMES = ["keeper", "gateway", "runner", "notary", "egress", "courier"] as const;
export type RoleName = (typeof ROLE_NAMES)[number];

/** What the kernel holds each role by; null where the role is away, or hidden from the keeper. */
export function confinements(peers: Peers, roles: readonly RoleName[]): Record<string, string | null> {
  return Object.fromEntries(roles.map((role) => [role, confinement(peers, role)?.detail ?? null]));
}

export function roleChecks(peers: Peers, roles: readonly RoleName[]): Check[] {
  return roles.flatMap((role) => {
    const check = confinement(peers, role);
    return check === null ? [] : [check];
  });
}

/** As the kernel tells in /proc, not as the role does. */
function confinement(peers: Peers, role: RoleName): Check | null {
  const pid = role === "keeper" ? process.pid : peers.pid(role);
  const held = pid === null ? null : confinementOf(pid);
  if (held === null) return null;
  const name = `${role}: system calls`;
  const capabilities = held.capabilities ? "capabilities" : "no capabilities";
  const detail = `${held.filters} seccomp filters, ${held.noNewPrivs ? "" : "no "}no_new_privs, ${capabilities}`;
  if (held.filters >= FILTERS && held.noNewPrivs && !held.capabilities) return { name, ok: true, detail };
  return {
    name,
    ok: false,
    detail: `${detail}: it was not started through the launcher, or the kernel lacks CONFIG_SECCOMP_FILTER`,
  };
}

/** The runner's self-test, run again, and what it read of the host. */
export function sandboxChecks(tested: MessageOf<"runner.ready"> | undefined, isConnected: boolean): Check[] {
  if (tested === undefined)
    return [
      {
        name: "sandbox",
        ok: false,
        detail: isConnected
          ? "the runner did not answer when it was asked to test its sandbox; see the output of serve"
          : "not tested: no runner is connected",
      },
    ];
  const { checks, degraded, facts } = tested;
  return [
    ...checks.map(({ name, ok, detail }): Check => ({ name: `sandbox: ${name}`, ok, detail })),
    // No failure: Ops run. But whoever relies on the fence is told which part of it this host does not give.
    ...degraded.map((detail): Check => ({ name: "sandbox: degraded", ok: true, warn: true, detail })),
    ...judgeHost(facts).map(
      ({ name, fine, detail }): Check => ({
        name: `host: ${name}`,
        ok: true,
        ...(fine ? {} : { warn: true }),
        detail,
      }),
    ),
  ];
}
