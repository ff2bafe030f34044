import { addAppliance } from "./admin/appliance.ts";
import { addAudit } from "./admin/audit.ts";
import { makeAdmin } from "./admin/context.ts";
import { addOps } from "./admin/ops.ts";
import { addPeople } from "./admin/people.ts";
import { addPolicies } from "./admin/policies.ts";
import { addRights } from "./admin/rights.ts";
import { addRuns } from "./admin/runs.ts";
import { addRuntimes } from "./admin/runtimes.ts";
import { addSecrets } from "./admin/secrets.ts";
import { addVaults } from "./admin/vaults.ts";
import { addWaits } from "./admin/waits.ts";
import { makeProgram, runProgram } from "./program.ts";

/** Every command that talks to the keeper; it decides nothing. */
export async function main(argv: string[]): Promise<number> {
  const program = makeProgram().enablePositionalOptions();
  let status = 0;
  const admin = makeAdmin((code) => {
    status = code;
  });
  addAppliance(program, admin);
  addPeople(program, admin);
  addRights(program, admin);
  addPolicies(program, admin);
  addOps(program, admin);
  addSecrets(program, admin);
  addRuntimes(program, admin);
  addVaults(program, admin);
  addRuns(program, admin);
  addWaits(program, admin);
  addAudit(program, admin);
  return runProgram(program, argv, () => status);
}
