import { createHmac, timingSafeEqual } from "node:crypto";
import { checkOrigin, checkpointText } from "../../audit/checkpoint.ts";
import { NOTHING_SIGNED, type SignedState, type SignRequest, signRefusal } from "../../audit/notary.ts";
import { type Signer, signerFromSeed, signNote } from "../../audit/note.ts";
import { lengthPrefixed } from "../../core/canonical.ts";
import { OpenFailed, open, seal, subkey } from "../../keys/envelope.ts";
import { keyBuffer, randomKey, wipe } from "../../keys/memory.ts";
import { DirectoryDamaged, damaged, type NotaryDirectory, toSignedFile } from "./directory.ts";

export const KEEPER_HALF_BYTES = 32;
const SEED_BYTES = 32;

/** The notary will not do what was asked; the reason goes to the keeper, which makes it a critical event. */
export class Refused extends Error {
  override readonly name = "Refused";
  /** "history": the log is not an extension of what was signed. "state": asked about another state than the last signed one. */
  readonly kind: "history" | "state" | "unusable";

  constructor(message: string, options: { cause?: unknown; kind?: Refused["kind"] } = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.kind = options.kind ?? "unusable";
  }
}

export type Opened = SignedState & { vkey: string; fresh: boolean };

/**
 * Holds the log's key while the appliance is open. The key at rest is wrapped under HKDF(keeper's half || own half), so
 * neither the keeper nor a copy of this directory opens it.
 */
export class Keyholder {
  readonly #directory: NotaryDirectory;
  #origin = "";
  #signer: Signer | undefined;
  #macKey: Buffer | undefined;
  #last: SignedState = NOTHING_SIGNED;

  constructor(directory: NotaryDirectory) {
    this.#directory = directory;
  }

  get lastSize(): number {
    return this.#last.size;
  }

  /**
   * Opens the key, or makes a new one where the directory holds nothing. `fresh` as long as nothing was signed with it:
   * a new key in an old log has to become an event. Throws Refused.
   */
  open(origin: string, keeperHalf: Uint8Array): Opened {
    // The keeper asks again after an answer that it lost; what was signed is read anew from the directory.
    this.close();
    if (keeperHalf.length !== KEEPER_HALF_BYTES) throw new Refused("The keeper's half is not 32 bytes.");
    try {
      checkOrigin(origin);
      if (this.#directory.readKey() === null) this.#create(origin, keeperHalf);
      return this.#load(origin, keeperHalf);
    } catch (error) {
      this.close();
      if (error instanceof Refused) throw error;
      if (error instanceof DirectoryDamaged) throw new Refused(error.message, { cause: error });
      throw new Refused(`The notary's directory can't be used: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }

  /** The signed checkpoint. The new state is on the disk before the signature exists. Throws Refused. */
  sign(request: SignRequest): string {
    if (this.#signer === undefined || this.#macKey === undefined)
      throw new Refused("The notary is not open.");
    const why = signRefusal(this.#last, request);
    const { size, root } = request;
    if (why !== null) {
      const isBehind = request.fromSize !== this.#last.size && size >= this.#last.size;
      throw new Refused(why, { kind: isBehind ? "state" : "history" });
    }
    if (size !== this.#last.size) {
      try {
        this.#directory.writeSigned(toSignedFile({ size, root }, this.#mac({ size, root })));
      } catch (error) {
        const detail = `The notary can't remember what it signs: ${(error as Error).message}`;
        throw new Refused(detail, { cause: error });
      }
      this.#last = { size, root };
    }
    return signNote(checkpointText({ origin: this.#origin, size, root }), [this.#signer]);
  }

  close(): void {
    wipe(this.#macKey);
    this.#macKey = undefined;
    this.#signer = undefined;
    this.#last = NOTHING_SIGNED;
  }

  /** The key file is written last, so a kill before it leaves a directory that counts as empty. */
  #create(origin: string, keeperHalf: Uint8Array): void {
    const signed = this.#directory.readSigned();
    if (signed !== null && signed.size > 0) throw damaged("key.json", "is missing");
    const half = randomKey(KEEPER_HALF_BYTES);
    const seed = randomKey(SEED_BYTES);
    const both = join(keeperHalf, half);
    const wrapKey = subkey(both, "notaryWrap", [origin]);
    try {
      const { vkey } = signerFromSeed(origin, seed);
      this.#directory.writeHalf(half);
      this.#unlockMac(both, origin, vkey);
      this.#directory.writeSigned(toSignedFile(NOTHING_SIGNED, this.#mac(NOTHING_SIGNED)));
      const wrapped = seal(wrapKey, seed, ["notary key", origin, vkey]).toString("base64");
      this.#directory.writeKey({ version: 1, origin, vkey, wrapped });
    } finally {
      wipe(half, seed, both, wrapKey);
    }
  }

  #load(origin: string, keeperHalf: Uint8Array): Opened {
    const key = this.#directory.readKey();
    const half = this.#directory.readHalf();
    const signed = this.#directory.readSigned();
    if (key === null) throw damaged("key.json", "is missing");
    if (half === null) throw damaged("half", "is missing");
    if (signed === null) throw damaged("signed.json", "is missing");
    if (key.origin !== origin)
      throw new Refused(`The notary's key is that of another log (${JSON.stringify(key.origin)}).`);
    const both = join(keeperHalf, half);
    const wrapKey = subkey(both, "notaryWrap", [origin]);
    let seed: Buffer | undefined;
    try {
      seed = open(wrapKey, Buffer.from(key.wrapped, "base64"), ["notary key", origin, key.vkey]);
      const signer = signerFromSeed(origin, seed);
      if (signer.vkey !== key.vkey) throw damaged("key.json", "names another verifier key than its own");
      this.#unlockMac(both, origin, key.vkey);
      const last = { size: signed.size, root: Buffer.from(signed.root, "base64") };
      if (!timingSafeEqual(Buffer.from(this.#mac(last), "hex"), Buffer.from(signed.mac, "hex")))
        throw damaged("signed.json", "was changed by someone else");
      this.#origin = origin;
      this.#signer = signer;
      this.#last = last;
      return { ...last, vkey: key.vkey, fresh: last.size === 0 };
    } catch (error) {
      if (!(error instanceof OpenFailed)) throw error;
      throw damaged(
        "key.json or half",
        "does not open with the keeper's half: it is damaged or of another appliance",
      );
    } finally {
      wipe(half, both, wrapKey, seed);
    }
  }

  #unlockMac(both: Buffer, origin: string, vkey: string): void {
    wipe(this.#macKey);
    this.#macKey = subkey(both, "notaryMac", [origin, vkey]);
  }

  #mac({ size, root }: SignedState): string {
    return createHmac("sha256", this.#macKey!)
      .update(lengthPrefixed(["signed", String(size), root]))
      .digest("hex");
  }
}

function join(keeperHalf: Uint8Array, ownHalf: Uint8Array): Buffer {
  const both = keyBuffer(keeperHalf.length + ownHalf.length);
  both.set(keeperHalf);
  both.set(ownHalf, keeperHalf.length);
  return both;
}
