import t from "tap";
import {
  type AddressClass,
  classOf,
  isIn,
  parseAddress,
  parseBlock,
  refusalOf,
} from "../../src/core/addresses.ts";

const CLASSES: Record<AddressClass, string[]> = {
  public: [
    "1.1.1.1",
    "8.8.8.8",
    "172.15.255.255",
    "172.32.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "::ffff:8.8.8.8",
    "::ffff:808:808",
    "64:ff9b::8.8.8.8",
    "::8.8.8.8",
    "192.0.1.0",
    "198.17.255.255",
  ],
  private: [
    "10.0.0.0",
    "10.255.255.255",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "100.127.255.255",
    "fc00::1",
    "fdff:ffff::1",
    "fec0::1",
    "::ffff:10.1.2.3",
    "::ffff:a01:203",
    "64:ff9b::10.1.2.3",
    "64:ff9b::a01:203",
    "::10.1.2.3",
  ],
  loopback: [
    "127.0.0.1",
    "127.255.255.255",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "0:0:0:0:0:ffff:7f00:0001",
    "64:ff9b::127.0.0.1",
    "::127.0.0.1",
  ],
  "link-local": ["169.254.0.1", "169.254.255.255", "fe80::1", "febf::1", "::ffff:169.254.1.1"],
  metadata: [
    "169.254.169.254",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "::a9fe:a9fe",
    "fd00:ec2::254",
    "100.100.100.200",
    "169.254.170.2",
    "168.63.129.16",
    "192.0.0.192",
  ],
  special: [
    "0.0.0.0",
    "0.1.2.3",
    "192.0.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "100::1",
    "2001::1",
    "2001:0:1:2:3:4:5:6",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "2002:808:808::1",
    "ff02::1",
    "3fff::1",
    "5f00::1",
    "64:ff9b:1::10.0.0.1",
    "1::1",
    "::ffff:0.0.0.0",
    "::ffff:224.0.0.1",
  ],
};

t.test("classes of addresses, with the edges of each block and each way to wrap one", async (t) => {
  for (const [is, list] of Object.entries(CLASSES))
    for (const text of list) t.equal(classOf(parseAddress(text)!), is, text);
});

t.test("what is no address", async (t) => {
  for (const text of [
    "",
    "1.2.3",
    "127.1",
    "0x7f.0.0.1",
    "010.0.0.1",
    "1.2.3.256",
    "fe80::1%eth0",
    "[::1]",
    "localhost",
    ":::",
    "1:2:3:4:5:6:7:8:9",
  ])
    t.equal(parseAddress(text), null, text);
  for (const text of ["10.0.0.0/33", "10.0.0.1/8", "fc00::/129", "10.0.0.0/", "x/8", "10.0.0.0/8/8", "::1/0"])
    t.equal(parseBlock(text), null, text);
});

t.test("an address in a block", async (t) => {
  const within = (address: string, block: string) => isIn(parseAddress(address)!, parseBlock(block)!);
  t.ok(within("10.1.2.3", "10.0.0.0/8"));
  t.ok(within("::ffff:10.1.2.3", "10.0.0.0/8"));
  t.notOk(within("11.0.0.0", "10.0.0.0/8"));
  t.ok(within("172.31.0.0", "172.16.0.0/12"));
  t.notOk(within("172.32.0.0", "172.16.0.0/12"));
  t.ok(within("1.2.3.4", "0.0.0.0/0"));
  t.notOk(within("::1", "0.0.0.0/0"));
  t.ok(within("::1", "::1"));
});

t.test(
  "a private address takes the manifest's word and root's list, a metadata service an entry of its own",
  async (t) => {
    const why = (address: string, isPrivate: boolean, ...blocks: string[]) =>
      refusalOf(
        parseAddress(address)!,
        isPrivate,
        blocks.map((text) => parseBlock(text)!),
      );
    t.equal(why("8.8.8.8", false), null);
    t.match(why("10.0.0.1", false, "10.0.0.0/8"), /does not say private/);
    t.match(why("10.0.0.1", true, "192.168.0.0/16"), /sallyport\.yaml does not list/);
    t.equal(why("10.0.0.1", true, "10.0.0.0/8"), null);
    t.equal(why("64:ff9b::10.0.0.1", true, "10.0.0.0/8"), null);
    t.match(why("127.0.0.1", true, "10.0.0.0/8"), /a loopback address/);
    t.equal(why("127.0.0.1", true, "127.0.0.1"), null);
    t.match(why("169.254.169.254", true, "169.254.0.0/16", "0.0.0.0/0"), /a metadata address/);
    t.equal(why("169.254.169.254", true, "169.254.169.254"), null);
  },
);
