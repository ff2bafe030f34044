import type { Migration } from "./migrations.ts";

const LOG = `
CREATE TABLE canary (id INTEGER PRIMARY KEY CHECK (id = 1), value TEXT NOT NULL CHECK (length(value) = 64)) STRICT;

-- hashes: those that this entry made known, its own first, then each subtree's that it completed, upwards
CREATE TABLE log_entry (
  seq INTEGER PRIMARY KEY CHECK (seq >= 0),
  time INTEGER NOT NULL,
  type TEXT NOT NULL CHECK (length(type) <= 64),
  outcome TEXT NOT NULL CHECK (outcome IN ('success', 'failure', 'unknown', 'denied')),
  actor TEXT NOT NULL CHECK (length(actor) <= 4096),
  namespace TEXT CHECK (length(namespace) <= 4096),
  op TEXT CHECK (length(op) <= 4096),
  run TEXT CHECK (length(run) <= 4096),
  hashes BLOB NOT NULL CHECK (length(hashes) % 32 = 0 AND length(hashes) > 0),
  entry BLOB NOT NULL CHECK (length(entry) <= 32768)
) STRICT;
CREATE INDEX log_by_type ON log_entry (type);
CREATE INDEX log_by_actor ON log_entry (actor);
CREATE INDEX log_by_namespace ON log_entry (namespace) WHERE namespace IS NOT NULL;
CREATE INDEX log_by_op ON log_entry (op) WHERE op IS NOT NULL;
CREATE INDEX log_by_run ON log_entry (run) WHERE run IS NOT NULL;
CREATE INDEX log_by_bad_outcome ON log_entry (outcome) WHERE outcome <> 'success';

-- The times of each 256 entries, written when they are complete
CREATE TABLE log_block (n INTEGER PRIMARY KEY CHECK (n >= 0), low INTEGER NOT NULL, high INTEGER NOT NULL) STRICT;

CREATE TRIGGER log_entry_keep BEFORE UPDATE ON log_entry BEGIN SELECT RAISE(ABORT, 'the log only grows'); END;
CREATE TRIGGER log_entry_stay BEFORE DELETE ON log_entry BEGIN SELECT RAISE(ABORT, 'the log only grows'); END;

CREATE TABLE checkpoint (
  size INTEGER PRIMARY KEY CHECK (size >= 0),
  root BLOB NOT NULL CHECK (length(root) = 32),
  note TEXT NOT NULL CHECK (length(note) <= 8192),
  time INTEGER NOT NULL
) STRICT;

CREATE TABLE spool (source TEXT PRIMARY KEY CHECK (length(source) <= 200), taken INTEGER NOT NULL CHECK (taken >= 0)) STRICT, WITHOUT ROWID;
`;

const PEOPLE = `
CREATE TABLE users (
  id TEXT PRIMARY KEY CHECK (length(id) <= 40),
  name TEXT NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 64),
  status TEXT NOT NULL CHECK (status IN ('active', 'disabled')),
  created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE host_accounts (
  uid INTEGER PRIMARY KEY CHECK (uid BETWEEN 0 AND 4294967294),
  login TEXT NOT NULL CHECK (length(login) BETWEEN 1 AND 64),
  user_id TEXT NOT NULL REFERENCES users (id),
  created INTEGER NOT NULL
) STRICT;
CREATE INDEX host_accounts_of ON host_accounts (user_id);

-- enterprise is '' where Slack names none: NULLs would be distinct from one another and the key not unique
CREATE TABLE identities (
  enterprise TEXT NOT NULL CHECK (length(enterprise) <= 32),
  team TEXT NOT NULL CHECK (length(team) BETWEEN 1 AND 32),
  slack_user TEXT NOT NULL CHECK (length(slack_user) BETWEEN 1 AND 32),
  user_id TEXT NOT NULL REFERENCES users (id),
  created INTEGER NOT NULL,
  PRIMARY KEY (enterprise, team, slack_user)
) STRICT, WITHOUT ROWID;
CREATE INDEX identities_of ON identities (user_id);

CREATE TABLE links (
  id INTEGER PRIMARY KEY,
  code_hash BLOB NOT NULL UNIQUE CHECK (length(code_hash) = 32),
  enterprise TEXT NOT NULL CHECK (length(enterprise) <= 32),
  team TEXT NOT NULL CHECK (length(team) <= 32),
  slack_user TEXT NOT NULL CHECK (length(slack_user) <= 32),
  display TEXT NOT NULL CHECK (length(display) <= 200),
  created INTEGER NOT NULL,
  expires INTEGER NOT NULL,
  tries INTEGER NOT NULL DEFAULT 0 CHECK (tries >= 0),
  used INTEGER
) STRICT;

CREATE TABLE groups (
  id TEXT PRIMARY KEY CHECK (length(id) <= 40),
  name TEXT NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 64),
  created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE group_members (
  group_id TEXT NOT NULL REFERENCES groups (id) ON DELETE CASCADE,
  user_id TEXT NOT NULL REFERENCES users (id),
  created INTEGER NOT NULL,
  PRIMARY KEY (group_id, user_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX groups_of ON group_members (user_id);

CREATE TABLE namespaces (
  name TEXT PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 64 AND name <> '*'),
  any_channel INTEGER NOT NULL CHECK (any_channel IN (0, 1)),
  created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE namespace_channels (
  namespace TEXT NOT NULL REFERENCES namespaces (name),
  channel TEXT NOT NULL CHECK (length(channel) BETWEEN 1 AND 32),
  created INTEGER NOT NULL,
  PRIMARY KEY (namespace, channel)
) STRICT, WITHOUT ROWID;

-- namespace '*' stands for all of them and for the appliance itself, so it can't be a foreign key
CREATE TABLE grants (
  role TEXT NOT NULL CHECK (role IN ('admin', 'coder', 'runner')),
  namespace TEXT NOT NULL CHECK (length(namespace) BETWEEN 1 AND 64),
  user_id TEXT REFERENCES users (id),
  group_id TEXT REFERENCES groups (id) ON DELETE CASCADE,
  created INTEGER NOT NULL,
  CHECK ((user_id IS NULL) <> (group_id IS NULL))
) STRICT;
CREATE UNIQUE INDEX grants_user ON grants (user_id, namespace, role) WHERE user_id IS NOT NULL;
CREATE UNIQUE INDEX grants_group ON grants (group_id, namespace, role) WHERE group_id IS NOT NULL;
`;

const OPS = `
CREATE TABLE bundles (digest TEXT PRIMARY KEY CHECK (length(digest) = 71), bytes BLOB NOT NULL CHECK (length(bytes) <= 16777216)) STRICT;

CREATE TABLE ops (
  namespace TEXT NOT NULL REFERENCES namespaces (name),
  name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 64),
  active INTEGER,
  disabled INTEGER NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1)),
  created INTEGER NOT NULL,
  PRIMARY KEY (namespace, name),
  FOREIGN KEY (namespace, name, active) REFERENCES op_versions (namespace, name, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE op_versions (
  namespace TEXT NOT NULL,
  name TEXT NOT NULL,
  number INTEGER NOT NULL CHECK (number >= 1),
  digest TEXT NOT NULL REFERENCES bundles (digest),
  manifest TEXT NOT NULL CHECK (length(manifest) <= 262144),
  publisher TEXT NOT NULL REFERENCES users (id),
  created INTEGER NOT NULL,
  PRIMARY KEY (namespace, name, number),
  UNIQUE (namespace, name, digest),
  FOREIGN KEY (namespace, name) REFERENCES ops (namespace, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE runs (
  id TEXT PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 64),
  namespace TEXT NOT NULL,
  op TEXT NOT NULL,
  version INTEGER NOT NULL,
  digest TEXT NOT NULL CHECK (length(digest) <= 80),
  args TEXT NOT NULL CHECK (length(args) <= 65536),
  requester TEXT NOT NULL REFERENCES users (id),
  source TEXT NOT NULL CHECK (source IN ('slack', 'tty', 'schedule')),
  channel TEXT CHECK (length(channel) <= 32),
  thread TEXT CHECK (length(thread) <= 32),
  request_id TEXT UNIQUE CHECK (length(request_id) <= 200),
  policy TEXT CHECK (length(policy) <= 1000),
  state TEXT NOT NULL CHECK (state IN ('requested', 'denied', 'waiting', 'expired', 'queued', 'running', 'succeeded', 'failed', 'timed_out', 'canceled', 'lost')),
  created INTEGER NOT NULL,
  changed INTEGER NOT NULL,
  started INTEGER,
  ended INTEGER,
  exit INTEGER,
  signal TEXT CHECK (length(signal) <= 32),
  reason TEXT CHECK (length(reason) <= 2000),
  duration_ms INTEGER,
  usage TEXT CHECK (length(usage) <= 4096),
  output_bytes INTEGER NOT NULL DEFAULT 0,
  output_seq INTEGER NOT NULL DEFAULT 0,
  truncated INTEGER NOT NULL DEFAULT 0 CHECK (truncated IN (0, 1)),
  FOREIGN KEY (namespace, op, version) REFERENCES op_versions (namespace, name, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX runs_by_op ON runs (namespace, op, id);
CREATE INDEX runs_by_requester ON runs (requester, id);
CREATE INDEX runs_live ON runs (state) WHERE state IN ('requested', 'waiting', 'queued', 'running');

CREATE TABLE run_output (
  run TEXT NOT NULL REFERENCES runs (id),
  seq INTEGER NOT NULL,
  stream TEXT NOT NULL CHECK (stream IN ('out', 'err')),
  time INTEGER NOT NULL,
  bytes BLOB NOT NULL CHECK (length(bytes) <= 1048576),
  PRIMARY KEY (run, seq)
) STRICT;
`;

const SLACK = `
CREATE TABLE receipts (
  key TEXT PRIMARY KEY CHECK (length(key) BETWEEN 1 AND 200),
  trigger_id TEXT UNIQUE CHECK (length(trigger_id) BETWEEN 1 AND 200),
  request_id TEXT NOT NULL CHECK (length(request_id) <= 200),
  kind TEXT NOT NULL CHECK (length(kind) <= 64),
  state TEXT NOT NULL CHECK (state IN ('accepted', 'done', 'refused')),
  body BLOB CHECK (length(body) <= 262144),
  outcome TEXT CHECK (length(outcome) <= 2000),
  created INTEGER NOT NULL,
  finished INTEGER
) STRICT;
CREATE INDEX receipts_open ON receipts (created) WHERE state = 'accepted';
CREATE INDEX receipts_finished ON receipts (finished) WHERE finished IS NOT NULL;

CREATE TABLE outbox (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  nonce TEXT NOT NULL UNIQUE CHECK (length(nonce) BETWEEN 1 AND 100),
  kind TEXT NOT NULL CHECK (length(kind) <= 64),
  channel TEXT NOT NULL CHECK (length(channel) <= 64),
  thread TEXT CHECK (length(thread) <= 64),
  run TEXT CHECK (length(run) <= 64),
  target TEXT CHECK (length(target) <= 2000),
  doc TEXT NOT NULL CHECK (length(doc) <= 1048576),
  state TEXT NOT NULL CHECK (state IN ('owed', 'sending', 'sent', 'failed')),
  ts TEXT CHECK (length(ts) <= 64),
  attempts INTEGER NOT NULL DEFAULT 0,
  next_try INTEGER NOT NULL,
  created INTEGER NOT NULL,
  changed INTEGER NOT NULL,
  error TEXT CHECK (length(error) <= 1000)
) STRICT;
CREATE INDEX outbox_due ON outbox (next_try, id) WHERE state = 'owed';
CREATE INDEX outbox_sending ON outbox (id) WHERE state = 'sending';
CREATE INDEX outbox_over ON outbox (changed) WHERE state IN ('sent', 'failed');
CREATE TABLE outbox_parts (
  post INTEGER NOT NULL REFERENCES outbox (id) ON DELETE CASCADE,
  n INTEGER NOT NULL CHECK (n BETWEEN 0 AND 63),
  bytes BLOB NOT NULL CHECK (length(bytes) <= 16777216),
  PRIMARY KEY (post, n)
) STRICT;

CREATE TABLE settings (key TEXT PRIMARY KEY CHECK (length(key) <= 100), value BLOB NOT NULL CHECK (length(value) <= 65536)) STRICT, WITHOUT ROWID;
`;

const RUNTIMES = `
CREATE TABLE runtimes (
  name TEXT PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 64),
  digest TEXT NOT NULL CHECK (length(digest) = 71),
  created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
`;

const NAMESPACE_ENGINE = `
-- what starts the namespace's Ops; NULL: what each of them says, or the host's default
ALTER TABLE namespaces ADD COLUMN engine TEXT CHECK (length(engine) BETWEEN 1 AND 64);
`;

const AUTHORITY = `
-- What a site adds to the policies that ship. One that was removed stays: it decided about runs that are in the log.
CREATE TABLE policies (
  name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 64),
  number INTEGER NOT NULL CHECK (number >= 1),
  text TEXT NOT NULL CHECK (length(text) <= 65536),
  author TEXT NOT NULL REFERENCES users (id),
  created INTEGER NOT NULL,
  removed INTEGER,
  PRIMARY KEY (name, number)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX policies_in_force ON policies (name) WHERE removed IS NULL;

-- Only what a first code showed that the authenticator has. last_step: the time step (RFC 6238) of the last code that was
-- taken, so that none is taken twice.
CREATE TABLE totp (
  user_id TEXT PRIMARY KEY REFERENCES users (id),
  secret BLOB NOT NULL CHECK (length(secret) BETWEEN 16 AND 64),
  enrolled INTEGER NOT NULL,
  last_step INTEGER NOT NULL,
  failures INTEGER NOT NULL DEFAULT 0 CHECK (failures >= 0),
  retry_at INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

-- What a run waits for. secrets: JSON, which version of each it was asked for with. needs: JSON, as core/obligations. slack_user: who is told, where it was asked in Slack.
CREATE TABLE waits (
  run TEXT PRIMARY KEY REFERENCES runs (id),
  digest TEXT NOT NULL CHECK (length(digest) = 71),
  confirm TEXT NOT NULL CHECK (confirm IN ('none', 'totp', 'local')),
  reached TEXT NOT NULL CHECK (reached IN ('none', 'totp', 'local')),
  needs TEXT NOT NULL CHECK (length(needs) <= 65536),
  secrets TEXT NOT NULL DEFAULT '[]' CHECK (length(secrets) <= 131072),
  slack_user TEXT CHECK (length(slack_user) <= 32),
  created INTEGER NOT NULL,
  expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
-- account: the Slack member id or the uid through which it was given.
CREATE TABLE verdicts (
  run TEXT NOT NULL REFERENCES waits (run),
  user_id TEXT NOT NULL REFERENCES users (id),
  verdict TEXT NOT NULL CHECK (verdict IN ('approved', 'denied')),
  reached TEXT NOT NULL CHECK (reached IN ('none', 'totp', 'local')),
  source TEXT NOT NULL CHECK (source IN ('slack', 'tty')),
  channel TEXT CHECK (length(channel) <= 32),
  account TEXT NOT NULL CHECK (length(account) <= 32),
  created INTEGER NOT NULL,
  PRIMARY KEY (run, user_id)
) STRICT, WITHOUT ROWID;

-- What was asked of the policies about a run, and what they answered; JSON, for who asks why afterwards.
CREATE TABLE decisions (
  run TEXT NOT NULL REFERENCES runs (id),
  n INTEGER NOT NULL CHECK (n >= 1),
  phase TEXT NOT NULL CHECK (phase IN ('request', 'approve', 'launch')),
  user_id TEXT NOT NULL REFERENCES users (id),
  asked TEXT NOT NULL CHECK (length(asked) <= 131072),
  answer TEXT NOT NULL CHECK (length(answer) <= 65536),
  created INTEGER NOT NULL,
  PRIMARY KEY (run, n)
) STRICT, WITHOUT ROWID;
-- Why a run went without the approvals that it needed.
ALTER TABLE runs ADD COLUMN break_glass TEXT CHECK (length(break_glass) BETWEEN 1 AND 500);

-- Whether who publishes a version may not be who activates it.
ALTER TABLE namespaces ADD COLUMN two_person_publish INTEGER NOT NULL DEFAULT 0 CHECK (two_person_publish IN (0, 1));
-- From where: the host account, as the kernel tells it.
ALTER TABLE op_versions ADD COLUMN uid INTEGER;
ALTER TABLE op_versions ADD COLUMN login_uid INTEGER;
CREATE TABLE op_activations (
  id INTEGER PRIMARY KEY,
  namespace TEXT NOT NULL,
  name TEXT NOT NULL,
  number INTEGER NOT NULL,
  user_id TEXT NOT NULL REFERENCES users (id),
  uid INTEGER,
  login_uid INTEGER,
  created INTEGER NOT NULL,
  FOREIGN KEY (namespace, name, number) REFERENCES op_versions (namespace, name, number)
) STRICT;
CREATE INDEX op_activations_of ON op_activations (namespace, name, id);
`;

const SECRETS = `
-- A random key a namespace, wrapped by the root's. One that was retired stays until nothing is sealed under it.
CREATE TABLE data_keys (
  id TEXT PRIMARY KEY CHECK (length(id) = 32),
  namespace TEXT NOT NULL REFERENCES namespaces (name),
  wrapped BLOB NOT NULL CHECK (length(wrapped) = 60),
  created INTEGER NOT NULL,
  retired INTEGER
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX data_keys_present ON data_keys (namespace) WHERE retired IS NULL;

-- version: the one that runs get; NULL: removed. The row stays, so that no number ever names two values.
CREATE TABLE secrets (
  namespace TEXT NOT NULL REFERENCES namespaces (name),
  name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 64),
  version INTEGER CHECK (version >= 1),
  description TEXT NOT NULL DEFAULT '' CHECK (length(description) <= 200),
  expires INTEGER,
  warned INTEGER,
  created INTEGER NOT NULL,
  PRIMARY KEY (namespace, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX secrets_expiring ON secrets (expires) WHERE expires IS NOT NULL AND version IS NOT NULL;

-- sealed: NULL once it was erased, which a retired one is when the last run that got it has ended. source: JSON, where in an
-- outside vault the value is; then nothing is sealed here.
CREATE TABLE secret_versions (
  namespace TEXT NOT NULL,
  name TEXT NOT NULL,
  number INTEGER NOT NULL CHECK (number >= 1),
  key_id TEXT REFERENCES data_keys (id),
  sealed BLOB CHECK (length(sealed) BETWEEN 29 AND 65564),
  source TEXT CHECK (length(source) <= 2000),
  author TEXT NOT NULL REFERENCES users (id),
  created INTEGER NOT NULL,
  retired INTEGER,
  erased INTEGER,
  PRIMARY KEY (namespace, name, number),
  FOREIGN KEY (namespace, name) REFERENCES secrets (namespace, name)
) STRICT;
CREATE INDEX secret_versions_by_key ON secret_versions (key_id) WHERE key_id IS NOT NULL;
CREATE INDEX secret_versions_to_erase ON secret_versions (retired) WHERE retired IS NOT NULL AND erased IS NULL;

-- Which version of which secret a run was started with.
CREATE TABLE run_secrets (
  run TEXT NOT NULL REFERENCES runs (id),
  namespace TEXT NOT NULL,
  name TEXT NOT NULL,
  number INTEGER NOT NULL,
  PRIMARY KEY (run, namespace, name),
  FOREIGN KEY (namespace, name, number) REFERENCES secret_versions (namespace, name, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX run_secrets_of ON run_secrets (namespace, name, number);
`;

/** Never changed once released: a database made by an older version must become the same by adding migrations. */
export const MIGRATIONS: readonly Migration[] = [
  { version: 1, name: "the first schema", sql: LOG + PEOPLE + OPS + SLACK },
  { version: 2, name: "names of root file systems", sql: RUNTIMES },
  { version: 3, name: "engines of namespaces", sql: NAMESPACE_ENGINE },
  { version: 4, name: "policies, codes, approvals, secrets", sql: AUTHORITY + SECRETS },
];
