import type {
  AuthContext,
  AuthRequest,
  NamespaceRow,
  OpRow,
  Principal,
  Resource,
  RoleGrant,
} from "./authorizer.ts";
import type { CedarValueJson, EntityJson, EntityUidJson } from "./cedar.ts";
import { SallyportError } from "./errors.ts";
import { ANY_NAMESPACE, identityKey, ROLES } from "./identity.ts";
import type { ArgTypes } from "./policies.ts";

/**
 * Plain rows as Cedar entities: only those that one request can reach (the person, their groups and roles, the
 * resource with its namespace, the channel), so that a decision costs the same beside ten users or ten thousand.
 */

type Uid = { type: string; id: string };
const uid = (type: string, id: string): Uid => ({ type, id });
const ref = (type: string, id: string): CedarValueJson => ({ __entity: uid(type, id) });
const entity = (
  at: Uid,
  attrs: Record<string, CedarValueJson> = {},
  parents: EntityUidJson[] = [],
): EntityJson => ({ uid: at, attrs, parents });
const roleId = (namespace: string, role: string): string => `${namespace}/${role}`;

export function principalOf(principal: Principal): Uid {
  return principal.kind === "user"
    ? uid("User", principal.user.name)
    : uid("Unlinked", identityKey(principal.identity));
}

export function resourceOf(resource: Resource): Uid {
  switch (resource.kind) {
    case "op":
      return uid("Op", resource.op.name);
    case "run":
      return uid("Run", resource.id);
    case "namespace":
      return uid("Namespace", resource.namespace.name);
    case "user":
      return uid("User", resource.name);
    case "appliance":
      return uid("Appliance", "this");
  }
}

export function entitiesOf({ principal, resource, context }: AuthRequest): EntityJson[] {
  const entities: EntityJson[] = [];
  const namespace = "namespace" in resource ? resource.namespace.name : null;
  const rolesOf = (grants: readonly RoleGrant[]): Uid[] =>
    rolesHeld(grants, namespace).map((id) => uid("Role", id));

  if (principal.kind === "user") {
    const { user } = principal;
    const groups = user.groups.map(({ name }) => uid("Group", name));
    entities.push(
      entity(principalOf(principal), { disabled: user.disabled }, [...groups, ...rolesOf(user.roles)]),
    );
    for (const group of user.groups)
      entities.push(entity(uid("Group", group.name), {}, rolesOf(group.roles)));
  } else {
    entities.push(entity(principalOf(principal)));
  }

  if (resource.kind === "appliance") entities.push(entity(resourceOf(resource)));
  if (resource.kind === "op" || resource.kind === "run" || resource.kind === "namespace") {
    entities.push(namespaceEntity(resource.namespace));
  }
  if (resource.kind === "op" || resource.kind === "run")
    entities.push(opEntity(resource.op, resource.namespace));
  if (resource.kind === "run") {
    const op = resource.op.name;
    const attrs = {
      op: ref("Op", op),
      namespace: ref("Namespace", resource.namespace.name),
      requester: ref("User", resource.requester),
      publisher: ref("User", resource.publisher),
      approvers: resource.approvers.map((group) => ref("Group", group)),
    };
    entities.push(entity(resourceOf(resource), attrs, [uid("Op", op)]));
  }
  if (context.channel !== null) {
    entities.push(entity(uid("Channel", context.channel.id), { kind: context.channel.kind }));
  }
  return entities;
}

/**
 * Every role that the grants amount to: admin holds coder, coder holds runner, and a role in "*" is held in the
 * resource's namespace too. Written out as direct parents, since a hierarchy of Role entities decides the same
 * and costs more to read at each request.
 */
function rolesHeld(grants: readonly RoleGrant[], namespace: string | null): string[] {
  const held = new Set<string>();
  for (const grant of grants) {
    const rank = ROLES.indexOf(grant.role);
    if (rank === -1) throw new SallyportError("internal", "A role is granted that does not exist.");
    for (const role of ROLES.slice(rank)) {
      held.add(roleId(grant.namespace, role));
      if (grant.namespace === ANY_NAMESPACE && namespace !== null) held.add(roleId(namespace, role));
    }
  }
  return [...held];
}

function namespaceEntity({ name, channels, twoPersonPublish }: NamespaceRow): EntityJson {
  const attrs: Record<string, CedarValueJson> = { two_person_publish: twoPersonPublish ?? false };
  for (const role of ROLES) attrs[role] = ref("Role", roleId(name, role));
  if (channels !== "any") attrs.channels = channels.map((id) => ref("Channel", id));
  return entity(uid("Namespace", name), attrs);
}

function opEntity(op: OpRow, namespace: NamespaceRow): EntityJson {
  const attrs: Record<string, CedarValueJson> = {
    namespace: ref("Namespace", namespace.name),
    confirm: op.confirm,
    disabled: op.disabled,
    network: [...(op.network ?? [])],
    resources: [...(op.resources ?? [])],
  };
  if (op.channels !== null) attrs.channels = op.channels.map((id) => ref("Channel", id));
  if (op.root !== undefined) attrs.root = op.root;
  if (op.engine !== undefined) attrs.engine = op.engine;
  if (op.publisher !== undefined) attrs.publisher = ref("User", op.publisher);
  return entity(uid("Op", op.name), attrs, [uid("Namespace", namespace.name)]);
}

export function contextOf(context: AuthContext, argTypes: ArgTypes): Record<string, CedarValueJson> {
  const args: Record<string, CedarValueJson> = {};
  for (const [name, value] of Object.entries(context.args ?? {})) {
    const decimal = typeof value === "number" && (argTypes[name] === "number" || !Number.isInteger(value));
    args[name] = decimal ? { __extn: { fn: "decimal", arg: value.toFixed(4) } } : value;
  }
  return {
    source: context.source,
    standing: context.standing,
    ...(context.channel === null ? {} : { channel: ref("Channel", context.channel.id) }),
    args,
    confirmation: context.confirmation ?? "none",
    launch: context.launch ?? false,
    break_glass: context.breakGlass ?? false,
    time: { __extn: { fn: "datetime", arg: new Date(context.time).toISOString() } },
  };
}
