/**
 * For each rule what it has to find and what it must leave alone. Made up; each is put together of halves, so that no scanner takes
 * this file for a leak.
 */
const j = (...halves: string[]): string => halves.join("");
const alnum = "k3Jq9ZtW8vLm2XbR7cYp5HdN4sFg6TaQ1eUoKiBxVrMwPzCjEh0DyGnSuLfAqO3b9T8c5d2m7v";
const hex =
  "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08c41e7b2f3d5a69780f1e2d3c4b5a6978";
const a = (n: number, from = 0) => (alnum + alnum + alnum).slice(from, from + n);
const h = (n: number, from = 0) => (hex + hex).slice(from, from + n);
const b64 = (n: number) => `${a(30)}+/${a(70, 5)}`.slice(0, n);
const jose = (header: object) => Buffer.from(JSON.stringify(header)).toString("base64url");
const pem = (kind: string, body = `${b64(64)}\n${b64(64)}`) =>
  j("-----BEGIN ", kind, "-----\n", body, "\n-----END ", kind, "-----");

export const EXAMPLES: Readonly<Record<string, { find: readonly string[]; leave: readonly string[] }>> = {
  "aws-access-key-id": {
    find: [j("AKIA", "QYLPMN5HFZJ2TW3X"), `key = "${j("ASIA", "QYLPMN5HFZJ2TW3X")}"`],
    leave: [
      j("AKIA", "IOSFODNN7EXAMPLE"),
      j("AKIA", "QYLPMN5HFZJ2"),
      j("XAKIA", "QYLPMN5HFZJ2TW3X"),
      j("akia", "qylpmn5hfzj2tw3x"),
    ],
  },
  "gcp-api-key": { find: [j("AI", "za", a(35))], leave: [j("AI", "za", a(30)), j("AI", "za", a(36))] },
  "gcp-oauth-secret": { find: [j("GOC", "SPX-", a(28))], leave: [j("GOC", "SPX-", a(20))] },
  "gcp-oauth-token": { find: [j("ya", "29.", a(60))], leave: [j("ya", "29.short")] },
  "github-token": {
    find: [j("gh", "p_", a(36)), `https://x:${j("gh", "s_", a(36))}@github.com/o/r`],
    leave: [
      j("gh", "p_", a(20)),
      j("gh", "x_", a(36)),
      j("gh", "p_", "x".repeat(36)),
      j("gh", "p_EXAMPLE", a(29)),
    ],
  },
  "github-fine-grained": {
    find: [j("github", "_pat_", a(22), "_", a(59))],
    leave: [j("github", "_pat_", a(22)), "github_pattern_for_names"],
  },
  "gitlab-token": {
    find: [j("gl", "pat-", a(20)), j("gl", "rt-", a(20))],
    leave: [j("gl", "pat-", a(10)), "glory-to-the-one-who-wrote-this"],
  },
  "slack-token": {
    find: [j("xo", "xb-", "2187390451-4408712376-", a(24))],
    leave: [j("xo", "xb-"), j("xo", "xb-your-token-goes-here-now")],
  },
  "slack-app-token": {
    find: [j("xa", "pp-1-A05KQ7H2J-", "6093748215530-", h(64))],
    leave: [j("xa", "pp-1-A05KQ7H2J-6093748215530")],
  },
  "slack-webhook": {
    find: [j("https://hooks.sl", "ack.com/services/T0A1B2C3D/B0E1F2G3H/", a(24))],
    leave: [
      j("https://hooks.sl", "ack.com/services/"),
      "https://hooks.example.com/services/T0A1B2C3D/B0E1F2G3H",
    ],
  },
  "stripe-key": {
    find: [j("sk", "_live_", a(24)), j("rk", "_live_", a(24))],
    leave: [j("pk", "_live_", a(24)), j("sk", "_live_", a(8))],
  },
  "stripe-webhook-secret": { find: [j("wh", "sec_", a(32))], leave: [j("wh", "sec_", a(12))] },
  "npm-token": {
    find: [j("np", "m_", a(36))],
    leave: ["npm_config_registry_and_so_on", j("np", "m_", a(30))],
  },
  "npmrc-auth": {
    find: [
      j("//registry.internal/:_auth", "Token=", h(36)),
      j("//r/:_pass", "word=", "aHVudGVyMmh1bnRlcjI="),
    ],
    leave: [j("//registry.internal/:_authToken=$", "{NPM_TOKEN}")],
  },
  "pypi-token": {
    find: [j("py", "pi-AgEIcHlwaS5vcmc", a(70))],
    leave: ["pypi-mirror-of-the-data-centre", j("py", "pi-AgEIcHlwaS5vcmc", a(20))],
  },
  "rubygems-key": { find: [j("ruby", "gems_", h(48))], leave: ["rubygems_version"] },
  "dockerhub-token": { find: [j("dckr", "_pat_", a(27))], leave: [j("dckr", "_pat_", a(10))] },
  "azure-client-secret": { find: [j("k3J", "8Q~", a(34))], leave: [j("k3J", "8Q~", a(12))] },
  "azure-storage-key": {
    find: [j("AccountName=x;Account", "Key=", b64(86), "==;EndpointSuffix=core.windows.net")],
    leave: ["AccountKey=<from the vault>", "AccountKey=$KEY"],
  },
  "azure-sas": {
    find: [j("https://x.blob.core.windows.net/c?sv=2024&s", "ig=", a(43), "%3D")],
    leave: ["/search?sig=none", "?signature=true"],
  },
  "vault-token": { find: [j("hv", "s.", a(90))], leave: ["hvs.short"] },
  "terraform-cloud-token": { find: [j(a(14), ".atlas", "v1.", a(64))], leave: ["x.atlasv1.y"] },
  "digitalocean-token": { find: [j("dop", "_v1_", h(64))], leave: [j("dop", "_v1_", h(32))] },
  "cloudflare-ca-key": { find: [j("v1", ".0-", h(24), "-", h(146))], leave: ["v1.0-beta"] },
  "databricks-token": { find: [j("da", "pi", h(32))], leave: [j("da", "pi", h(20))] },
  "grafana-token": { find: [j("gl", "sa_", a(32), "_", h(8))], leave: [j("gl", "sa_", a(32))] },
  "newrelic-key": { find: [j("NR", "AK-", "Q7H2J6KLM9PRS4TVWXYZ3BCDF5G")], leave: ["NRAK-SHORT"] },
  "pulumi-token": { find: [j("pu", "l-", h(40))], leave: [j("pu", "l-", h(20))] },
  "heroku-key": { find: [j("HR", "KU-", a(60))], leave: ["HRKU-none"] },
  "sendgrid-key": { find: [j("S", "G.", a(22), ".", a(43))], leave: ["SG.a.b"] },
  "mailgun-key": { find: [j("ke", "y-", h(32))], leave: ["key-0123", j("ke", "y-", h(40))] },
  "twilio-key": { find: [j("S", "K", h(32))], leave: [j("S", "K", h(30))] },
  "telegram-bot-token": { find: [j("5938274610", ":AA", a(33))], leave: ["12:AA"] },
  "shopify-token": { find: [j("shp", "at_", h(32))], leave: ["shpat_none"] },
  "linear-key": { find: [j("lin", "_api_", a(40))], leave: ["lin_api_key"] },
  "openai-key": { find: [j("s", "k-proj-", a(40), "T3Blbk", "FJ", a(40))], leave: [j("s", "k-", a(20))] },
  "anthropic-key": { find: [j("s", "k-ant-api03-", a(93))], leave: ["sk-ant-api03-short"] },
  "huggingface-token": {
    find: [j("h", "f_", "QwErTyUiOpAsDfGhJkLzXcVbNmQwErTyUi")],
    leave: ["hf_model_name"],
  },
  "age-secret-key": {
    find: [j("AGE-SEC", "RET-KEY-1", "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7LQPZRY9X8GF2TVDW0S3JN54KHCE")],
    leave: ["AGE-SECRET-KEY-1...", "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"],
  },
  "private-key": {
    find: [
      pem("RSA PRIVATE KEY"),
      pem("PRIVATE KEY"),
      pem("ENCRYPTED PRIVATE KEY"),
      pem("OPENSSH PRIVATE KEY"),
      pem("PGP PRIVATE KEY BLOCK", `Version: x\n\n${b64(64)}`),
      pem(
        "EC PRIVATE KEY",
        `Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,${h(32).toUpperCase()}\n\n${b64(64)}`,
      ),
      JSON.stringify({ private_key: pem("PRIVATE KEY") }),
      `  key: |\n    ${pem("PRIVATE KEY").replaceAll("\n", "\n    ")}`,
    ],
    leave: [
      pem("PUBLIC KEY"),
      pem("CERTIFICATE"),
      j("grep -q '-----BEGIN RSA PRI", "VATE KEY-----' \"$file\" && die 'a key is in the file'"),
      pem("PRIVATE KEY", "..."),
    ],
  },
  "ssh2-private-key": {
    find: [j("---- BEGIN SSH2 ENCRYPTED PRI", "VATE KEY ----\nComment: x\n", b64(70))],
    leave: [
      j("---- BEGIN SSH2 PUB", "LIC KEY ----\n", b64(70)),
      j("---- BEGIN SSH2 ENCRYPTED PRI", "VATE KEY ---- is how it begins"),
    ],
  },
  "putty-private-key": {
    find: [j("PuTTY-User-", "Key-File-3: ssh-ed25519\nEncryption: none\n")],
    leave: ["PuTTY-User-Key-File is what its files begin with"],
  },
  jwt: {
    find: [j(jose({ alg: "HS256", typ: "JWT" }), ".", jose({ sub: "1234567890" }), ".", a(43))],
    leave: [
      j(jose({ typ: "none at all" }), ".", jose({ sub: "123456" }), ".", a(43)),
      "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIx",
    ],
  },
  "aws-secret-access-key": {
    find: [j("aws_secret_access_", "key = ", b64(40)), j('"awsSecretAccess', 'Key": "', b64(40), '"')],
    leave: [
      j("aws_secret_access_key = $", "{AWS_SECRET}"),
      "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
      "aws_secret_access_key: short",
    ],
  },
  "url-password": {
    find: [
      "postgres://app:c0rrect-h0rse@db.internal/app",
      "https://robot:Zx81Spectrum@git.internal/x.git",
      "redis://:s3cr3tish@cache:6379",
    ],
    leave: [
      "postgres://db.internal:5432/app",
      j("https://robot:$", "{TOKEN}@git.internal/x.git"),
      "https://user:password@example.com/",
      "https://user:$PASS@host/",
      "ssh://git@host:22/x",
      "see http://a.b/c:d and mail x@y",
    ],
  },
  "authorization-header": {
    find: [
      j("curl -H 'Authoriz", "ation: Bearer ", a(40), "'"),
      j('"Authoriz', 'ation": "Basic ', "cm9ib3Q6WnI4MVNwZWN0cnVt", '"'),
    ],
    leave: [
      "Authorization: Bearer $TOKEN",
      "Authorization: Bearer <your-token-of-the-portal>",
      "Authorization: Basic xxxxxxxxxxxxxxxxxxxxxxxx",
    ],
  },
  "named-entropy": {
    find: [
      j("DB_PASS", "WORD=", "t7Hq2LpX9vRk4mZs"),
      j("api_", "key: '", a(32), "'"),
      j('"client_secret', '": "', a(40), '"'),
      j("SESSION_SEC", "RET = ", h(64)),
      j("token := `", a(24), "`"),
      j("password => '", "Gx4!kQ9z@Lm2#Vb7", "'"),
    ],
    leave: [
      "password: changeme-please-now1",
      "DB_PASSWORD=$DB_PASSWORD_PROD_1",
      "token = os.environ['DEPLOY_TOKEN_V2']",
      "secret: kubernetes.io/service-account2",
      "api_key = get_api_key(config, 42)",
      "password=/run/secrets/DB_PASSWORD_2",
      "token_url: https://login.internal/oauth2/token",
      "secrets: [DEPLOY_KEY, API_KEY_2]",
      "secret_name = my-database-credentials-2024",
      "tokenizer: cl100k_base_and_more_words1",
      j("sha256_of_token: sha256:", h(64)),
      "PASSWORD_MIN_LENGTH=12",
      "token: aaaaaaaaaaaaaaaa1111",
    ],
  },
};
