import { OCI_ENGINES } from "../../src/core/engines.ts";
import { type Attempt, BATTERY } from "../../src/exec/battery.ts";
import { OCI_DIFFERENCES } from "../../src/exec/oci-battery.ts";
import { ELSEWHERE } from "./elsewhere.ts";
import { tableDifferences } from "./oci-table.ts";
import { isReported } from "./reported.ts";
import { containmentTable } from "./table.ts";

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
    "tries it in a real sandbox, as root and as an ordinary user, natively (`test/containment/battery.test.ts`) and under crun, runc and",
    "gVisor (`oci.test.ts`). The answer is an errno, a signal, or a fact. *Reported*: the run's record and the log name the refused call,",
    "once each (`reported.test.ts` tries each alone; crun and runc report the same, gVisor nothing); without it none is named. *Differs*:",
    "under these engines the answer is another one that is as good (`src/exec/oci-battery.ts` and `test/containment/oci-table.ts` say why).",
    "",
    "What is no boundary is in [SECURITY.md](../SECURITY.md): bugs of the kernel, timing, what the Op's own grant allows.",
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
  lines.push(
    "",
    "## Tried otherwise",
    "| attempt | what comes of it | engines | test |",
    "|---|---|---|---|",
  );
  for (const { attempt, comes, engines, file, test } of ELSEWHERE)
    lines.push(`| ${attempt} | ${comes} | ${engines} | ${code(file)}${test && `: ${cell(test)}`} |`);
  return `${lines.join("\n")}\n`;
}
