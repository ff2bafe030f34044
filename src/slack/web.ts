import { LogLevel, WebClient } from "@slack/web-api";
import { z } from "zod";
import type { Endpoint } from "./endpoint.ts";
import { type Failure, failureOf } from "./failure.ts";
import { slackId } from "./identity.ts";
import type { Transport } from "./link.ts";
import { quietLogger } from "./quiet-logger.ts";
import type { Home } from "./types.ts";

export type Result = { ok: true; data: Record<string, unknown> } | { ok: false; failure: Failure };

/** One try a call: whether and when to repeat is decided by the callers, who know what a repetition does. */
export class Web {
  readonly #client: WebClient;

  constructor(botToken: string, endpoint: Endpoint, transport: Transport, timeoutMs: number) {
    this.#client = new WebClient(botToken, {
      slackApiUrl: endpoint.apiUrl,
      retryConfig: { retries: 0 },
      rejectRateLimitedCalls: true,
      timeout: timeoutMs,
      maxRequestConcurrency: 20,
      allowAbsoluteUrls: false,
      logger: quietLogger,
      logLevel: LogLevel.ERROR,
      ...(transport.fetch === undefined ? {} : { fetch: transport.fetch }),
    });
  }

  async call(method: string, args: Record<string, unknown>): Promise<Result> {
    try {
      return { ok: true, data: { ...(await this.#client.apiCall(method, args)) } };
    } catch (error) {
      return { ok: false, failure: failureOf(method, error) };
    }
  }
}

const AuthTest = z.object({
  team_id: slackId,
  team: z.string().max(200).nullish().catch(null),
  user_id: slackId,
  enterprise_id: slackId.startsWith("E").nullish(),
  is_enterprise_install: z.boolean().catch(false),
});

/** Reads auth.test's answer; null when it lacks what identities are compared with. */
export function homeOf(data: unknown): Home | null {
  const parsed = AuthTest.safeParse(data);
  if (!parsed.success) return null;
  const d = parsed.data;
  // With an organisation's own token Slack may name the organisation in a workspace's place.
  const isOrgId = d.enterprise_id != null && d.team_id === d.enterprise_id;
  if (!isOrgId && !d.team_id.startsWith("T")) return null;
  return {
    team: d.team_id,
    org: isOrgId || (d.is_enterprise_install && d.enterprise_id != null),
    teamName: d.team ?? null,
    enterprise: d.enterprise_id ?? null,
    botUser: d.user_id,
  };
}
