import { SallyportError } from "../core/errors.ts";
import { Secret } from "../core/secret.ts";
import { Fault } from "../courier/request.ts";
import { isSecretId, type Place, Vault } from "../courier/vault.ts";
import { confineRole, keeperSocket, roleOptions } from "../host/role.ts";
import { VERSION } from "../host/self.ts";
import type { VaultPlace } from "../host/vault-shape.ts";
import type { Connection } from "../wire/connection.ts";
import type { Message, MessageOf } from "../wire/messages.ts";
import { connectToKeeper } from "./to-keeper.ts";

/**
 * Courier: fetches values from the vaults that root named, each for one run, and hands them to the keeper. Knows the AppRole
 * credentials, no key, no database, no Slack. With the keeper's connection its tokens end, and then it.
 */
export async function main(argv: string[]): Promise<number> {
  const places = JSON.parse(roleOptions(argv, ["vaults"] as const).vaults) as Record<string, VaultPlace>;
  const keeper = keeperSocket();
  if (keeper === null) throw new SallyportError("usage", "The courier is started by sallyport itself.");
  const landlock = confineRole();
  const vaults = new Map(Object.entries(places).map(([name, place]) => [name, new Vault(place)]));
  return new Promise((resolve) => {
    const courier = new Courier(vaults);
    const connection = connectToKeeper({
      stream: keeper,
      self: "courier",
      onMessage: (message, parts) => void courier.receive(message, parts),
      onEnd: (status) => void courier.end().finally(() => resolve(status)),
    });
    courier.start(connection);
    connection.send({ type: "role.hello", version: VERSION, pid: process.pid, landlock });
  });
}

type Question = MessageOf<"courier.login"> | MessageOf<"courier.fetch"> | MessageOf<"courier.look">;

class Courier {
  readonly #vaults: ReadonlyMap<string, Vault>;
  #keeper: Connection | undefined;

  constructor(vaults: ReadonlyMap<string, Vault>) {
    this.#vaults = vaults;
  }

  start(keeper: Connection): void {
    this.#keeper = keeper;
  }

  async receive(message: Message, parts: Buffer[]): Promise<void> {
    if (message.type === "courier.logout") await this.#vaults.get(message.vault)?.end();
    else if (
      message.type === "courier.login" ||
      message.type === "courier.fetch" ||
      message.type === "courier.look"
    ) {
      try {
        await this.#answer(message, parts);
      } catch (error) {
        const fault = error instanceof Fault ? error : new Fault("internal");
        if (!(error instanceof Fault)) process.stderr.write(`courier: ${stackOf(error)}\n`);
        const { id } = message;
        this.#keeper?.send({ type: "courier.failed", id, fault: fault.fault, detail: fault.detail });
      } finally {
        for (const part of parts) part.fill(0);
      }
    }
  }

  async #answer(message: Question, parts: Buffer[]): Promise<void> {
    const { id } = message;
    const vault = this.#vaults.get(message.vault);
    if (vault === undefined) throw new Fault("internal", "no such vault");
    if (message.type === "courier.login") {
      await this.#login(vault, message, parts[0]!);
    } else if (message.type === "courier.look") {
      const version = await vault.look(placeOf(message));
      this.#keeper?.send({ type: "courier.looked", id, version });
    } else {
      const { version, value } = await vault.fetch(placeOf(message));
      this.#keeper?.send({ type: "courier.fetched", id, version }, [new Secret(value)]);
    }
  }

  async #login(vault: Vault, o: MessageOf<"courier.login">, given: Buffer): Promise<void> {
    const { id, roleId, wrapped, now } = o;
    const secretId = wrapped ? await vault.unwrap(given) : given;
    if (!isSecretId(secretId)) throw new Fault("login_refused", "secret id");
    const credential = { roleId, secretId: copyOf(secretId) };
    if (now) await vault.login(credential);
    else vault.use(credential);
    // The keeper keeps what the wrapping token stood for.
    this.#keeper?.send({ type: "courier.logged_in", id }, wrapped ? [new Secret(secretId)] : []);
  }

  async end(): Promise<void> {
    await Promise.all([...this.#vaults.values()].map((vault) => vault.end()));
  }
}

function placeOf({ path, key, version }: Place): Place {
  return { path, key, version };
}

function copyOf(bytes: Buffer): Buffer {
  const copy = Buffer.allocUnsafeSlow(bytes.length);
  bytes.copy(copy);
  return copy;
}

const stackOf = (error: unknown) => (error instanceof Error ? (error.stack ?? error.message) : String(error));
