/** What a line has wrong by the schemas in test/vectors; nothing when it is as they say. */

type Json = Record<string, unknown>;
type EcsVector = {
  kinds: string[];
  outcomes: string[];
  categories: Record<string, string[]>;
  fields: Record<string, "string" | "number" | "strings">;
};

const isObject = (value: unknown): value is Json =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** ECS: its fields with their types, its categories with the types that go with each; `sallyport` is our own, but flat for Wazuh. */
export function ecsProblems(vector: EcsVector, line: Json): string[] {
  const problems: string[] = [];
  const { sallyport, ...ecs } = line;
  const walk = (value: Json, path: string) => {
    for (const [name, inner] of Object.entries(value)) {
      const at = path === "" ? name : `${path}.${name}`;
      const kind = vector.fields[at];
      if (kind === undefined && isObject(inner)) walk(inner, at);
      else if (kind === undefined) problems.push(`${at} is no field of ECS`);
      else if (kind !== "strings" && typeof inner !== kind) problems.push(`${at} is no ${kind}`);
      else if (kind === "strings" && ![inner].flat().every((text) => typeof text === "string"))
        problems.push(`${at} is no text`);
    }
  };
  walk(ecs, "");
  const event = line.event as { kind: string; outcome: string; category: string[]; type: string[] };
  if (!vector.kinds.includes(event.kind)) problems.push(`event.kind ${event.kind}`);
  if (!vector.outcomes.includes(event.outcome)) problems.push(`event.outcome ${event.outcome}`);
  for (const category of event.category) {
    const types = vector.categories[category];
    if (types === undefined) problems.push(`event.category ${category}`);
    else for (const type of event.type) if (!types.includes(type)) problems.push(`${category}: ${type}`);
  }
  for (const field of ["@timestamp", "ecs.version"]) if (!(field in line)) problems.push(`no ${field}`);
  const flat = (value: unknown): boolean =>
    Array.isArray(value) ? value.every((item) => typeof item !== "object") : true;
  const deep = (value: unknown, at: string): void => {
    if (!flat(value)) problems.push(`${at} is an array of objects`);
    else if (isObject(value)) for (const [name, inner] of Object.entries(value)) deep(inner, `${at}.${name}`);
  };
  deep(line, "");
  if (!isObject(sallyport)) problems.push("no sallyport");
  return problems;
}

type Shape = {
  attributes: Record<string, string>;
  required?: string[];
  atLeastOne?: string[];
  enums?: Record<string, number[]>;
};
type OcsfVector = {
  base: Shape;
  profiles: Record<string, Shape>;
  classes: Record<string, Shape & { uid: number; activities: number[] }>;
  objects: Record<string, Shape>;
};

/** OCSF: class, activity and the numbers made of them; attributes of class, base and the profiles that the event names. */
export function ocsfProblems(vector: OcsfVector, line: Json): string[] {
  const found = Object.entries(vector.classes).find(([, { uid }]) => uid === line.class_uid);
  if (found === undefined) return [`no class ${String(line.class_uid)}`];
  const [name, ocsfClass] = found;
  const problems: string[] = [];
  const must = (field: string, value: unknown) => {
    if (line[field] !== value) problems.push(`${field} is ${String(line[field])}, not ${String(value)}`);
  };
  must("class_name", name);
  must("category_uid", Math.floor(ocsfClass.uid / 1000));
  must("type_uid", ocsfClass.uid * 100 + Number(line.activity_id));
  if (!ocsfClass.activities.includes(line.activity_id as number))
    problems.push(`${name} has no activity ${String(line.activity_id)}`);
  if (line.activity_id === 99 && typeof line.activity_name !== "string")
    problems.push("99 without its own name");
  const profiles = ((line.metadata as Json | undefined)?.profiles ?? []) as string[];
  const shape: Shape = {
    attributes: {
      ...vector.base.attributes,
      ...Object.assign({}, ...profiles.map((profile) => vector.profiles[profile]?.attributes)),
      ...ocsfClass.attributes,
    },
    required: [...(vector.base.required ?? []), ...(ocsfClass.required ?? [])],
    ...(ocsfClass.atLeastOne === undefined ? {} : { atLeastOne: ocsfClass.atLeastOne }),
    ...(vector.base.enums === undefined ? {} : { enums: vector.base.enums }),
  };
  return [...problems, ...shapeProblems(vector, shape, line, name)];
}

function shapeProblems(vector: OcsfVector, shape: Shape, value: Json, at: string): string[] {
  const { attributes, required = [], atLeastOne, enums = {} } = shape;
  const problems = required.filter((name) => value[name] === undefined).map((name) => `${at}: no ${name}`);
  if (atLeastOne?.every((name) => value[name] === undefined)) problems.push(`${at}: none of ${atLeastOne}`);
  for (const [name, inner] of Object.entries(value)) {
    const type = attributes[name];
    if (type === undefined) problems.push(`${at} has no ${name}`);
    else problems.push(...valueProblems(vector, type, inner, `${at}.${name}`));
    if (enums[name]?.includes(inner as number) === false) problems.push(`${at}.${name} ${String(inner)}`);
  }
  return problems;
}

function valueProblems(vector: OcsfVector, type: string, value: unknown, at: string): string[] {
  const object = vector.objects[type];
  if (object !== undefined)
    return isObject(value) ? shapeProblems(vector, object, value, at) : [`${at} is no ${type}`];
  const isRight =
    type === "json" ||
    (type === "integer" && Number.isSafeInteger(value)) ||
    (type === "strings" && Array.isArray(value) && value.every((item) => typeof item === "string")) ||
    typeof value === type;
  return isRight ? [] : [`${at} is no ${type}`];
}

/** The keys of CEF's extension dictionary that we use (Micro Focus, "Implementing ArcSight CEF", revision 25) and their longest value. */
const CEF_KEYS: Readonly<Record<string, number>> = {
  act: 63,
  cat: 1023,
  cs1: 4000,
  cs1Label: 1023,
  cs2: 4000,
  cs2Label: 1023,
  cs3: 4000,
  cs3Label: 1023,
  cs4: 4000,
  cs4Label: 1023,
  cs5: 4000,
  cs5Label: 1023,
  dhost: 1023,
  dpt: 5,
  dst: 45,
  duid: 1023,
  dvchost: 100,
  externalId: 40,
  in: 20,
  out: 20,
  outcome: 63,
  proto: 31,
  reason: 1023,
  rt: 13,
  suid: 1023,
};

/** CEF:0: seven header fields, a severity of 0 to 10, key=value with CEF's own keys or one of ours. */
export function cefProblems(line: string): string[] {
  const parts = line.match(/^CEF:0\|((?:[^\\|]|\\[\\|])*\|){5}(\d+)\|(.*)$/s);
  if (parts === null) return ["no CEF header"];
  const problems: string[] = [];
  if (Number(parts[2]) > 10) problems.push(`severity ${parts[2]}`);
  if (/[\u0000-\u001f\u007f-\u009f]/.test(line)) problems.push("a control character");
  for (const [key, value] of cefFields(line)) {
    const longest = CEF_KEYS[key] ?? (/^sallyport[A-Z][A-Za-z]*$/.test(key) ? 4000 : undefined);
    if (longest === undefined) problems.push(`${key} is no key of CEF`);
    else if (value.length > longest) problems.push(`${key} has ${value.length} characters`);
  }
  return problems;
}

/** The extension as a collector reads it: a key is what stands before an equals sign that is not escaped, after a space. */
export function cefFields(line: string): Map<string, string> {
  const extension = line.replace(/^CEF:0\|(?:(?:[^\\|]|\\[\\|])*\|){6}/, "");
  const found = new Map<string, string>();
  const keys = [...extension.matchAll(/(?<=^| )([^ =\\]+)=/g)];
  for (const [i, key] of keys.entries()) {
    const end = keys[i + 1]?.index ?? extension.length + 1;
    const raw = extension.slice(key.index + key[0].length, end - 1);
    found.set(
      key[1] ?? "",
      raw.replace(/\\([\\=n])/g, (_, char) => (char === "n" ? "\n" : char)),
    );
  }
  return found;
}
