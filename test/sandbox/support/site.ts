import type { RoleSite } from "../../../src/cli/role-confinement.ts";
import type { Dirs } from "../../../src/host/dirs.ts";

/** A site with these directories that decided nothing else, for roles that a test starts. */
export function plainSite(dirs: Dirs): RoleSite {
  return {
    dirs,
    slackApiUrl: "https://slack.com/api/",
    gatewayArgs: [],
    limits: "best-effort",
    runtimes: "/nonexistent",
    private: [],
    engine: "native",
    resources: [],
    vaults: {},
  };
}
