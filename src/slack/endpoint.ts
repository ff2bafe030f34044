import { SallyportError } from "../core/errors.ts";

/** Where Slack's Web API is, and what may be believed of addresses that it hands out. */
export type Endpoint = { apiUrl: string; loopback: boolean };

const LOOPBACK = ["127.0.0.1", "[::1]", "localhost"];

/** `usage` for anything but https, or http on loopback (a workspace for trying out and tests). */
export function parseEndpoint(text: string): Endpoint {
  const url = URL.canParse(text) ? new URL(text) : null;
  const loopback = url !== null && LOOPBACK.includes(url.hostname);
  if (url === null || url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "") {
    throw new SallyportError("usage", "--slack-api-url is not a plain URL such as https://slack.com/api/.");
  }
  if (url.protocol !== "https:" && !(url.protocol === "http:" && loopback)) {
    throw new SallyportError("usage", "--slack-api-url must be https; http is for a loopback address only.");
  }
  return { apiUrl: url.href.endsWith("/") ? url.href : `${url.href}/`, loopback };
}

/** Whether a WebSocket address from apps.connections.open may be dialled: Slack's own hosts over TLS. */
export function isSocketUrl(text: string, endpoint: Endpoint): boolean {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || url.username !== "") return false;
  if (endpoint.loopback) return LOOPBACK.includes(url.hostname) && /^wss?:$/.test(url.protocol);
  return url.protocol === "wss:" && isSlackHost(url.hostname, endpoint);
}

/** A site may reach Slack under another name (GovSlack): the API's own domain counts as Slack's. */
function isSlackHost(host: string, endpoint: Endpoint): boolean {
  const domain = new URL(endpoint.apiUrl).hostname.split(".").slice(-2).join(".");
  return host.endsWith(".slack.com") || host.endsWith(`.${domain}`);
}

/** Whether an answer may be posted to this response_url: it comes in a payload, so it is not believed. */
export function isResponseUrl(text: string, endpoint: Endpoint): boolean {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || url.username !== "" || url.password !== "") return false;
  if (endpoint.loopback) return LOOPBACK.includes(url.hostname) && /^https?:$/.test(url.protocol);
  return url.protocol === "https:" && url.host === "hooks.slack.com";
}
