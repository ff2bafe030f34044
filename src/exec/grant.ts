import { timingSafeEqual } from "node:crypto";
import { bundleDigest, decodeBundle } from "../core/bundle.ts";
import { SallyportError } from "../core/errors.ts";
import type { Secret } from "../core/secret.ts";
import { SECRET_BYTES } from "../core/secret-value.ts";
import { asset } from "../host/asset.ts";
import { NETWORK_ENV } from "./network-env.ts";
import type { LaunchSpec, SpecFile } from "./spec.ts";

/** What the keeper orders (the wire's run.order). Times in ms, sizes in bytes, cpu in cores. */
export interface RunOrder {
  readonly run: string;
  readonly op: string;
  /** "sha256:<64 hex>" of the bundle archive. */
  readonly digest: string;
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly input: string;
  readonly limits: {
    readonly timeMs: number;
    readonly memoryBytes: number;
    readonly pids: number;
    readonly diskBytes: number;
    readonly outputBytes: number;
    readonly cpu: number;
  };
  /** A shipped profile's name, or the .json file of the bundle that is one. */
  readonly seccomp: string;
  readonly network: readonly string[];
  /** "sha256:<64 hex>" of an imported root file system; absent: the host's own. */
  readonly root?: string | undefined;
  readonly egress?: { readonly socket: string; readonly token: string } | undefined;
  readonly secrets: readonly { readonly name: string; readonly as: "file" | "env" }[];
}

/** The profiles that every build carries, compiled. */
export const SHIPPED_PROFILES = ["default", "strict", "network"] as const;
export type ShippedProfile = (typeof SHIPPED_PROFILES)[number];

/** An order that was checked, as what the launcher and the output streams need. */
export interface Grant {
  readonly run: string;
  readonly spec: LaunchSpec;
  /** By namespace/NAME, as output shows what was taken out of it. */
  readonly secrets: readonly { readonly name: string; readonly value: Secret }[];
  readonly outputBytes: number;
}

/** Between TERM and KILL, on a cancel and at the time limit alike: what P13 leaves within its second. */
export const GRACE_MS = 500;

const PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const OWN_ENV =
  /^(PATH|HOME|LANG|LC_ALL|SALLYPORT_.*|INPUT_.*|LD_.*|HTTPS_PROXY|ALL_PROXY|NO_PROXY|NODE_USE_ENV_PROXY|GCONV_PATH|GLIBC_TUNABLES)$/;

const ETC: Readonly<Record<string, string>> = {
  passwd:
    "root:x:0:0:root:/:/usr/sbin/nologin\nop:x:1000:1000:op:/tmp:/bin/sh\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
  group: "root:x:0:\nop:x:1000:\nnogroup:x:65534:\n",
  hosts: "127.0.0.1 localhost op\n::1 localhost op\n",
  "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
  "resolv.conf": "",
};

/**
 * Turns an order into a launch spec. `secrets` are the values in the order of `order.secrets`.
 * `cgroupRequired`: the launch fails where no cgroup bounds it (`limits: required` of sallyport.yaml).
 * `program`: the compiled profile of the bundle, where the order names one (profiles.ts).
 * Throws `launch_failed`, with what was wrong, and starts nothing.
 */
export function makeGrant(
  order: RunOrder,
  bundle: Uint8Array,
  secrets: readonly Secret[],
  cgroupRequired: boolean,
  program?: Uint8Array,
): Grant {
  checkDigest(order, bundle);
  if (order.network.length > 0 && order.egress === undefined)
    throw refused("the Op asks for the network, and no way out was ordered with it");
  if (secrets.length !== order.secrets.length)
    throw refused(`${order.secrets.length} secrets were ordered and ${secrets.length} came`);
  checkLimits(order.limits);
  const files = [...opFiles(bundle, order.input), ...etcFiles()];
  const env: Record<string, string | Secret> = {
    ...baseEnv(order),
    ...(order.egress === undefined ? {} : NETWORK_ENV),
  };
  const named = order.secrets.map(({ name, as }, i) => {
    const value = secrets[i]!;
    value.use((bytes) => checkSecret(name, bytes, as));
    if (as === "env") env[name] = value;
    else files.push({ tree: "secrets", path: name, mode: 0o400, bytes: value });
    return { name: `${order.op.split("/", 1)[0]}/${name}`, value };
  });
  const { timeMs, memoryBytes, pids, cpu, diskBytes, outputBytes } = order.limits;
  return {
    run: order.run,
    secrets: named,
    outputBytes,
    spec: {
      argv: order.argv,
      env,
      cwd: "/op",
      hostname: "op",
      seccomp: program ?? seccompProgram(order.seccomp),
      egress: egressOf(order),
      files,
      limits: { wallMs: timeMs, graceMs: GRACE_MS, memoryBytes, pids, cpu, tmpBytes: diskBytes },
      cgroupRequired,
    },
  };
}

function egressOf({ egress }: RunOrder): LaunchSpec["egress"] {
  return egress === undefined
    ? undefined
    : { socket: egress.socket, token: Buffer.from(egress.token, "hex") };
}

/** A grant that no order stands behind: for the self-test and for tests. */
export function makePlainGrant(of: {
  run: string;
  files: readonly SpecFile[];
  argv: readonly string[];
  seccomp: ShippedProfile;
  limits: LaunchSpec["limits"];
  outputBytes: number;
}): Grant {
  const env = baseEnv({ run: of.run, op: "self/test", env: {} });
  return {
    run: of.run,
    secrets: [],
    outputBytes: of.outputBytes,
    spec: {
      argv: of.argv,
      env,
      cwd: "/op",
      hostname: "op",
      seccomp: seccompProgram(of.seccomp),
      files: [...of.files, ...etcFiles()],
      limits: of.limits,
      // The self-test reports what bounds a run; that must not keep it from looking.
      cgroupRequired: false,
    },
  };
}

function etcFiles(): SpecFile[] {
  return Object.entries(ETC).map(([path, content]) => ({
    tree: "etc",
    path,
    mode: 0o444,
    bytes: Buffer.from(content),
  }));
}

function checkDigest(order: RunOrder, bundle: Uint8Array): void {
  const is = Buffer.from(bundleDigest(bundle));
  const should = Buffer.from(order.digest);
  if (is.length !== should.length || !timingSafeEqual(is, should))
    throw refused("the bundle's digest is not the ordered one");
}

function checkLimits(limits: RunOrder["limits"]): void {
  for (const [name, value] of Object.entries(limits))
    if (!(value > 0) || !Number.isFinite(value))
      throw refused(`the limit ${name} is ${value}; it must be above 0`);
}

function opFiles(bundle: Uint8Array, input: string): SpecFile[] {
  const files: SpecFile[] = [];
  for (const file of decodeBundle(bundle)) {
    if (file.path === "input.json")
      throw refused("the bundle holds an input.json, where the run's inputs are put. Rename that file");
    files.push({ tree: "op", path: file.path, mode: file.mode & 0o555, bytes: file.bytes });
  }
  files.push({ tree: "op", path: "input.json", mode: 0o444, bytes: Buffer.from(input, "utf8") });
  return files;
}

function baseEnv(order: Pick<RunOrder, "run" | "op" | "env">): Record<string, string> {
  const env: Record<string, string> = {
    PATH,
    HOME: "/tmp",
    LANG: "C.UTF-8",
    SALLYPORT_RUN: order.run,
    SALLYPORT_OP: order.op,
  };
  for (const [name, value] of Object.entries(order.env)) {
    if (!/^INPUT_[A-Z0-9_]{1,64}$/.test(name))
      throw refused(
        `the environment variable ${JSON.stringify(name.slice(0, 80))} is not one that an Op is given`,
      );
    env[name] = value;
  }
  return env;
}

function checkSecret(name: string, value: Uint8Array, as: "file" | "env"): void {
  if (!/^[A-Z][A-Z0-9_]{0,63}$/.test(name)) throw refused("a secret has a name that is none");
  if (value.length > SECRET_BYTES)
    throw refused(
      `the secret ${name} has ${value.length} bytes; at most ${SECRET_BYTES} are handed to a run`,
    );
  if (as === "file") return;
  if (OWN_ENV.test(name))
    throw refused(`the secret ${name} can't be an environment variable of that name. Give it as a file`);
  if (value.includes(0))
    throw refused(
      `the secret ${name} holds a NUL byte, so it can't be in the environment. Give it as a file`,
    );
}

const programs = new Map<string, Uint8Array>();

function seccompProgram(name: string): Uint8Array {
  if (!SHIPPED_PROFILES.some((shipped) => shipped === name))
    throw refused(`the system call profile ${JSON.stringify(name.slice(0, 80))} was not compiled`);
  let program = programs.get(name);
  if (program === undefined) {
    program = asset(`seccomp/${name}.bpf`);
    programs.set(name, program);
  }
  return program;
}

function refused(why: string): SallyportError {
  return new SallyportError("launch_failed", `${why[0]!.toUpperCase()}${why.slice(1)}.`);
}
