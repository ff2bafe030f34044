import t from "tap";
import { pairs, table } from "../../src/cli/print.ts";

t.test("fields for people: no JSON, no null, no true", async (t) => {
  t.same(
    pairs({
      state: "sealed",
      problem: null,
      sinks: [],
      limits: undefined,
      roles: { keeper: true, gateway: false },
      outputs: { stdout: { dropped: 0, problem: null } },
      groups: ["leads", "ops"],
    }),
    [
      "state    sealed",
      "problem  -",
      "sinks    -",
      "roles    keeper: yes, gateway: no",
      "outputs  stdout: (dropped: 0, problem: -)",
      "groups   leads, ops",
    ],
  );
});

t.test("columns are as wide as their widest cell, and a cell drives no terminal", async (t) => {
  t.same(table(["name", "what"], [["a\u001b[2J", "x"]]).length, 2);
  t.notMatch(table(["name"], [["a\u001b[2J"]]).join("\n"), /\u001b/);
  t.same(table(["a", "b"], [["long cell", "x"]]), ["a          b", "long cell  x"]);
});
