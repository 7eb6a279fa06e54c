import assert from "node:assert/strict";
import { test } from "node:test";
import { advertisedAddress, isLoopback, parseAddress } from "../../../transports/mesh/address.ts";
import { FrameCipher } from "../../../transports/mesh/auth.ts";
import { meshSecurityProblem } from "../../../transports/mesh/security.ts";
import { startNode, stopAll } from "./kit.ts";

const secret = "0123456789abcdef";
const tls = { cert_path: "c", key_path: "k" };

test("a mesh on loopback needs no secret", () => {
  for (const bindHost of ["127.0.0.1", "127.8.8.8", "::1", "localhost"]) {
    assert.equal(meshSecurityProblem({ bindHost }), null);
  }
});

test("a mesh that others can reach needs a secret or an authority for certificates", () => {
  assert.match(meshSecurityProblem({ bindHost: "0.0.0.0" }) ?? "", /0\.0\.0\.0.*mesh\.secret/);
  assert.match(meshSecurityProblem({ bindHost: "10.0.0.1", secret: "" }) ?? "", /no mesh\.secret/);
  assert.match(meshSecurityProblem({ bindHost: "127.0.0.1", advertise: "node.example:7000" }) ?? "", /advertise/);
  assert.match(meshSecurityProblem({ bindHost: "::", tls }) ?? "", /ca_path/);
  assert.match(meshSecurityProblem({ bindHost: "::", secret: "short" }) ?? "", /at least 16/);
  assert.match(meshSecurityProblem({ bindHost: "127.0.0.1", advertise: "a:b:c" }) ?? "", /host:port/);
  assert.equal(meshSecurityProblem({ bindHost: "0.0.0.0", secret }), null);
  assert.equal(meshSecurityProblem({ bindHost: "0.0.0.0", tls: { ...tls, ca_path: "a" } }), null);
});

test("a mesh with a security problem does not listen", async () => {
  await assert.rejects(startNode("a", { bind: { host: "0.0.0.0", port: 0 }, secret: undefined }), /mesh\.secret/);
  await stopAll();
});

test("what loopback is", () => {
  for (const host of ["127.0.0.1", "::1", "::ffff:127.0.0.1", "[::1]", "localhost"]) assert.ok(isLoopback(host), host);
  for (const host of ["10.0.0.1", "::", "0.0.0.0", "127.evil.example", "::ffff:10.0.0.1", undefined]) {
    assert.ok(!isLoopback(host), host);
  }
});

test("addresses", () => {
  assert.deepEqual(parseAddress("h:1"), { host: "h", port: 1 });
  assert.deepEqual(parseAddress("[::1]:1"), { host: "::1", port: 1 });
  assert.deepEqual(parseAddress("::1"), { host: "::1", port: 0 });
  for (const text of ["", "a b:1", "h:70000", "h:x", "http://h:1"]) assert.equal(parseAddress(text), null, text);
  assert.equal(advertisedAddress({ host: "127.0.0.1", port: 5 }, undefined), "127.0.0.1:5");
  assert.equal(advertisedAddress({ host: "::1", port: 5 }, undefined), "[::1]:5");
  assert.equal(advertisedAddress({ host: "0.0.0.0", port: 5 }, "h"), "h:5");
  assert.equal(advertisedAddress({ host: "0.0.0.0", port: 5 }, "h:0"), "h:5");
  assert.equal(advertisedAddress({ host: "0.0.0.0", port: 5 }, "h:9"), "h:9");
  assert.doesNotMatch(advertisedAddress({ host: "0.0.0.0", port: 5 }, undefined), /0\.0\.0\.0/);
});

test("sealed frames open once, in order, unchanged, and only at the other side", () => {
  const key = Buffer.alloc(32, 1);
  const said = Buffer.from("said");
  const ciphers = () => [new FrameCipher(key, "dialer", said), new FrameCipher(key, "listener", said)] as const;
  const text = Buffer.from("frame");

  const [dialer, listener] = ciphers();
  const [first, second] = [dialer.seal(text), dialer.seal(text)];
  assert.notDeepEqual(first, second);
  assert.deepEqual(listener.open(first), text);
  assert.deepEqual(listener.open(second), text);

  assert.equal(ciphers()[1].open(second), null, "a dropped frame");
  const repeated = ciphers()[1];
  assert.deepEqual(repeated.open(first), text);
  assert.equal(repeated.open(first), null, "a repeated frame");
  assert.equal(ciphers()[0].open(first), null, "a reflected frame");
  assert.equal(new FrameCipher(key, "listener", Buffer.from("other")).open(first), null, "another socket's frame");
  for (let index = 0; index < first.length; index++) {
    const changed = Buffer.from(first);
    changed[index] = (changed[index] ?? 0) ^ 1;
    assert.equal(ciphers()[1].open(changed), null, `byte ${index} changed`);
  }
  assert.equal(ciphers()[1].open(first.subarray(0, 10)), null, "a cut frame");
});
