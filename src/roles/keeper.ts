import { mkdirSync } from "node:fs";
import type { Socket } from "node:net";
import { join } from "node:path";
import { type Logger, pino } from "pino";
import { leafHash } from "../audit/merkle.ts";
import type { ResourceMode } from "../core/resources.ts";
import { harden } from "../host/harden.ts";
import { confineRole, inheritedFd, inheritedSocket, LOCKED_EXIT, roleOptions } from "../host/role.ts";
import { Sink } from "../host/sink.ts";
import { openSocket } from "../host/socket.ts";
import { Appliance } from "../keeper/appliance.ts";
import { CtlServer } from "../keeper/ctl-server.ts";
import type { PeerRole } from "../keeper/peers.ts";
import {
  checkPrivate,
  checkStateDir,
  lockDir,
  removeFinishedInit,
  STATE_FILES,
} from "../keeper/state-dir.ts";
import { readSlots } from "../keys/keyring.ts";
import { entryLine } from "../siem/ecs.ts";

const PEER_ROLES: readonly PeerRole[] = ["gateway", "runner", "notary", "egress", "courier"];
const SEALED_LINE_MS = 300_000;

/** Keeper: holds keys and database; no network, no exec. */
export async function main(argv: string[]): Promise<number> {
  const options = roleOptions(argv, ["state-dir", "run-dir", "log-dir", "resources", "vaults"] as const);
  const outputs = { stdout: new Sink(1), stderr: new Sink(2) };
  const log: Logger = pino({ base: { role: "keeper" } }, outputs.stderr);
  const landlock = confineRole();
  checkStateDir(options["state-dir"], false);
  const keyring = join(options["state-dir"], STATE_FILES.keyring);
  checkPrivate(keyring);
  readSlots(keyring);
  lockDir(options["state-dir"]);
  removeFinishedInit(options["state-dir"]);
  lockDir(options["run-dir"]);
  mkdirSync(options["log-dir"], { recursive: true, mode: 0o750 });
  const appliance = new Appliance({
    dirs: { state: options["state-dir"], log: options["log-dir"], run: options["run-dir"] },
    log,
    landlock,
    resources: new Map(Object.entries(JSON.parse(options.resources) as Record<string, ResourceMode>)),
    vaults: new Map(Object.entries(JSON.parse(options.vaults) as Record<string, string>)),
    emit: (entry, seq) => outputs.stdout.write(entryLine(entry, seq, leafHash(entry))),
    outputs: () => ({ stdout: outputs.stdout.status, stderr: outputs.stderr.status }),
  });
  return new Promise((resolve) => {
    const end = (status: number) => {
      ctl.close();
      appliance.peers.closeAll();
      resolve(status);
    };
    const ctl = new CtlServer({
      appliance,
      log,
      owner: process.getuid?.() ?? 0,
      locked: () => end(LOCKED_EXIT),
    });
    const notify = inheritedSocket("SALLYPORT_NOTIFY_FD");
    takePeers(appliance, notify, inheritedFd("SALLYPORT_HANDOVER_FD"));
    const stop = () => void appliance.close().finally(() => end(0));
    // Not once: a service manager tells every process, and then the supervisor tells us too.
    process.on("SIGTERM", stop);
    notify?.once("close", stop);
    ctl.listen(join(options["run-dir"], "admin.sock")).then(
      () => {
        notify?.write(".");
        announceSealed(appliance, log);
      },
      (error: unknown) => {
        log.fatal({ err: error }, `the admin socket can't be made in ${options["run-dir"]}`);
        end(1);
      },
    );
  });
}

/** Under `serve` the supervisor hands over the keeper's end of each role's socket pair; a byte says that one waits. */
function takePeers(appliance: Appliance, notify: Socket | null, handover: number | null): void {
  if (notify === null || handover === null) return;
  notify.on("data", () => {
    for (;;) {
      const got = harden().recvFds(handover, 64);
      if (got === null || got.fds.length !== 1) return;
      const role = got.bytes.toString("latin1");
      if (isPeerRole(role)) appliance.peers.attach(role, openSocket(got.fds[0]!));
    }
  });
}

function isPeerRole(role: string): role is PeerRole {
  return PEER_ROLES.some((one) => one === role);
}

/** A SIEM notices a sealed appliance by this line, now and every five minutes. */
function announceSealed(appliance: Appliance, log: Logger): void {
  const say = () => {
    if (appliance.state === "sealed")
      log.warn({ state: "sealed", failedUnlocks: appliance.failedUnlocks }, "sealed");
  };
  say();
  setInterval(say, SEALED_LINE_MS).unref();
}
