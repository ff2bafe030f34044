import { writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { PRIVATE_BLOCKS } from "../../src/core/addresses.ts";
import { readConfig } from "../../src/host/config.ts";

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
