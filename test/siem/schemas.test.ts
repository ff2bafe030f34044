import { readFileSync } from "node:fs";
import t from "tap";
import { CATALOGUE, type EventType } from "../../src/audit/catalogue.ts";
import { repoPath } from "../../src/host/self.ts";
import { cefLine } from "../../src/siem/cef.ts";
import { ecsKind, entryLine } from "../../src/siem/ecs.ts";
import { ocsfLine } from "../../src/siem/ocsf.ts";
import { ocsfKind } from "../../src/siem/ocsf-kinds.ts";
import { entryOf, exampleOf } from "./examples.ts";
import { cefProblems, ecsProblems, ocsfProblems } from "./schemas.ts";

/** Every event of the catalogue, in every format, held against what the formats' own schemas say (test/vectors/README.md). */

const TYPES = Object.keys(CATALOGUE) as EventType[];
const vector = (name: string): string => readFileSync(repoPath(`test/vectors/${name}.json`), "utf8");
const ECS = JSON.parse(vector("ecs"));
const OCSF = JSON.parse(vector("ocsf"));

/** With all its fields, with none, and of each kind of actor. */
function* shapes(type: EventType) {
  const example = exampleOf(type);
  yield example;
  yield { ...example, data: undefined };
  yield { type, outcome: "unknown", actor: { kind: "system" } } as typeof example;
  yield { ...example, outcome: "denied", actor: { kind: "slack", enterprise: null, team: "T", user: "U" } };
  yield { ...example, actor: { kind: "host", uid: 0, loginUid: null } };
}

for (const [format, line, problems] of [
  ["ecs", entryLine, (text: string) => ecsProblems(ECS, JSON.parse(text))],
  ["ocsf", ocsfLine, (text: string) => ocsfProblems(OCSF, JSON.parse(text))],
  ["cef", cefLine, cefProblems],
] as const)
  t.test(`${format}: every event of the catalogue`, async (t) => {
    for (const type of TYPES)
      for (const event of shapes(type)) {
        const { bytes, leaf } = entryOf(event as Parameters<typeof entryOf>[0]);
        const text = line(bytes, 7, leaf);
        t.equal(text.indexOf("\n"), text.length - 1, `${type}: one line`);
        t.strictSame(problems(text.trimEnd()), [], `${type}: ${text}`);
      }
  });

t.test("every event has a class of its own in both, not the one for what is unknown", async (t) => {
  for (const type of TYPES) {
    t.not(ecsKind(type).category, ecsKind("invented.thing").category, `${type}: a row in src/siem/ecs.ts`);
    t.not(
      ocsfKind(type).activityName,
      ocsfKind("invented.thing").activityName,
      `${type}: a row in src/siem/ocsf-kinds.ts`,
    );
  }
});

t.test("rights given to a group are a change of the group", async (t) => {
  const lineOf = (subjectKind: string) => {
    const data = { role: "runner", subject: "x-1", subjectKind };
    const { bytes, leaf } = entryOf({
      type: "role.granted",
      outcome: "success",
      actor: { kind: "system" },
      data,
    });
    const line = JSON.parse(ocsfLine(bytes, 7, leaf, "ops1"));
    t.strictSame(ocsfProblems(OCSF, line), []);
    return line;
  };
  t.match(lineOf("group"), { type_uid: 300601, group: { uid: "x-1" }, privileges: ["runner"] });
  t.match(lineOf("user"), { type_uid: 300107, user: { uid: "x-1" } });
});

t.test("classes and activities that were agreed", async (t) => {
  const of = (type: EventType) => {
    const { bytes, leaf } = entryOf(exampleOf(type));
    return JSON.parse(ocsfLine(bytes, 7, leaf, "ops1"));
  };
  for (const [type, uid] of [
    ["authn.code_accepted", 300201],
    ["authz.denied", 600399],
    ["run.started", 100701],
    ["run.finished", 100702],
    ["secret.read", 600501],
    ["role.granted", 300107],
    ["appliance.unlocked", 600206],
    ["appliance.locked", 600207],
    ["appliance.unlock_failed", 300201],
    ["log.exported", 100803],
  ] as const)
    t.equal(of(type).type_uid, uid, type);
  t.match(of("authz.denied"), { activity_name: "Execute", action_id: 2, disposition_id: 2, severity_id: 3 });
  t.match(of("appliance.unlock_failed"), { logon_type_id: 7, status_id: 2, severity_id: 4 });
  t.match(of("policy.added"), { class_uid: 3004, entity: { type_id: 5 } });
  t.match(of("run.finished"), { exit_code: 1, device: { hostname: "ops1" } });
});

t.test("the checks find what is wrong", async (t) => {
  const { bytes, leaf } = entryOf(exampleOf("authz.denied"));
  const ecs = () => JSON.parse(entryLine(bytes, 7, leaf));
  const ecsOf = (change: (line: ReturnType<typeof ecs>) => void) => {
    const line = ecs();
    change(line);
    return ecsProblems(ECS, line).length;
  };
  t.equal(
    ecsOf((l) => (l.event.type = ["start", "creation"])),
    0,
    "api has both",
  );
  t.equal(
    ecsOf((l) => (l.event.type = ["connection"])),
    1,
  );
  t.equal(
    ecsOf((l) => (l.event.category = ["apis"])),
    1,
  );
  t.equal(
    ecsOf((l) => (l.event.outcome = "denied")),
    1,
  );
  t.equal(
    ecsOf((l) => (l.event.sequence = "7")),
    1,
  );
  t.equal(
    ecsOf((l) => (l.user.uid = 5)),
    1,
  );
  t.equal(
    ecsOf((l) => (l.sallyport.list = [{}])),
    1,
    "an array of objects",
  );
  const ocsfOf = (change: (line: ReturnType<typeof ecs>) => void) => {
    const line = JSON.parse(ocsfLine(bytes, 7, leaf));
    change(line);
    return ocsfProblems(OCSF, line).length;
  };
  t.equal(
    ocsfOf(() => {}),
    0,
  );
  for (const gone of ["api", "actor", "src_endpoint", "time", "metadata", "severity_id"])
    t.ok(
      ocsfOf((l) => delete l[gone]),
      `without ${gone}`,
    );
  t.ok(ocsfOf((l) => (l.type_uid = 600301)));
  t.ok(ocsfOf((l) => (l.activity_id = 7)));
  t.ok(ocsfOf((l) => (l.api = {})));
  t.ok(ocsfOf((l) => (l.actor = {})));
  t.ok(ocsfOf((l) => (l.device.type_id = 77)));
  t.ok(ocsfOf((l) => (l.extra = 1)));
  t.ok(ocsfOf((l) => (l.time = "now")));
  t.ok(
    ocsfOf((l) => (l.metadata.profiles = ["host"])),
    "action without the profile that has it",
  );
  const cef = cefLine(bytes, 7, leaf);
  t.strictSame(cefProblems(cef.trimEnd()), []);
  t.ok(cefProblems(cef.trimEnd().replace("|5|", "|11|")).length);
  t.ok(cefProblems(cef.trimEnd().replace("externalId", "exter nal")).length);
});
