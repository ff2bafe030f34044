import { SallyportError } from "../core/errors.ts";
import type { Role } from "../core/identity.ts";
import type { Reader, Tx } from "./tx.ts";

export interface Subject {
  kind: "user" | "group";
  id: string;
}

export interface GrantRow {
  role: Role;
  /** "*": every namespace, and for `admin` the appliance itself. */
  namespace: string;
  subject: Subject & { name: string };
  created: number;
}

export interface RoleGrant {
  role: Role;
  namespace: string;
}

/** A user with all that follows from grants, as the authorizer wants it. */
export interface Principal {
  id: string;
  name: string;
  disabled: boolean;
  roles: RoleGrant[];
  groups: { name: string; roles: RoleGrant[] }[];
}

const columnOf = (subject: Subject) => (subject.kind === "user" ? "user_id" : "group_id");

/** `not_found` when the namespace, user or group is not there; `conflict` when the grant is. */
export async function addGrant(tx: Tx, grant: RoleGrant & { subject: Subject }): Promise<void> {
  const { role, namespace, subject } = grant;
  if (namespace !== "*" && !(await tx.get("SELECT 1 FROM namespaces WHERE name = ?", [namespace]))) {
    throw new SallyportError("not_found", `There is no namespace named ${namespace}.`);
  }
  const column = columnOf(subject);
  const known = `SELECT 1 FROM grants WHERE ${column} = ? AND namespace = ? AND role = ?`;
  if (await tx.get(known, [subject.id, namespace, role])) {
    throw new SallyportError("conflict", `Is ${role} of ${namespace} already.`);
  }
  const sql = `INSERT INTO grants (role, namespace, ${column}, created) VALUES (?, ?, ?, ?)`;
  await tx.run(sql, [role, namespace, subject.id, tx.now]);
}

export async function removeGrant(tx: Tx, grant: RoleGrant & { subject: Subject }): Promise<boolean> {
  const sql = `DELETE FROM grants WHERE ${columnOf(grant.subject)} = ? AND namespace = ? AND role = ?`;
  return (await tx.run(sql, [grant.subject.id, grant.namespace, grant.role])) > 0;
}

export async function listGrants(
  reader: Reader,
  filter: { namespace?: string; subject?: Subject } = {},
): Promise<GrantRow[]> {
  const terms = ["true"];
  const params: string[] = [];
  if (filter.namespace !== undefined) {
    terms.push("namespace = ?");
    params.push(filter.namespace);
  }
  if (filter.subject) {
    terms.push(`${columnOf(filter.subject)} = ?`);
    params.push(filter.subject.id);
  }
  const sql = `SELECT role, namespace, user_id, group_id, coalesce(users.name, groups.name) AS name, grants.created
    FROM grants LEFT JOIN users ON users.id = user_id LEFT JOIN groups ON groups.id = group_id
    WHERE ${terms.join(" AND ")} ORDER BY namespace, role, name LIMIT 10000`;
  const rows = await reader.all<{
    role: Role;
    namespace: string;
    user_id: string | null;
    group_id: string | null;
    name: string;
    created: number;
  }>(sql, params);
  return rows.map(({ role, namespace, user_id, group_id, name, created }) => ({
    role,
    namespace,
    subject:
      user_id === null ? { kind: "group", id: group_id ?? "", name } : { kind: "user", id: user_id, name },
    created,
  }));
}

/** Ids of the enabled users who can administer the appliance: that is done on the host, so each has an account there. */
export async function applianceAdmins(reader: Reader): Promise<string[]> {
  const sql = `SELECT id FROM users WHERE status = 'active' AND id IN (SELECT user_id FROM host_accounts) AND (
    id IN (SELECT user_id FROM grants WHERE role = 'admin' AND namespace = '*' AND user_id IS NOT NULL)
    OR id IN (SELECT m.user_id FROM group_members m JOIN grants g ON g.group_id = m.group_id
              WHERE g.role = 'admin' AND g.namespace = '*')) ORDER BY created LIMIT 1000`;
  return (await reader.all<{ id: string }>(sql)).map(({ id }) => id);
}

/** One query, because it stands before every command. A group without grants is there too: policies may name it. */
export async function principal(reader: Reader, userId: string): Promise<Principal | undefined> {
  const sql = `SELECT users.id, users.name, users.status, NULL AS grp, g.role, g.namespace
      FROM users LEFT JOIN grants g ON g.user_id = users.id WHERE users.id = ?1
    UNION ALL
    SELECT users.id, users.name, users.status, groups.name AS grp, g.role, g.namespace
      FROM users JOIN group_members m ON m.user_id = users.id JOIN groups ON groups.id = m.group_id
      LEFT JOIN grants g ON g.group_id = groups.id WHERE users.id = ?1`;
  const rows = await reader.all<{
    id: string;
    name: string;
    status: string;
    grp: string | null;
    role: Role | null;
    namespace: string | null;
  }>(sql, [userId]);
  const [first] = rows;
  if (!first) return undefined;
  const found: Principal = {
    id: first.id,
    name: first.name,
    disabled: first.status !== "active",
    roles: [],
    groups: [],
  };
  for (const row of rows) {
    let roles = found.roles;
    if (row.grp !== null) {
      let group = found.groups.find((known) => known.name === row.grp);
      if (!group) {
        group = { name: row.grp, roles: [] };
        found.groups.push(group);
      }
      roles = group.roles;
    }
    if (row.role !== null && row.namespace !== null) roles.push({ role: row.role, namespace: row.namespace });
  }
  return found;
}
