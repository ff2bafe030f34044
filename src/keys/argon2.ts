import { loadAddon } from "../host/addon.ts";

/**
 * The argon2 package's addon, without the package's own wrapper: that copies the passphrase into a Buffer that nobody
 * wipes. The addon itself clears its copies of password and secret (ARGON2_FLAG_CLEAR_PASSWORD).
 */
export type Argon2Binding = {
  hash(options: {
    password: Buffer;
    salt: Buffer;
    secret: Buffer;
    data: Buffer;
    hashLength: number;
    m: number;
    t: number;
    p: number;
    version: number;
    type: number;
  }): Promise<Buffer>;
};

export function argon2Binding(): Argon2Binding {
  return loadAddon("argon2") as Argon2Binding;
}
