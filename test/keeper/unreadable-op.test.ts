import t from "tap";
import { createAuthorizer } from "../../src/core/authorizer.ts";
import { Access } from "../../src/keeper/access.ts";
import { findOp, visibleOps } from "../../src/keeper/find-op.ts";
import { SitePolicies } from "../../src/keeper/site-policies.ts";
import { DEFAULTS, SCHEMA } from "../core/authorizer-rig.ts";
import { HEARTBEAT } from "../store/scratch.ts";
import { Rig } from "./runs-rig.ts";

t.test(
  "an Op that was stored under other rules is refused by itself, and keeps nothing else from working",
  async (t) => {
    const rig = await Rig.make(t);
    const authorizer = createAuthorizer({ schema: SCHEMA, policies: DEFAULTS });
    const options = { schema: SCHEMA, policies: DEFAULTS };
    const policies = new SitePolicies({ store: rig.store, authorizer, options, now: Date.now });
    const access = new Access({ store: rig.store, authorizer, now: Date.now });
    t.equal((await visibleOps(access, rig.store.read, rig.caller)).length, 1);
    t.strictSame(await policies.load(), []);
    await rig.store.mutate(async (tx) => {
      tx.log(HEARTBEAT);
      await tx.run(
        'UPDATE op_versions SET manifest = replace(manifest, \'"reply":"channel"\', \'"reply":"fax"\')',
      );
    });
    const [unreadable] = await policies.load();
    t.match(unreadable, { namespace: "web", name: "restart" }, "the unlock goes on, and logs it");
    t.strictSame(await visibleOps(access, rig.store.read, rig.caller), []);
    await t.rejects(findOp(access, rig.store.read, rig.caller, "web/restart"), {
      code: "manifest_invalid",
      detail: /published under rules that this version no longer accepts; publish it again/,
    });
    await t.rejects(rig.request(), { code: "manifest_invalid" });
  },
);
