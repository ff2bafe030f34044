/** Slack's errors after which its tokens no longer serve: nothing gets through until somebody enters others. */
const AUTH = [
  "invalid_auth",
  "not_authed",
  "account_inactive",
  "token_revoked",
  "token_expired",
  "not_allowed_token_type",
  "invalid_token",
  "org_login_required",
];

export function isAuthError(error: string): boolean {
  return AUTH.includes(error);
}
