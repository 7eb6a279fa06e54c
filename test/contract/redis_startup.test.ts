/** What the Redis coordinator refuses at the start, and how it says so. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { TroupeError } from "../../runtime/actor/errors.ts";
import { type CoordinatorConfig, openCoordinator } from "../../runtime/coordinator/open.ts";
import { examineServer, readServer } from "../../runtime/coordinator/redis/server.ts";
import { freePort } from "../harness/ports.ts";
import { REDIS_MISSING, type RedisServer, redisAvailable, startRedis } from "../harness/redis.ts";
import { waitUntil } from "../harness/wait.ts";

/** The refusal of a configuration that must not open. */
async function refusal(config: CoordinatorConfig): Promise<TroupeError> {
  try {
    const coordinator = await openCoordinator(config);
    await coordinator.close();
  } catch (error) {
    assert.ok(TroupeError.is(error), String(error));
    assert.equal(error.started, "no");
    return error;
  }
  throw new assert.AssertionError({ message: "it opened" });
}

describe("redis configuration", () => {
  const cases: [name: string, config: object, message: RegExp][] = [
    ["an unknown kind", { kind: "zookeeper" }, /cluster\.kind "zookeeper".*"single_node" or "redis"/],
    ["no kind", {}, /cluster\.kind undefined/],
    ["no url", { kind: "redis" }, /cluster\.url is missing.*redis:\/\/host:6379/],
    ["no URL at all", { kind: "redis", url: "localhost 6379" }, /cluster\.url is not a URL/],
    ["another scheme", { kind: "redis", url: "http://localhost" }, /cluster\.url has scheme "http"/],
    ["no host", { kind: "redis", url: "redis:///0" }, /cluster\.url names no host/],
    ["a query", { kind: "redis", url: "redis://h?keyPrefix=x" }, /must not have a query/],
    ["a database that is no number", { kind: "redis", url: "redis://h/abc" }, /path "\/abc".*database number/],
    ["a broken escape", { kind: "redis", url: "redis://:se%zzcret@h" }, /broken %-escape/],
    [
      "braces in the prefix",
      { kind: "redis", url: "redis://h", key_prefix: "a{b}" },
      /key_prefix "a\{b\}" must not contain braces/,
    ],
    ["an empty prefix", { kind: "redis", url: "redis://h", key_prefix: "" }, /key_prefix "" must have 1 to 128/],
    ["a space in the prefix", { kind: "redis", url: "redis://h", key_prefix: "a b" }, /spaces/],
    [
      "a timeout of nothing",
      { kind: "redis", url: "redis://h", operation_timeout_ms: 0 },
      /operation_timeout_ms.*50 to 60000, got 0/,
    ],
    ["a lease of half a millisecond", { kind: "redis", url: "redis://h", node_lease_ttl_ms: 0.5 }, /node_lease_ttl_ms/],
  ];
  for (const [name, config, message] of cases) {
    it(`is refused with ${name}, without a connection`, async () => {
      const error = await refusal(config as CoordinatorConfig);
      assert.equal(error.code, "invalid_argument");
      assert.match(error.message, message);
      assert.doesNotMatch(error.message, /cret/);
    });
  }
});

describe("redis at start-up", { skip: redisAvailable() ? false : REDIS_MISSING }, () => {
  let server: RedisServer;
  let secured: RedisServer;
  before(async () => {
    [server, secured] = await Promise.all([startRedis(), startRedis({ password: "open sesame/ü" })]);
  });
  after(async () => {
    await Promise.all([server.stop(), secured.stop()]);
  });
  const open = (url: string, more: object = {}): Promise<TroupeError> =>
    refusal({ kind: "redis", url, operation_timeout_ms: 300, ...more });

  it("says that nobody listens, and where", async () => {
    const port = await freePort();
    const error = await open(`redis://127.0.0.1:${port}`);
    assert.equal(error.code, "store_unavailable");
    assert.match(
      error.message,
      new RegExp(`cannot reach Redis at 127\\.0\\.0\\.1:${port} \\(.*ECONNREFUSED.*cluster\\.url`),
    );
  });

  it("says that the password is wrong, without repeating it", async () => {
    const error = await open(secured.url.replace("open", "wrong"));
    assert.match(error.message, /refused the user or password of cluster\.url/);
    assert.doesNotMatch(error.message, /sesame/);
  });

  it("says that a password is needed", async () => {
    const error = await open(`redis://127.0.0.1:${secured.port}`);
    assert.match(error.message, /refused the user or password of cluster\.url/);
  });

  it("opens with the right password, whatever its characters, and a database of its own", async () => {
    const coordinator = await openCoordinator({ kind: "redis", url: `${secured.url}/3` });
    assert.deepEqual(coordinator.health(), { ok: true });
    await coordinator.close();
    assert.match(await secured.info("keyspace"), /^db3:/m);
    assert.doesNotMatch(await secured.info("keyspace"), /^db0:/m);
  });

  it("does not wait for ever on a server that accepts and says nothing", async () => {
    server.freeze();
    try {
      const error = await open(server.url);
      assert.match(error.message, /cannot reach Redis .*no answer to the greeting within 300 ms/);
    } finally {
      server.thaw();
    }
  });

  it("refuses every eviction policy but noeviction, and names the remedy", async () => {
    for (const policy of ["allkeys-lru", "volatile-ttl", "allkeys-random"]) {
      await server.command("CONFIG", "SET", "maxmemory-policy", policy);
      const error = await open(server.url);
      assert.equal(error.code, "store_unavailable");
      assert.match(error.message, new RegExp(`maxmemory-policy ${policy}.*CONFIG SET maxmemory-policy noeviction`));
    }
    await server.command("CONFIG", "SET", "maxmemory-policy", "noeviction");
    await (await openCoordinator({ kind: "redis", url: server.url })).close();
  });

  it("refuses a primary with replicas that it does not wait for, and a replica", async () => {
    const replica = await startRedis({ args: ["--replicaof", "127.0.0.1", String(server.port)] });
    try {
      await waitUntil(
        async () => (await server.info("replication")).includes("connected_slaves:1"),
        20_000,
        "the replica",
      );
      assert.match((await open(server.url)).message, /accepts writes that none of them has.*min-replicas-to-write 1/);
      assert.match((await open(replica.url)).message, /read-only replica.*must name the primary/);
    } finally {
      await replica.stop();
    }
    await waitUntil(
      async () => (await server.info("replication")).includes("connected_slaves:0"),
      20_000,
      "the replica to be gone",
    );
    await server.command("CONFIG", "SET", "min-replicas-to-write", "1");
    assert.match((await open(server.url)).message, /refuses every write: start a replica/);
    await server.command("CONFIG", "SET", "min-replicas-to-write", "0");
  });

  it("refuses keys of a layout it does not know, and touches nothing", async () => {
    await (await openCoordinator({ kind: "redis", url: server.url, key_prefix: "future:" })).close();
    await server.command("HSET", "future:{m}:meta", "layout", "99");
    const generation = await server.command("GET", "future:{m}:generation");
    const error = await open(server.url, { key_prefix: "future:" });
    assert.match(error.message, /layout "99".*layout "1".*key_prefix/);
    assert.equal(await server.command("GET", "future:{m}:generation"), generation);
  });

  it("leaves no connection behind when it refuses", async () => {
    const clients = async (): Promise<number> =>
      Number(/connected_clients:(\d+)/.exec(await server.info("clients"))?.[1]);
    const before = await clients();
    await open(server.url, { key_prefix: "future:" });
    for (;;) if ((await clients()) <= before) break;
  });

  it("keeps two prefixes on one server apart", async () => {
    const [a, b] = await Promise.all(
      ["a:", "b:"].map((prefix) => openCoordinator({ kind: "redis", url: server.url, key_prefix: prefix })),
    );
    assert.ok(a !== undefined && b !== undefined);
    assert.notEqual(a.generation, b.generation);
    await a.keyValue.put("key", new Uint8Array([1]));
    assert.equal(await b.keyValue.get("key"), null);
    await Promise.all([a.close(), b.close()]);
  });
});

describe("what INFO says of a server", () => {
  const info = (more: Record<string, string>): string =>
    Object.entries({ redis_version: "7.0.15", run_id: "abc", role: "master", maxmemory_policy: "noeviction", ...more })
      .map(([name, value]) => `${name}:${value}\r\n`)
      .join("");
  const examine = (more: Record<string, string>): string | null => examineServer(readServer(info(more)));

  it("is fine for a primary that keeps what it is given", () => {
    assert.equal(examine({}), null);
    assert.equal(examine({ connected_slaves: "1", min_slaves_good_slaves: "1" }), null);
  });

  it("rules out a primary that waits for replicas it does not have", () => {
    assert.match(examine({ min_slaves_good_slaves: "0" }) ?? "", /refuses every write.*min-replicas-to-write 0/);
  });

  it("tells replicas that follow from one that is still being sent the data, which can confirm nothing", () => {
    const { replicas, onlineReplicas } = readServer(
      info({
        connected_slaves: "2",
        slave0: "ip=127.0.0.1,port=1,state=wait_bgsave,offset=0,lag=0",
        slave1: "ip=127.0.0.1,port=2,state=online,offset=14,lag=1",
      }),
    );
    assert.deepEqual([replicas, onlineReplicas], [2, 1]);
  });

  it("rules out old versions, replicas and unguarded replication", () => {
    assert.match(examine({ redis_version: "5.0.7" }) ?? "", /version 5\.0\.7.*6\.0/);
    assert.match(examine({ role: "slave" }) ?? "", /replica.*primary/);
    assert.match(examine({ connected_slaves: "2" }) ?? "", /min-replicas-to-write 1/);
  });
});
