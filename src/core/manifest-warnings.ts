import { classOf, parseAddress } from "./addresses.ts";
import { engineConflict } from "./engines.ts";
import type { Manifest } from "./manifest.ts";
import { inputOf } from "./manifest-command.ts";
import { targetText } from "./manifest-shape.ts";

/** What is allowed yet worth a look: `op validate` and `op publish` print the same. */
export function manifestWarnings(manifest: Manifest): string[] {
  const warnings: string[] = [];
  const { command } = manifest;
  if (command.kind === "argv") {
    const end = command.argv.indexOf("--");
    for (const [i, element] of command.argv.entries()) {
      const input = manifest.inputs.find(({ name }) => name === inputOf(element));
      if (input?.type !== "string" || input.enum !== undefined || (end !== -1 && end < i)) continue;
      warnings.push(
        `run[${i}]: a value of ${input.name} that starts with "-" may be read as an option; put "--" before it if the program knows that.`,
      );
    }
  }
  if (manifest.approval !== null && manifest.approval.group === null) {
    warnings.push("approval: without a group, anybody with the right to approve in the namespace can.");
  }
  for (const target of manifest.network) {
    const address = parseAddress(target.host);
    if (address !== null && target.private !== true && classOf(address) !== "public")
      warnings.push(
        `network: ${target.host} is no public address; to be let through it is written {to: "${targetText(target)}", private: true}.`,
      );
  }
  const conflict = engineConflict(manifest.engine ?? "native", manifest);
  if (conflict !== null) warnings.push(`it can't run as it is: ${conflict}.`);
  return warnings;
}

/** What the ceiling takes from a bundle's system call profile, as the compiler noted it: "narrowed clone", "refused ptrace". */
export function profileWarnings(file: string, notes: readonly string[]): string[] {
  const calls = (word: string): string =>
    notes
      .filter((note) => note.startsWith(`${word} `))
      .map((note) => note.slice(word.length + 1))
      .join(", ");
  const narrowed = calls("narrowed");
  const refused = calls("refused");
  return [
    ...(narrowed === ""
      ? []
      : [`${file}: the host's ceiling allows these with some arguments only: ${narrowed}.`]),
    ...(refused === "" ? [] : [`${file}: the host's ceiling keeps these refused: ${refused}.`]),
  ];
}
