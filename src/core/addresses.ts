import { isIPv4, isIPv6 } from "node:net";

/** Sixteen bytes, an IPv4 address as ::ffff:a.b.c.d. */
export type Address = Buffer;
export type AddressClass = "public" | "private" | "loopback" | "link-local" | "metadata" | "special";
export type Block = { readonly address: Address; readonly bits: number };

const MAPPED = Buffer.from("00000000000000000000ffff", "hex");

/** Null where it is no address, or has a zone. */
export function parseAddress(text: string): Address | null {
  if (isIPv4(text)) return Buffer.concat([MAPPED, Buffer.from(text.split(".").map(Number))]);
  if (!isIPv6(text) || text.includes("%")) return null;
  const plain = text.replace(/[0-9.]+$/, (tail) => {
    if (!tail.includes(".")) return tail;
    const [a, b, c, d] = tail.split(".").map(Number) as [number, number, number, number];
    return `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  });
  const [left = "", right] = plain.split("::");
  const list = (part: string) =>
    part === "" ? [] : part.split(":").map((group) => Number.parseInt(group, 16));
  const [head, tail] = [list(left), list(right ?? "")];
  const all =
    right === undefined ? head : [...head, ...Array(8 - head.length - tail.length).fill(0), ...tail];
  const out = Buffer.alloc(16);
  for (const [i, group] of all.entries()) out.writeUInt16BE(group, 2 * i);
  return out;
}

/** "10.0.0.0/8" or one address. Null where it is neither, or has bits set beyond its prefix. */
export function parseBlock(text: string): Block | null {
  const [, base = "", digits] = /^([^/]+)(?:\/([0-9]{1,3}))?$/.exec(text) ?? [];
  const address = parseAddress(base);
  if (address === null) return null;
  const own = isIPv4(base) ? 32 : 128;
  const length = digits === undefined ? own : Number(digits);
  if (length > own) return null;
  const bits = length + 128 - own;
  const block = { address, bits };
  for (let bit = bits; bit < 128; bit++) if ((address[bit >> 3]! >> (7 - (bit & 7))) & 1) return null;
  return block;
}

export function isIn(address: Address, { address: base, bits }: Block): boolean {
  const whole = bits >> 3;
  if (address.compare(base, 0, whole, 0, whole) !== 0) return false;
  const rest = bits & 7;
  return rest === 0 || (address[whole]! ^ base[whole]!) >> (8 - rest) === 0;
}

const row = (cidr: string, is: AddressClass): { block: Block; is: AddressClass } => ({
  block: parseBlock(cidr)!,
  is,
});

/** The first row that fits decides. IANA's special-purpose registries (RFC 6890 and what came after). */
const TABLE = [
  row("169.254.169.254", "metadata"), // AWS, Azure, Google, OpenStack and others
  row("169.254.170.2", "metadata"), // AWS ECS
  row("169.254.170.23", "metadata"), // AWS EKS
  row("100.100.100.200", "metadata"), // Alibaba
  row("192.0.0.192", "metadata"), // Oracle
  row("168.63.129.16", "metadata"), // Azure's wire server
  row("fd00:ec2::/32", "metadata"), // AWS
  row("fd20:ce::254", "metadata"), // Google
  row("127.0.0.0/8", "loopback"), // RFC 1122
  row("::1", "loopback"), // RFC 4291
  row("169.254.0.0/16", "link-local"), // RFC 3927
  row("fe80::/10", "link-local"), // RFC 4291
  row("10.0.0.0/8", "private"), // RFC 1918
  row("172.16.0.0/12", "private"), // RFC 1918
  row("192.168.0.0/16", "private"), // RFC 1918
  row("100.64.0.0/10", "private"), // RFC 6598, carrier-grade NAT
  row("fc00::/7", "private"), // RFC 4193
  row("fec0::/10", "private"), // RFC 3879, deprecated site-local
  row("0.0.0.0/8", "special"), // RFC 791: this network; 0.0.0.0 reaches loopback
  row("192.0.0.0/24", "special"), // RFC 6890
  row("192.0.2.0/24", "special"), // RFC 5737, documentation
  row("192.31.196.0/24", "special"), // RFC 7535, AS112
  row("192.52.193.0/24", "special"), // RFC 7450, AMT
  row("192.88.99.0/24", "special"), // RFC 7526, 6to4 relays
  row("192.175.48.0/24", "special"), // RFC 7534, AS112
  row("198.18.0.0/15", "special"), // RFC 2544, benchmarks
  row("198.51.100.0/24", "special"), // RFC 5737, documentation
  row("203.0.113.0/24", "special"), // RFC 5737, documentation
  row("224.0.0.0/4", "special"), // RFC 5771, multicast
  row("240.0.0.0/4", "special"), // RFC 1112, reserved, and broadcast
  row("::ffff:0:0/96", "public"), // every other IPv4 address
  row("2001::/23", "special"), // RFC 2928: Teredo (RFC 4380), ORCHID, benchmarks and others
  row("2001:db8::/32", "special"), // RFC 3849, documentation
  row("2002::/16", "special"), // RFC 3056, 6to4: an IPv4 address in disguise
  row("2620:4f:8000::/48", "special"), // RFC 7534, AS112
  row("3fff::/20", "special"), // RFC 9637, documentation
  row("2000::/3", "public"), // RFC 4291, global unicast
];
const NAT64 = parseBlock("64:ff9b::/96")!;
const COMPATIBLE = parseBlock("::/96")!;

/** What kind of address it is; one that wraps an IPv4 address (mapped, NAT64 of RFC 6052, the old compatible form) is that one. */
export function classOf(address: Address): AddressClass {
  const loopback = address.readUInt32BE(12) === 1 || address.readUInt32BE(12) === 0;
  if (isIn(address, NAT64) || (isIn(address, COMPATIBLE) && !loopback))
    return classOf(Buffer.concat([MAPPED, address.subarray(12)]));
  return TABLE.find(({ block }) => isIn(address, block))?.is ?? "special";
}

/** What root allows where it says nothing: what the class "private" is made of. */
export const PRIVATE_BLOCKS: readonly string[] = [
  "10.0.0.0/8",
  "172.16.0.0/12",
  "192.168.0.0/16",
  "100.64.0.0/10",
  "fc00::/7",
];

/**
 * Whether a run may connect there, or why not. `isPrivate`: the target says `private: true`. `allowed`: root's list
 * (network.private of sallyport.yaml). A metadata service's address must be in the list by itself, not in a wider block.
 */
export function refusalOf(address: Address, isPrivate: boolean, allowed: readonly Block[]): string | null {
  const is = classOf(address);
  if (is === "public") return null;
  const wrapped = isIn(address, NAT64) ? Buffer.concat([MAPPED, address.subarray(12)]) : address;
  const what = is === "special" ? "an address of special use" : `a ${is} address`;
  if (!isPrivate) return `${what}, and the Op's manifest does not say private: true for this target`;
  const fits = allowed.some((block) => isIn(wrapped, block) && (is !== "metadata" || block.bits === 128));
  return fits ? null : `${what}, which network.private in sallyport.yaml does not list`;
}
