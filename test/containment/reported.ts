import type { Attempt } from "../../src/exec/battery.ts";

/** Refused without a word: what libraries ask for at every start, or in vain on most hosts. */
const QUIET = [
  "call:clone3",
  "call:io_uring_setup",
  "call:unknown",
  "call:keyctl",
  "call:add_key",
  "call:kcmp",
  "call:syslog",
  "call:lookup_dcookie",
  "call:process_madvise",
  "call:request_key",
  "call:modify_ldt",
  "call:move_pages",
  "call:migrate_pages",
  "call:name_to_handle_at",
  "call:memfd_secret",
];
/** No call is refused: it ends the process, is answered by a file system or an address, or is a fact. */
const CALLS = /^(call:|socket:|tcp:|udp:|ptrace:|traceme$|vm-|pidfd-getfd:|listener$|interfaces$)/;
const KILLED = ["call:x32", "int80"];

/** Whether the run's record must name the refused call. */
export function isReported({ probe }: Pick<Attempt, "probe">): boolean {
  return CALLS.test(probe) && !QUIET.includes(probe) && !KILLED.includes(probe);
}
