import { SETTINGS, setSetting } from "../store/settings.ts";
import type { MessageOf } from "../wire/messages.ts";
import type { Session } from "./session.ts";

/** What the open session does with each role's messages, and when a role comes or goes. */
type Failed = (error: unknown) => void;

const GATEWAY_POLICY: Readonly<Record<string, string>> = {
  foreign_identity: "slack-foreign",
  bot_identity: "slack-bot",
};

export function joinRunner(session: Session, failed: Failed): void {
  session.peers.on("runner", {
    message: (message, parts) =>
      message.type === "profile.checked"
        ? session.profiles.receive(message)
        : session.runs.receive(message, parts),
    joined: () => roleEvent(session, "runner", "role.started", failed),
    left: () => {
      session.profiles.lost();
      roleEvent(session, "runner", "role.lost", failed);
      void session.runs.runnerLost().catch(failed);
    },
  });
}

export function joinNotary(session: Session, failed: Failed): void {
  session.peers.on("notary", {
    message: (message) => session.notary.receive(message),
    joined: () => {
      roleEvent(session, "notary", "role.started", failed);
      void session.checkpoints.reopen();
    },
    left: () => {
      session.notary.lost();
      roleEvent(session, "notary", "role.lost", failed);
    },
  });
}

export function joinEgress(session: Session, failed: Failed): void {
  session.peers.on("egress", {
    message: (message) => session.egress.receive(message),
    joined: () => roleEvent(session, "egress", "role.started", failed),
    left: () => {
      session.egress.lost();
      roleEvent(session, "egress", "role.lost", failed);
    },
  });
}

export function joinCourier(session: Session, failed: Failed): void {
  session.peers.on("courier", {
    message: (message, parts) => session.vaults.receive(message, parts),
    joined: () => {
      roleEvent(session, "courier", "role.started", failed);
      void session.vaults.joined().catch(failed);
    },
    left: () => {
      session.vaults.lost();
      roleEvent(session, "courier", "role.lost", failed);
    },
  });
}

export function joinGateway(
  session: Session,
  failed: Failed,
  remember: (state: MessageOf<"slack.state"> | undefined) => void,
): void {
  session.peers.on("gateway", {
    message: (message) => {
      if (message.type === "slack.state") {
        remember(message);
        slackEvent(session, message, failed);
        session.outbox.setConnected(message.connections > 0);
      } else if (message.type === "slack.alarm") {
        void session.store
          .mutate((tx) => {
            tx.log({
              type: "slack.alarm",
              outcome: "denied",
              actor: { kind: "system" },
              reason: message.detail,
              // The gateway refuses by what the envelope itself says, before anybody here is asked.
              ...(GATEWAY_POLICY[message.kind] === undefined
                ? {}
                : { policy: GATEWAY_POLICY[message.kind] as string }),
              data: { kind: message.kind },
            });
          })
          .catch(failed);
      } else if (message.type === "slack.posted") void session.outbox.posted(message);
      else session.desk.receive(message);
    },
    joined: () => {
      roleEvent(session, "gateway", "role.started", failed);
      void session.connectSlack().catch(failed);
    },
    left: () => {
      remember(undefined);
      session.desk.gatewayLost();
      session.outbox.gatewayLost();
      roleEvent(session, "gateway", "role.lost", failed);
    },
  });
}

let lastSlackState = "";

/** One entry for each change between connected and not, whatever else the gateway reports. */
function slackEvent(session: Session, message: MessageOf<"slack.state">, failed: Failed): void {
  const state = message.connections > 0 ? "connected" : "disconnected";
  if (state === lastSlackState) return;
  lastSlackState = state;
  void session.store
    .mutate(async (tx) => {
      if (message.team !== null) await setSetting(tx, SETTINGS.slackTeam, message.team);
      tx.log({
        type: state === "connected" ? "slack.connected" : "slack.disconnected",
        outcome: state === "connected" ? "success" : "failure",
        actor: { kind: "system" },
        ...(message.error === null ? {} : { reason: message.error }),
        data: { team: message.team, enterprise: message.enterprise },
      });
    })
    .catch(failed);
}

function roleEvent(session: Session, role: string, type: "role.started" | "role.lost", failed: Failed): void {
  session.store
    .mutate((tx) => {
      tx.log({
        type,
        outcome: type === "role.started" ? "success" : "failure",
        actor: { kind: "system" },
        data: { role },
      });
    })
    .catch(failed);
}
