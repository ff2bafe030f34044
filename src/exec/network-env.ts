/** How programs find the two listeners of a run's loopback (their ports: sandbox/egress.c); some know only one spelling. */
const CONNECT = "http://127.0.0.1:3128";
const SOCKS = "socks5h://127.0.0.1:1080";

export const NETWORK_ENV: Readonly<Record<string, string>> = {
  HTTPS_PROXY: CONNECT,
  https_proxy: CONNECT,
  ALL_PROXY: SOCKS,
  all_proxy: SOCKS,
  NO_PROXY: "",
  no_proxy: "",
  // Node's own fetch looks at HTTPS_PROXY only then.
  NODE_USE_ENV_PROXY: "1",
};
