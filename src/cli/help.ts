import { cleanText } from "../core/text.ts";
import { VERSION } from "../host/self.ts";
import { COMMANDS } from "./commands.ts";

const TEXT = `sallyport ${VERSION}: runs a team's automations (Ops) from Slack on a host of its own

  sallyport init                              make state directory, keyring, database and first admin
  sallyport serve                             run all roles under this terminal
  sallyport unlock | lock | status | doctor
  sallyport slack connect | manifest | status
  sallyport user add|list|show|disable|enable|totp      sallyport link CODE [--user NAME]    sallyport unlink ID --team ID
  sallyport group add|list|member add|member remove
  sallyport role grant|revoke|list
  sallyport namespace add|list|channel add|channel remove|engine|two-person-publish|rotate-key
  sallyport op validate|test|publish|list|show|versions|diff|activate|rollback|disable      sallyport runtime import|list|remove
  sallyport secret set|rotate|describe|list|versions|remove NAMESPACE/NAME
  sallyport vault login|logout|list|check
  sallyport run NAMESPACE/OP [--INPUT VALUE ...]   sallyport cancel RUN      sallyport runs [list|show]
  sallyport approve RUN      sallyport deny RUN      sallyport policy add|remove|list|show|check|explain
  sallyport audit log|verify|checkpoint|export|prove
  sallyport demo                              try it all against a simulated workspace, nothing to configure

Each takes --help. Directories: --state-dir, --run-dir, --log-dir or SALLYPORT_STATE_DIR, SALLYPORT_RUN_DIR, SALLYPORT_LOG_DIR.
Exit status: 0 done, 1 failed, 2 usage, 3 refused, 4 sealed, 5 not running, 6 integrity failure.
`;

/** Help, and the answer to a word that is no command. */
export async function main(argv: string[]): Promise<number> {
  const isAsked = argv.length === 0 || argv.includes("--help") || argv.includes("-h") || argv[0] === "help";
  if (isAsked) {
    process.stdout.write(TEXT);
    return 0;
  }
  const word = argv.find((arg) => !arg.startsWith("-")) ?? argv[0] ?? "";
  const near = Object.keys(COMMANDS).filter((name) => name[0] === word[0]);
  process.stderr.write(
    `sallyport: there is no command "${cleanText(word)}".${near.length > 0 ? ` Did you mean ${near.join(" or ")}?` : ""} See: sallyport --help\n`,
  );
  return 2;
}
