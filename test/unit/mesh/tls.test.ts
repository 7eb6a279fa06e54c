import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, test } from "node:test";
import type { MeshTls } from "../../../transports/mesh/options.ts";
import { authority, nodeCertificate, nodeKey, strangerCertificate, strangerKey } from "./certificates.ts";
import { call, introduce, startNode, startPair, startProxy, stopAll, until } from "./kit.ts";

const folder = mkdtempSync(join(tmpdir(), "troupe-mesh-"));
const file = (name: string, text: string): string => {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
};
const ca_path = file("authority.pem", authority);
const node: MeshTls = { cert_path: file("node.pem", nodeCertificate), key_path: file("node.key", nodeKey), ca_path };
const stranger: MeshTls = {
  cert_path: file("stranger.pem", strangerCertificate),
  key_path: file("stranger.key", strangerKey),
  ca_path,
};

afterEach(stopAll);
after(() => rmSync(folder, { recursive: true }));

test("with certificates of one authority nodes are linked without a secret, and nothing can be read on the way", async () => {
  const [a, b] = await startPair({ tls: node, secret: undefined });
  const proxy = await startProxy(a.port);
  const seen: Buffer[] = [];
  proxy.tap = (data) => {
    seen.push(Buffer.from(data));
    return data;
  };
  b.mesh.setPeers([]);
  await until(() => !a.mesh.connected(b.incarnation), "unlinked");
  b.mesh.setPeers([{ ...a.member, meshUrl: proxy.address }]);
  await until(() => a.mesh.connected(b.incarnation) && b.mesh.connected(a.incarnation), "linked through the proxy");
  const marker = "a text that must not be read by others";
  b.mesh.send(a.incarnation, "x", call(1, "x/y", marker, new Uint8Array(300_000)));
  await until(() => a.messages.length === 1, "the message");
  const bytes = Buffer.concat(seen);
  assert.ok(bytes.length > 300_000 && !bytes.includes(marker) && !bytes.includes("hello"));
});

test("a dialer without a certificate of the authority is refused although it knows the secret", async () => {
  const a = await startNode("a", { tls: node });
  const b = await startNode("b", { tls: stranger });
  introduce(a, b);
  await until(() => b.log.some((line) => line.includes("cannot connect to a peer")), "b says so");
  assert.deepEqual([a.links, b.links], [[], []]);
});

test("a listener without a certificate of the authority is refused although it knows the secret", async () => {
  const a = await startNode("a", { tls: { ...stranger, ca_path: undefined } });
  const b = await startNode("b", { tls: node });
  introduce(a, b);
  await until(() => b.log.some((line) => line.includes("cannot connect to a peer")), "b says so");
  assert.deepEqual([a.links, b.links], [[], []]);
});

test("with TLS the secret still counts", async () => {
  const a = await startNode("a", { tls: node });
  const b = await startNode("b", { tls: node, secret: "another secret than a" });
  introduce(a, b);
  await until(() => b.log.some((line) => /wrong secret/.test(line)), "b says so");
  assert.deepEqual(a.links, []);
});

test("a stranger who never finishes a TLS handshake is closed in time", async () => {
  const a = await startNode("a", { tls: node, limits: { handshakeMs: 100 } });
  const socket = connect(a.port, "127.0.0.1");
  socket.on("error", () => {});
  socket.on("data", () => {});
  socket.write(Buffer.from([22, 3, 1]));
  await until(() => socket.destroyed, "closed", 2_000);
});

test("a certificate that cannot be read is named", async () => {
  const tls = { ...node, key_path: join(folder, "missing.key") };
  await assert.rejects(startNode("a", { tls }), /mesh\.tls\.key_path.*missing\.key/);
});
