import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { checkpointText } from "../../src/audit/checkpoint.ts";
import { NOTHING_SIGNED, signRefusal } from "../../src/audit/notary.ts";
import { signerFromSeed, signNote } from "../../src/audit/note.ts";
import { Checkpoints } from "../../src/keeper/checkpoints.ts";
import { LogDirectory } from "../../src/keeper/log-directory.ts";
import { type NotaryClient, NotaryRefusal } from "../../src/keeper/notary.ts";
import type { Store } from "../../src/store/store.ts";
import { checkLogDirectory, type LogDirectoryReport } from "../audit/log-directory.ts";
import { HEARTBEAT } from "../store/scratch.ts";

export const signer = signerFromSeed("sallyport.example/log", Buffer.alloc(32, 1));
const origin = signer.name;
const vkeys = [signer.vkey];

/** Judges and signs as the real role does, within this process. */
export class LocalNotary implements Pick<NotaryClient, "sign"> {
  last = NOTHING_SIGNED;
  asked = 0;

  async sign(
    request: Parameters<NotaryClient["sign"]>[0],
  ): Promise<Awaited<ReturnType<NotaryClient["sign"]>>> {
    this.asked++;
    const { fromSize, size } = request;
    const root = Buffer.from(request.root, "base64");
    const consistency = request.consistency.map((hash) => Buffer.from(hash, "base64"));
    const why = signRefusal(this.last, { fromSize, size, root, consistency });
    if (why !== null) {
      const kind = fromSize !== this.last.size && size >= this.last.size ? "state" : "history";
      throw new NotaryRefusal({ type: "notary.refused", size, kind, reason: why });
    }
    this.last = { size, root };
    return {
      type: "notary.signed",
      size,
      checkpoint: signNote(checkpointText({ origin, size, root }), [signer]),
    };
  }
}

/** Checkpoints and log directory as a session has them, over a real store. */
export class Signing {
  readonly dir: string;
  readonly notary: LocalNotary;
  readonly store: Store;
  readonly directory: LogDirectory;
  readonly checkpoints: Checkpoints;
  readonly failures: string[] = [];
  readonly refusals: NotaryRefusal[] = [];
  signed = 0;
  reopened = 0;
  /** What the notary says when it is asked again. */
  reopen: () => number | null = () => this.notary.last.size;

  constructor(o: { store: Store; dir: string; notary?: LocalNotary }) {
    this.store = o.store;
    this.dir = o.dir;
    this.notary = o.notary ?? new LocalNotary();
    const failed = (error: unknown) => this.failures.push((error as Error).message);
    this.directory = new LogDirectory({ dir: o.dir, log: o.store.log, origin, vkeys: () => vkeys, failed });
    this.checkpoints = new Checkpoints({
      store: o.store,
      notary: this.notary,
      directory: this.directory,
      from: this.notary.last.size,
      signed: () => this.signed++,
      refused: (refusal) => {
        this.refusals.push(refusal);
        void this.append(1);
      },
      reopen: async () => {
        this.reopened++;
        return this.reopen();
      },
      failed,
    });
  }

  async append(count: number): Promise<void> {
    await this.store.mutate((tx) => {
      for (let i = 0; i < count; i++) tx.log(HEARTBEAT);
    });
  }

  /** Signs what is there and waits for the directory. */
  async settle(): Promise<void> {
    await this.checkpoints.now();
    await this.directory.idle();
  }

  report(): LogDirectoryReport {
    return checkLogDirectory(this.dir, origin, vkeys);
  }
}

export function emptyLogDir(dir: string): string {
  const made = join(dir, "log");
  mkdirSync(made);
  return made;
}
