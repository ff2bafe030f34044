/** What differs from one honest run to the next: ids, digests, keys, times, sizes of this host's disks. */
const RULES: readonly (readonly [RegExp, string])[] = [
  // What this host does not give to sandboxes.
  [/^sandbox {2,}.*\n/gm, ""],
  [/\br-[0-9a-z]{16}\b/g, "r-<run>"],
  [/\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/g, "<time>"],
  [/^(\s*)Duration: .*$/gm, "$1Duration: <time>"],
  [/^ +\d+ (?=<time>)/gm, "    <seq> "],
  [/\d+ entries, \d+ checkpoints/g, "<n> entries, <n> checkpoints"],
  [/^( +(?:root|vkey) ).*$/gm, "$1 <key>"],
  // What a tool says when it is stopped is its own wording, and not every host has every tool.
  [/(?:stopped|not tried): .*$/gm, "<stopped>"],
  [/The sandbox refused: .*$/gm, "The sandbox refused: <calls>"],
  [/(?:^.* sandbox\.denied denied .*\n)+/gm, "    <sandbox.denied entries>\n"],
  [/^(\s*│ )Filesystem .*$/gm, "$1Filesystem <columns>"],
  [/^(\s*│ )\S+\s+\S+\s+\S+\s+\S+\s+\d+% (\/\S*)$/gm, "$1<sizes> $2"],
  [/^(\s*│ )\d+ of \d+$/gm, "$1<n> of <n>"],
  [/(?<=Processes that I can see: )\d+/g, "<n>"],
  // How often a run's message is refreshed depends on how fast the host is. The last state does not.
  [/^ {2}sallyport in #\w+(?:, edited)?:\n {4}▶ (?:.+\n)+\n/gm, ""],
  [/, edited:$/gm, ":"],
  [/[ \t]+$/gm, ""],
];

export function normal(transcript: string): string {
  return RULES.reduce((text, [pattern, put]) => text.replace(pattern, put), `${transcript.trim()}\n`).trim();
}

/** README's block between its markers, without the code fence; null where there are no markers. */
export function readmeBlock(readme: string): string | null {
  const found = /<!-- demo:begin -->\n([\s\S]*?)<!-- demo:end -->/.exec(readme);
  if (found === null) return null;
  return (found[1] ?? "").replace(/^\s*```\w*\n|\n```\s*$/g, "");
}
