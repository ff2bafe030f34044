import { OCI_ENGINES } from "../../src/core/engines.ts";
import { type Attempt, BATTERY } from "../../src/exec/battery.ts";
import { OCI_DIFFERENCES } from "../../src/exec/oci-battery.ts";
import { tableDifferences } from "./oci-table.ts";
import { isReported } from "./reported.ts";
import { containmentTable } from "./table.ts";

/** What no probe tries alone, and where it is tried. */
const ELSEWHERE: readonly (readonly [attempt: string, expect: string, test: string])[] = [
  ["kill(-1)", "reaches the own tree only", "battery.test.ts"],
  [
    "see a sibling: its processes, abstract sockets, shared memory, /tmp",
    "nothing of it is there",
    "battery.test.ts",
  ],
  ["fill /tmp and /dev/shm, by bytes and by files", "ENOSPC at the limit", "resources.test.ts"],
  ["fork bomb", "EAGAIN at the limit; the record says so", "resources.test.ts"],
  ["memory bomb, on the heap and in /tmp", "the run is ended; the record says so", "resources.test.ts"],
  ["open more files than allowed", "EMFILE at the limit", "resources.test.ts"],
  ["spin", "ended at the time limit", "resources.test.ts"],
  ["leave zombies", "reaped by PID 1", "resources.test.ts"],
  ["flood stdout, stderr and fd 3", "cut at the limit; no other Op waits", "resources.test.ts"],
  [
    "ignore TERM, double fork, setsid, stop itself, fork on and on",
    "dead within the second after any end of the run",
    "../exec/death-matrix.test.ts",
  ],
  [
    "outlive the launcher, runner or keeper",
    "dead, nothing left",
    "../faults/death-matrix.test.ts, ../faults/engine-deaths.test.ts",
  ],
  [
    "reach out of a resource of the host, swap it for a link",
    "stays inside; the run does not start",
    "../e2e/resources.test.ts",
  ],
  ["reach what the network grant does not name", "refused, and an event", "../e2e/network.test.ts"],
  ["each call of the set-up made to fail in turn", "the Op never starts", "../sandbox/every-call.test.ts"],
];

const cell = (text: string): string => text.replaceAll("|", "\\|");
const code = (text: string): string => `\`${cell(text)}\``;
const plain = (expect: RegExp): string => expect.source.replace(/^\^(.*)\$$/, "$1").replaceAll("\\/", "/");

const DIFFERENCES = tableDifferences({ pid: 0 });

function row(attempt: Attempt): string {
  const others = OCI_ENGINES.filter(
    (engine) =>
      OCI_DIFFERENCES[engine][attempt.probe] !== undefined ||
      DIFFERENCES[engine][attempt.probe] !== undefined,
  );
  const report = isReported(attempt) ? "yes" : "";
  return `| ${cell(attempt.name)} | ${code(plain(attempt.expect))} | ${report} | ${others.join(", ")} |`;
}

/** docs/containment.md. */
export function page(): string {
  const [file, socket, shared] = ["/BAIT", "/BAIT", "/dev/shm/BAIT"];
  const bait = { port: 0, abstract: "BAIT", socket, file, shared, key: 0, pid: 0, hostname: "BAIT" };
  const groups = { "at every start, and when doctor asks": BATTERY, ...containmentTable(bait) };
  const lines = [
    "# What an Op tries, and what must come of it",
    "Made from the tables that the tests run (`WRITE=1` before `test/containment/page.test.ts` makes it anew). Each line is an Op that",
    "tries it in a real sandbox, as root and as an ordinary user. The answer is an errno, a signal, or a fact. *Reported*: the run's record",
    "and the log name the refused call (`test/containment/reported.test.ts` tries each alone). *Differs*: under these engines the answer",
    "is another one that is as good; `test/containment/oci.test.ts` and `oci-table.ts` say which.",
  ];
  for (const [group, attempts] of Object.entries(groups)) {
    lines.push(
      "",
      `## ${group[0]!.toUpperCase()}${group.slice(1)}`,
      "| attempt | answer | reported | differs |",
      "|---|---|---|---|",
    );
    lines.push(...attempts.map(row));
  }
  lines.push("", "## Tried otherwise", "| attempt | what comes of it | test |", "|---|---|---|");
  for (const [attempt, expect, test] of ELSEWHERE) lines.push(`| ${attempt} | ${expect} | ${code(test)} |`);
  return `${lines.join("\n")}\n`;
}
