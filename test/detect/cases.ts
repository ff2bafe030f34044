import type { EventType } from "../../src/audit/catalogue.ts";
import type { AuditEvent } from "../../src/audit/event.ts";
import { exampleOf } from "../siem/examples.ts";

/** For each rule: events that set it off, and near misses. `at` in minutes. */

type At = { at: number; event: AuditEvent };
export type Case = {
  file: string;
  title: string;
  /** The rule's title. */
  sigma: string;
  wazuh: number | null;
  match: At[];
  misses: Record<string, At[]>;
};

type Change = { actor?: AuditEvent["actor"]; outcome?: AuditEvent["outcome"]; run?: string; data?: object };

function event(type: EventType, change: Change = {}): AuditEvent {
  const example = exampleOf(type);
  return { ...example, ...change, data: { ...example.data, ...change.data } } as AuditEvent;
}
const once = (type: EventType, change?: Change): At[] => [{ at: 0, event: event(type, change) }];
const each = (minutes: readonly number[], of: (i: number) => AuditEvent): At[] =>
  minutes.map((at, i) => ({ at, event: of(i) }));
const person = (id: string): AuditEvent["actor"] => ({ kind: "user", id, name: id });
const host = (uid: number): AuditEvent["actor"] => ({ kind: "host", uid, loginUid: null });

/** Every five minutes from the one to the other. */
export const heartbeats = (from: number, to: number): At[] =>
  each(
    Array.from({ length: Math.floor((to - from) / 5) + 1 }, (_, i) => from + i * 5),
    () => event("log.heartbeat"),
  );

const refusals = (minutes: readonly number[], who: (i: number) => string): At[] =>
  each(minutes, (i) => event(i % 2 === 0 ? "authz.denied" : "op.refused", { actor: person(who(i)) }));
const failures = (minutes: readonly number[], type: EventType = "appliance.unlock_failed"): At[] =>
  each(minutes, (i) => event(type, { actor: host(1000 + i) }));
const calls = (names: readonly string[], run: (i: number) => string = () => "r-7"): At[] =>
  names.map((call, i) => ({ at: i, event: event("sandbox.denied", { run: run(i), data: { call } }) }));
const grant = (actor: string, subject: string): At[] =>
  once("role.granted", { actor: person(actor), data: { subject } });

export const CASES: readonly Case[] = [
  {
    file: "repeated_refusals.yml",
    title: "repeated refusals",
    sigma: "Repeated refusals of one person",
    wazuh: 100511,
    match: refusals([0, 1, 2, 3, 9], () => "u-1"),
    misses: {
      "four of them": refusals([0, 1, 2, 3], () => "u-1"),
      "five in a longer time": refusals([0, 3, 6, 9, 12], () => "u-1"),
      "of five people": refusals([0, 1, 2, 3, 4], (i) => `u-${i}`),
      "what sallyport itself met": each([0, 1, 2, 3, 4], () => event("slack.post_failed")),
    },
  },
  {
    file: "repeated_refusals.yml",
    title: "a refusal",
    sigma: "sallyport refused a request",
    wazuh: 100510,
    match: once("authn.denied"),
    misses: { "a request that was served": once("run.requested") },
  },
  {
    file: "unlock_failures.yml",
    title: "a wrong passphrase",
    sigma: "A wrong passphrase or recovery code for sallyport",
    wazuh: 100520,
    match: failures([0]),
    misses: { "an unlock": once("appliance.unlocked") },
  },
  {
    file: "unlock_failures.yml",
    title: "unlock failures",
    sigma: "Repeated failures to unlock sallyport",
    wazuh: 100521,
    match: failures([0, 0, 0]),
    misses: {
      two: failures([0, 1]),
      "three in a longer time": failures([0, 10, 20]),
      "unlocks that were undone": failures([0, 1, 2], "appliance.unlock_undone"),
      "wrong one-time codes": failures([0, 1, 2], "authn.code_refused"),
    },
  },
  {
    file: "unlock_failures.yml",
    title: "unlocking slowed down",
    sigma: "Unlocking sallyport was slowed down",
    wazuh: 100522,
    match: once("appliance.unlock_throttled"),
    misses: { "one-time codes slowed down": once("authn.code_throttled") },
  },
  {
    file: "new_xapp_connection.yml",
    title: "another connection on the app token",
    sigma: "Another connection on sallyport's Slack app token",
    wazuh: 100530,
    match: once("slack.alarm", { data: { kind: "too_many_connections" } }),
    misses: {
      "another alarm": once("slack.alarm", { data: { kind: "malformed_frame" } }),
      "the gateway's own": once("slack.connected", { outcome: "success" }),
    },
  },
  {
    file: "denied_system_call.yml",
    title: "a refused system call",
    sigma: "An Op made a system call that is refused",
    wazuh: 100540,
    match: calls(["mount"]),
    misses: { "a refused connection": once("network.refused"), "a self-test": once("sandbox.selftest") },
  },
  {
    file: "denied_system_call.yml",
    title: "several kinds of refused system calls",
    sigma: "One run made several kinds of refused system calls",
    wazuh: 100541,
    match: calls(["mount", "bpf", "ptrace", "unshare"]),
    misses: {
      three: calls(["mount", "bpf", "ptrace"]),
      "one call again and again": calls(["mount", "mount", "mount", "mount", "mount"]),
      "of several runs": calls(["mount", "bpf", "ptrace", "unshare"], (i) => `r-${i}`),
    },
  },
  {
    file: "secret_printed.yml",
    title: "a secret printed",
    sigma: "An Op wrote a secret to its output",
    wazuh: 100550,
    match: once("secret.printed"),
    misses: { "a secret read": once("secret.read"), "one refused": once("secret.refused") },
  },
  {
    file: "break_glass.yml",
    title: "break glass",
    sigma: "An Op was run without its approvals",
    wazuh: 100560,
    match: once("run.break_glass"),
    misses: { "an approval": once("run.approved"), "a run": once("run.requested") },
  },
  {
    file: "notary_refusal.yml",
    title: "the notary refuses",
    sigma: "sallyport's log is not what was signed before",
    wazuh: 100570,
    match: once("notary.refused"),
    misses: {
      "a new key": once("notary.key"),
      "a notary that ended": once("role.lost", { data: { role: "notary" } }),
    },
  },
  {
    file: "notary_refusal.yml",
    title: "the notary signed another history",
    sigma: "sallyport's log is not what was signed before",
    wazuh: 100570,
    match: once("notary.fork"),
    misses: { "a verification that held": once("log.verified") },
  },
  {
    file: "log_gap.yml",
    title: "a log that does not hold",
    sigma: "Something is missing from sallyport's log",
    wazuh: 100580,
    match: once("log.verified", { outcome: "failure" }),
    misses: {
      "one that held": once("log.verified", { outcome: "success" }),
      "another failure": once("run.finished", { outcome: "failure" }),
    },
  },
  {
    file: "log_gap.yml",
    title: "events dropped",
    sigma: "Something is missing from sallyport's log",
    wazuh: 100581,
    match: once("log.spool_dropped"),
    misses: { "an export": once("log.exported") },
  },
  {
    file: "log_gap.yml",
    title: "silence",
    sigma: "sallyport's log has fallen silent",
    wazuh: null,
    match: [...heartbeats(0, 20), ...heartbeats(40, 60)],
    misses: {
      "two missing": [...heartbeats(0, 20), ...heartbeats(35, 60)],
      "none missing": heartbeats(0, 60),
    },
  },
  {
    file: "log_gap.yml",
    title: "other lines, and no heartbeat",
    sigma: "sallyport's log has fallen silent",
    wazuh: null,
    match: [...heartbeats(0, 10), ...each([15, 20, 25, 30], () => event("run.requested"))],
    misses: { "with one": [...heartbeats(0, 25), ...each([27, 30], () => event("run.requested"))] },
  },
  {
    file: "admin_grants_self.yml",
    title: "a role for oneself",
    sigma: "Somebody granted themselves a right in sallyport",
    wazuh: 100590,
    match: grant("u-1", "u-1"),
    misses: {
      "for another": grant("u-1", "u-2"),
      "for one whose id begins alike": grant("u-1", "u-10"),
      "taken away": once("role.revoked", { actor: person("u-1"), data: { subject: "u-1" } }),
      "the first admin, at init": once("role.granted", { actor: host(1000), data: { subject: "u-1" } }),
    },
  },
  {
    file: "admin_grants_self.yml",
    title: "a group for oneself",
    sigma: "Somebody granted themselves a right in sallyport",
    wazuh: 100591,
    match: once("group.member_added", { actor: person("u-1"), data: { user: "u-1" } }),
    misses: {
      "for another": once("group.member_added", { actor: person("u-1"), data: { user: "u-2" } }),
      "left it": once("group.member_removed", { actor: person("u-1"), data: { user: "u-1" } }),
    },
  },
];
