import { readdirSync } from "node:fs";
import t from "tap";
import { FILE_TIMEOUT } from "../../faults/support.ts";
import { Playing, processesOf, scratchDir, scriptFile } from "./play.ts";

t.setTimeout(FILE_TIMEOUT);

t.test("a script is read whole before anything starts", async (t) => {
  const dir = scratchDir(t);
  const cases: [string[], RegExp][] = [
    [["alice: /ops list", "frobnicate"], /Line 2: "frobnicate" means nothing here/],
    [["", "# fine", "eve: /ops list"], /Line 3: There is no eve here; there are alice, bob, mallory\./],
    [["in #elsewhere"], /Line 1: There is no channel #elsewhere/],
    [["host: rm -rf /"], /Line 1: Only sallyport can be run on the host/],
    [["host: sallyport serve"], /Line 1: sallyport serve has been done by the demo/],
    [["/deploy now"], /Line 1: "\/deploy now" means nothing here/],
    [["bob: /ops list", 'host: sallyport "'], /Line 2: /],
  ];
  for (const [lines, what] of cases) {
    const { status, out, err } = await new Playing(["--script", "-"], dir, lines.join("\n")).done;
    t.equal(status, 2, lines.join(" | "));
    t.match(err, what);
    t.equal(out, "", "nothing was started");
  }
  const missing = await new Playing(["--script", `${dir}/none`], dir).done;
  t.match(missing, { status: 2, err: /can't be read \(ENOENT\)/ });
  t.same((await new Playing(["--frob"], dir).done).status, 2);
  t.same(readdirSync(dir), []);
});

t.test("a line that can't be performed is named", async (t) => {
  const dir = scratchDir(t);
  const { status, err } = await new Playing(["--script", scriptFile(dir, ["", "bob: click Approve"])], dir)
    .done;
  t.equal(status, 1);
  t.match(err, /Line 2 of the script: bob sees no button Approve here\./);
  t.same([readdirSync(dir), processesOf(dir)], [["lines.script"], []], "nothing is left");
});
