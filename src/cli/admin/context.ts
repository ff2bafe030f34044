import type { Command as Program } from "commander";
import type { Command, CommandParams } from "../../wire/ctl.ts";
import { type CallOptions, callKeeper } from "../client.ts";
import { printData } from "../print.ts";
import { dirsOf, globalsOf } from "../program.ts";

/** What a command group needs: ask the keeper, print what it said, leave an exit status. */
export type Admin = {
  call<C extends Command>(
    program: Program,
    command: C,
    params: CommandParams<C>,
    o?: CallOptions,
  ): Promise<unknown>;
  /** Asks and prints: JSON where asked for, else the lines. */
  show<C extends Command, D = Record<string, unknown>>(
    program: Program,
    command: C,
    params: CommandParams<C>,
    lines: (data: D) => string[],
    o?: CallOptions,
  ): Promise<void>;
  exit(status: number): void;
};

export function makeAdmin(exit: (status: number) => void): Admin {
  const call: Admin["call"] = (program, command, params, o) =>
    callKeeper(dirsOf(globalsOf(program)).run, command, params, o);
  return {
    call,
    exit,
    async show(program, command, params, lines, o) {
      const data = await call(program, command, params, o);
      o?.onData?.(data);
      printData(data, globalsOf(program).json, () => lines(data as never));
    },
  };
}
