// Run as a confined role: tries what its filter and Landlock must refuse, what Node needs, and prints the outcomes as JSON.
import { execFileSync, spawn } from "node:child_process";
import { pbkdf2 } from "node:crypto";
import { fchmodSync, openSync, readFileSync } from "node:fs";
import { chmod, chown, link, lutimes, readFile, symlink, utimes, writeFile } from "node:fs/promises";
import net from "node:net";
import { Worker } from "node:worker_threads";

const [, , addon, noexec, outside] = process.argv;
const loaded = { exports: {} };
process.dlopen(loaded, addon);
const out = { landlock: process.env.SALLYPORT_LANDLOCK, env: Object.keys(process.env).sort() };
const told = (error) => (error ? error.code : "ok");
const attempt = async (name, run) => {
  try {
    await run();
    out[name] = "ok";
  } catch (error) {
    out[name] = told(error);
  }
};
const event = (emitter, good) =>
  new Promise((resolve, reject) => {
    emitter.once(good, resolve);
    emitter.once("error", reject);
  });

await attempt("spawnBefore", () => event(spawn("/bin/true"), "exit"));
loaded.exports.seccompTsync(readFileSync(noexec));
await attempt("execFile", () => execFileSync("/bin/true"));
await attempt("execve", () => process.execve?.("/bin/true", ["/bin/true"], {}));
await attempt("connect", () => event(net.connect(1, "127.0.0.1"), "connect"));
await attempt("listen", async () => event(net.createServer().listen(0, "127.0.0.1"), "listening"));
await attempt("unix", async () => {
  const server = net.createServer().listen(`\0sallyport-role-${process.pid}`);
  await event(server, "listening");
  server.close();
});
await attempt("unixConnect", () => event(net.connect("/nowhere/sallyport.sock"), "connect"));
await attempt("chmod", () => chmod("/nowhere", 0o4755));
await attempt("fchmod", () => fchmodSync(openSync(noexec), 0o4755));
await attempt("chown", () => chown("/nowhere", 0, 0));
await attempt("utimes", () => utimes("/nowhere", 0, 0));
await attempt("lutimes", () => lutimes("/nowhere", 0, 0));
await attempt("link", () => link("/nowhere", "/nowhere2"));
await attempt("symlink", () => symlink("/nowhere", "/nowhere2/x"));
await attempt("setgroups", () => process.setgroups([]));
await attempt("setuid", () => process.setuid(process.getuid()));
await attempt("killSelf", () => process.kill(process.pid, 0));
await attempt("caps", () => {
  const caps = /CapEff:\t(\w+)/.exec(readFileSync("/proc/thread-self/status", "utf8"))?.[1];
  if (!/^0+$/.test(caps)) throw { code: caps };
});
await attempt("socketpair", () => loaded.exports.socketpair());
await attempt("open", () => openSync(noexec));
await attempt("readOutside", () => readFile(outside));
await attempt("writeOutside", () => writeFile(`${outside}.new`, "x"));
await attempt("readInside", () => readFile(noexec));
await attempt("pool", () => new Promise((resolve) => pbkdf2("a", "b", 1000, 32, "sha256", resolve)));
await attempt("worker", () => event(new Worker("1", { eval: true }), "exit"));
await attempt("signal", () => process.kill(process.ppid, 0));
console.log(JSON.stringify(out));
process.exit(0);
