/** The Slack app as this product needs it: https://docs.slack.dev/reference/app-manifest. */
export type ManifestOptions = {
  name?: string;
  /** Addresses (CIDR) from which Slack takes this app's API calls: the site's way out. */
  allowedIpRanges?: readonly string[];
};

export function slackManifest(options: ManifestOptions = {}): object {
  const name = options.name ?? "sallyport";
  const ranges = options.allowedIpRanges ?? [];
  return {
    _metadata: { major_version: 2 },
    display_information: { name, description: "Runs approved operations on a host of your own" },
    features: {
      app_home: { home_tab_enabled: false, messages_tab_enabled: true, messages_tab_read_only_enabled: true },
      bot_user: { display_name: name, always_online: false },
      slash_commands: [
        {
          command: "/ops",
          description: "Run and follow operations",
          usage_hint: "help | list | run NAMESPACE/OP [--input value] | status",
          // Mentions arrive as <@U…>, not as a display name that anyone can take.
          should_escape: true,
        },
      ],
    },
    oauth_config: {
      scopes: {
        bot: ["commands", "chat:write", "app_mentions:read", "users:read"],
        bot_optional: ["files:write", "channels:read", "groups:read"],
      },
    },
    settings: {
      ...(ranges.length === 0 ? {} : { allowed_ip_address_ranges: [...ranges] }),
      event_subscriptions: { bot_events: ["app_mention"] },
      interactivity: { is_enabled: true },
      org_deploy_enabled: false,
      socket_mode_enabled: true,
      token_rotation_enabled: false,
    },
  };
}

/** As Slack's "create from manifest" page takes it. */
export function slackManifestJson(options: ManifestOptions = {}): string {
  return `${JSON.stringify(slackManifest(options), null, 2)}\n`;
}
