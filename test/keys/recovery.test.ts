import t from "tap";
import { decodeRecovery, encodeRecovery, newRecoverySecret } from "../../src/keys/recovery.ts";

const decode = (text: string): Buffer => decodeRecovery(Buffer.from(text));

t.test("20 bytes come back from 8 groups of 5", async (t) => {
  for (let i = 0; i < 200; i++) {
    const secret = newRecoverySecret();
    const code = encodeRecovery(secret).toString();
    t.match(code, /^([0-9A-HJKMNP-TV-Z]{5}-){7}[0-9A-HJKMNP-TV-Z]{5}$/);
    t.same(decode(code), secret);
  }
  t.equal(
    encodeRecovery(Buffer.alloc(20)).toString(),
    "00000-00001-00002-00003-00004-00005-00006-00007",
    "the position is part of each check",
  );
});

t.test("typed in any case, with blanks, without dashes, with O I L", async (t) => {
  const secret = Buffer.from("00443214c74254b635cf84653a56d7c675be77df", "hex");
  const code = encodeRecovery(secret).toString();
  t.same(decode(code.toLowerCase()), secret);
  t.same(decode(code.replaceAll("-", "")), secret);
  t.same(decode(` ${code.replaceAll("-", " ")}\r\n`), secret);
  t.same(decode(code.replaceAll("0", "o").replaceAll("1", "l")), secret);
  t.same(decode(code.replaceAll("0", "O").replaceAll("1", "I")), secret);
});

t.test("every single wrong character is found and its group is named", async (t) => {
  const code = encodeRecovery(newRecoverySecret()).toString();
  for (let i = 0; i < code.length; i++) {
    if (code[i] === "-") continue;
    for (const other of "0123456789ABCDEFGHJKMNPQRSTVWXYZ") {
      if (other === code[i]) continue;
      const group = Math.floor(i / 6) + 1;
      t.throws(() => decode(code.slice(0, i) + other + code.slice(i + 1)), {
        code: "input_invalid",
        detail: `The recovery code has a typing error in group ${group} of 8.`,
      });
    }
  }
});

t.test("swapped neighbours, swapped groups, missing and extra characters are found", async (t) => {
  const code = encodeRecovery(newRecoverySecret()).toString();
  const groups = code.split("-");
  for (let i = 0; i + 1 < code.length; i++) {
    const [a, b] = [code[i]!, code[i + 1]!];
    if (a === b || a === "-" || b === "-") continue;
    t.throws(() => decode(code.slice(0, i) + b + a + code.slice(i + 2)), { code: "input_invalid" });
  }
  for (let i = 0; i < 8; i++)
    for (let j = i + 1; j < 8; j++) {
      const swapped = [...groups];
      [swapped[i], swapped[j]] = [groups[j]!, groups[i]!];
      t.throws(() => decode(swapped.join("-")), { code: "input_invalid" });
    }
  t.throws(() => decode(code.slice(1)), { code: "input_invalid", detail: /39 of its 40/ });
  t.throws(() => decode(`${code}0`), { code: "input_invalid", detail: /longer than 40/ });
  t.throws(() => decode(`U${code.slice(1)}`), {
    code: "input_invalid",
    detail: /group 1 that is in no code/,
  });
  t.throws(() => decode(""), { code: "input_invalid", detail: /0 of its 40/ });
});
