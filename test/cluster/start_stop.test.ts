/** A node's life as its operator sees it: the ready line, signals, exit codes, sentences; and who is let into a cluster. */
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { type NodeInfo, startCluster, TEST_SECRET } from "../harness/cluster.ts";
import { type Leash, startLeash } from "../harness/leash.ts";
import { callBody, openSession, post } from "../harness/mcp_requests.ts";
import { NodeProcess, type RuntimeName } from "../harness/node_process.ts";
import { freePort } from "../harness/ports.ts";
import { REDIS_MISSING, redisAvailable, startRedis } from "../harness/redis.ts";
import { waitUntil } from "../harness/wait.ts";

const exercise = { module: new URL("./fixtures/exercise.mjs", import.meta.url).href };
const runtime: RuntimeName = process.versions.deno === undefined ? "node" : "deno";

describe("runtime start", () => {
  let leash: Leash;
  let folder: string;
  const started: NodeProcess[] = [];

  before(async () => {
    leash = startLeash();
    folder = await mkdtemp(join(tmpdir(), "troupe-start-"));
  });
  after(async () => {
    for (const node of started) await node.discard();
    await leash.close();
    await rm(folder, { recursive: true, force: true });
  });

  const start = (...args: string[]): NodeProcess => {
    const node = new NodeProcess({ runtime, args: ["start", ...args] }, leash);
    started.push(node);
    return node;
  };
  const configFile = async (name: string, config: unknown): Promise<string> => {
    const file = join(folder, name);
    await writeFile(file, JSON.stringify(config));
    return file;
  };

  it("prints one line when it serves, and exits with 0 on SIGTERM and on SIGINT", async () => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      const port = await freePort();
      const file = await configFile("plain.yaml", { mcpServers: { exercise } });
      const node = start("--config", file, "--port", String(port));
      assert.match(await node.ready(), new RegExp(`http://127\\.0\\.0\\.1:${port}/mcp`));
      const url = `http://127.0.0.1:${port}/mcp/exercise`;
      const { headers } = await openSession(url);
      const reply = await post(url, callBody(1, "echo", { text: "hello" }), headers);
      assert.deepEqual(reply.message?.result?.content, [{ type: "text", text: "hello" }]);
      node.signal(signal);
      assert.deepEqual(await node.exited, { code: 0, signal: null }, node.logs());
      assert.equal(node.stdout.trimEnd().split("\n").length, 1, "standard output holds the ready line alone");
      await assert.rejects(fetch(`http://127.0.0.1:${port}/health`));
    }
  });

  it("says in a sentence that its port is taken, and exits with 1", async () => {
    const blocker = createServer();
    await new Promise<void>((resolve) => blocker.listen(0, "127.0.0.1", resolve));
    const address = blocker.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    const node = start("--port", String(port));
    const exit = await node.exited;
    blocker.close();
    assert.equal(exit.code, 1);
    assert.equal(node.stdout, "");
    assert.match(node.stderr, new RegExp(`127\\.0\\.0\\.1:${port}.*in use`));
    assert.doesNotMatch(node.stderr, /\n\s+at /, "no stack trace");
  });

  it("names file, key and remedy of a wrong configuration, and exits with 1 or 2", async () => {
    const wrong: [name: string, config: unknown, mentions: RegExp[]][] = [
      ["unknown_key.yaml", { gateway: { server: { bind_adress: "127.0.0.1:1" } } }, [/bind_adress/, /bind_address/]],
      [
        "missing_variable.yaml",
        // biome-ignore lint/suspicious/noTemplateCurlyInString: it is what the file says.
        { mesh: { secret: "${env.TROUPE_NO_SUCH_VARIABLE}" } },
        [/mesh\.secret/, /TROUPE_NO_SUCH_VARIABLE/],
      ],
      ["wrong_type.yaml", { workers: "many" }, [/workers/, /many/]],
    ];
    for (const [name, config, mentions] of wrong) {
      const node = start("--config", await configFile(name, config));
      const { code } = await node.exited;
      assert.ok(code === 1 || code === 2, `${name} ended with ${code}`);
      for (const mention of [new RegExp(name.replace(".", "\\.")), ...mentions]) assert.match(node.stderr, mention);
      assert.doesNotMatch(node.stderr, /\n\s+at /, "no stack trace");
    }
  });

  it("refuses a cluster that others could join or read: no secret, and not on loopback alone", {
    skip: redisAvailable() ? false : REDIS_MISSING,
  }, async () => {
    const file = await configFile("open.yaml", {
      gateway: { server: { bind_address: `127.0.0.1:${await freePort()}` } },
      mesh: { bind_address: "0.0.0.0:0" },
      cluster: { kind: "redis", url: "redis://127.0.0.1:1" },
    });
    const node = start("--config", file);
    const { code } = await node.exited;
    assert.ok(code === 1 || code === 2, `it ended with ${code}`);
    assert.match(node.stderr, /secret/);
  });
});

describe("a cluster", { skip: redisAvailable() ? false : REDIS_MISSING }, () => {
  it("lists its nodes, forgets one that stopped, and takes it back", async () => {
    const cluster = await startCluster({ nodes: 2, mcpServers: { exercise } });
    try {
      const ids = async (index: number): Promise<string[]> =>
        (await cluster.api<NodeInfo[]>(index, "nodes?active=true")).map(({ id }) => id).sort();
      assert.deepEqual(await ids(0), ["n0", "n1"]);
      const [before] = (await cluster.api<NodeInfo[]>(0, "nodes")).filter(({ id }) => id === "n1");
      assert.deepEqual(await cluster.stop(1), { code: 0, signal: null }, cluster.logs(1));
      await waitUntil(async () => (await ids(0)).join() === "n0", 10_000, "the stopped node to be gone");
      await cluster.restart(1);
      assert.deepEqual(await ids(0), ["n0", "n1"]);
      const again = (await cluster.api<NodeInfo[]>(0, "nodes?active=true")).find(({ id }) => id === "n1");
      assert.notEqual(again?.incarnation, before?.incarnation, "an incarnation is never used twice");
    } finally {
      await cluster.close();
    }
  });

  it("does not talk to a node with another secret, and says so", async () => {
    const redis = await startRedis();
    const cluster = await startCluster({ nodes: 1, redis });
    const leash = startLeash();
    const folder = await mkdtemp(join(tmpdir(), "troupe-stranger-"));
    try {
      const file = join(folder, "stranger.yaml");
      const config = {
        gateway: { server: { bind_address: `127.0.0.1:${await freePort()}` } },
        node: { id: "stranger" },
        mesh: { bind_address: "127.0.0.1:0", secret: `${TEST_SECRET}, but another` },
        cluster: { kind: "redis", url: redis.url, key_prefix: cluster.keyPrefix },
      };
      await writeFile(file, JSON.stringify(config));
      const stranger = new NodeProcess({ runtime, args: ["start", "--config", file] }, leash);
      await waitUntil(
        () => /secret|authenticat|refus/i.test(cluster.logs(0) + stranger.logs()),
        20_000,
        "either node to log why the link was refused",
      );
      const metrics = await (await fetch(`${cluster.urls[0]}/metrics`)).text();
      assert.doesNotMatch(metrics, /stranger/);
      await stranger.discard();
    } finally {
      await cluster.close();
      await redis.stop();
      await leash.close();
      await rm(folder, { recursive: true, force: true });
    }
  });
});
