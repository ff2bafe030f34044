import { writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { PRIVATE_BLOCKS } from "../../src/core/addresses.ts";
import { readConfig } from "../../src/host/config.ts";
import { portsOf } from "../../src/host/vault-shape.ts";

t.test("network.private: what root lists", async (t) => {
  const file = join(t.testdir(), "sallyport.yaml");
  const read = (text: string) => {
    writeFileSync(file, text);
    return readConfig(file).network.private;
  };
  t.strictSame(read(""), PRIVATE_BLOCKS, "by default what is private, and neither loopback nor link-local");
  t.strictSame(read("network: {}\n"), PRIVATE_BLOCKS);
  t.strictSame(read("network: {private: []}\n"), []);
  t.strictSame(read('network: {private: ["127.0.0.1", "fd00:1::/32"]}\n'), ["127.0.0.1", "fd00:1::/32"]);
  for (const bad of ["10.0.0.1/8", "10.0.0.0/33", "intranet", "fe80::1%eth0"])
    t.throws(() => read(`network: {private: ["${bad}"]}\n`), {
      code: "config_invalid",
      message: /network\.private\.0 is no block/,
    });
  t.throws(() => read("network: {public: []}\n"), { code: "config_invalid" });
});

t.test("vaults: what root lists", async (t) => {
  const file = join(t.testdir(), "sallyport.yaml");
  const read = (text: string) => {
    writeFileSync(file, text);
    return readConfig(file).vaults;
  };
  t.strictSame(read(""), {});
  const plain = { ca: null, namespace: null, mount: "secret", auth: "approle" };
  const address = "https://vault.internal:8200";
  t.strictSame(read(`vaults: {corp: {address: "${address}"}}\n`), { corp: { ...plain, address } });
  const ports = ["https://a:8200", "https://b", "https://[::1]:8200", "https://10.0.0.7:443/"];
  const several = read(`vaults: {${ports.map((one, i) => `v${i}: {address: "${one}"}`).join(", ")}}\n`);
  t.strictSame(portsOf(several), [8200, 443]);
  const bad = [
    ...["http://vault:8200", "https://vault:8200/v1", "https://u:p@vault", "https://vault?x", "vault:8200"],
    ...["https://", "https://vault#x", "https://vault:99999"],
  ];
  for (const one of bad)
    t.throws(() => read(`vaults: {corp: {address: "${one}"}}\n`), { code: "config_invalid" }, one);
  for (const more of [
    "ca: file.pem",
    "mount: /secret",
    "mount: ../sys",
    "namespace: a/",
    "token: x",
    "tls: off",
  ])
    t.throws(
      () => read(`vaults: {corp: {address: "${address}", ${more}}}\n`),
      { code: "config_invalid" },
      more,
    );
  t.throws(() => read(`vaults: {"a b": {address: "${address}"}}\n`), /is no vault's name/);
});
