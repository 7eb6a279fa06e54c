/**
 * How sessions end: by DELETE, by an operator, by disuse. Each end holds on every node at once and after any takeover, and
 * nothing of the session stays in the store but a tombstone that expires.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { type Cluster, startCluster } from "../harness/cluster.ts";
import { ask, callBody, initializeBody, type OpenSession, openSession, post } from "../harness/mcp_requests.ts";
import { REDIS_MISSING, redisAvailable } from "../harness/redis.ts";
import { SseConnection } from "../harness/sse_connection.ts";
import { waitUntil } from "../harness/wait.ts";

const PATH = "/mcp/exercise";
const IDLE_MS = 3_000;
const BIN = fileURLToPath(new URL("../../runtime/bin.mjs", import.meta.url));

describe("the end of a session, with three nodes", { skip: redisAvailable() ? false : REDIS_MISSING }, () => {
  let cluster: Cluster;
  const url = (node: number): string => `${cluster.urls[node]}${PATH}`;
  const call = (node: number, session: OpenSession) =>
    post(url(node), callBody("c", "echo", { text: "here" }), session.headers);
  const goneEverywhere = async (session: OpenSession): Promise<void> => {
    for (const node of [0, 1, 2]) {
      const reply = await call(node, session);
      assert.equal(reply.status, 404, `node ${node}: ${reply.text}`);
      assert.equal((await ask("GET", url(node), { ...session.headers, accept: "text/event-stream" })).status, 404);
    }
  };
  const open = async (node: number): Promise<OpenSession> => {
    const session = await openSession(url(node));
    for (const each of [0, 1, 2]) assert.equal((await call(each, session)).status, 200);
    return session;
  };
  /** What Redis holds of it: `state`, `tombstone`, or nothing. */
  const stored = async ({ id }: OpenSession): Promise<string> => {
    const key = await cluster.redis?.command("KEYS", `${cluster.keyPrefix}{d*}:a:session/${id}`);
    if (key === undefined || key === "") return "nothing";
    const [state, tombstone] = await Promise.all(["s", "t"].map((field) => cluster.redis?.command("HGET", key, field)));
    if (tombstone === "1") assert.ok(Number(await cluster.redis?.command("PTTL", key)) > 0, "a tombstone expires");
    return tombstone === "1" && state === "" ? "tombstone" : "state";
  };
  const metric = async (node: number, name: RegExp): Promise<number> => {
    const { text } = await ask("GET", `${cluster.urls[node]}/metrics`);
    return Number(new RegExp(`^${name.source} (\\d+)$`, "m").exec(text)?.[1] ?? 0);
  };

  before(async () => {
    cluster = await startCluster({
      nodes: 3,
      mcpServers: { exercise: { module: new URL("./fixtures/exercise.mjs", import.meta.url) } },
      config: {
        cluster: { node_lease_ttl_ms: 3_000, node_lease_renew_ms: 500 },
        mcp: { configurations: { sessions: { idle_timeout_ms: IDLE_MS } } },
      },
    });
  });
  after(() => cluster?.close());

  it("by DELETE at any node holds at once on every other, ends its open stream, and survives its owner", async () => {
    const session = await open(0);
    const stream = new SseConnection("GET", url(1), session.headers);
    await waitUntil(() => stream.status === 200, 10_000, "the stream to open");
    assert.equal((await ask("DELETE", url(2), session.headers)).status, 200);
    await goneEverywhere(session);
    await waitUntil(() => stream.ended, 5_000, "the stream to end");
    assert.equal((await ask("DELETE", url(1), session.headers)).status, 404);
    await cluster.kill(0);
    await cluster.restart(0);
    await goneEverywhere(session);
    assert.equal(await stored(session), "tombstone");
  });

  it("by an operator, at any node and with the command: as by DELETE", async () => {
    const [first, second] = [await open(0), await open(1)];
    const reply = await fetch(`${cluster.urls[2]}/api/cluster/sessions/${first.id}`, { method: "DELETE" });
    assert.equal(reply.status, 200);
    await goneEverywhere(first);
    const command = spawnSync("node", [BIN, "sessions", second.id, "--terminate", "--url", cluster.urls[0] ?? ""], {
      encoding: "utf8",
    });
    assert.deepEqual([command.status, command.stdout], [0, `session ${second.id} has ended\n`], command.stderr);
    await goneEverywhere(second);
    const again = await fetch(`${cluster.urls[0]}/api/cluster/sessions/${second.id}`, { method: "DELETE" });
    assert.equal(again.status, 404);
  });

  it("by disuse: everywhere, counted, and not while it is used or its stream is open", async () => {
    const [idle, used, open_] = [await open(0), await open(1), await open(2)];
    const stream = new SseConnection("GET", url(0), open_.headers);
    await waitUntil(() => stream.status === 200, 10_000, "the stream to open");
    const expired = await metric(0, /troupe_session_expired_total/);
    await waitUntil(
      async () => {
        assert.equal((await call(2, used)).status, 200);
        return (await stored(idle)) === "tombstone";
      },
      IDLE_MS * 5,
      "the idle session to end",
      IDLE_MS / 10,
    );
    await goneEverywhere(idle);
    assert.equal((await call(0, open_)).status, 200);
    await waitUntil(
      async () => (await metric(0, /troupe_session_expired_total/)) > expired,
      5_000,
      "the end to be counted",
    );
    stream.close();
  });

  it("by the death of its owner and then disuse: swept from the store by another node", async () => {
    const sessions = await Promise.all([openSession(url(2)), openSession(url(2)), openSession(url(2))]);
    for (const session of sessions) assert.equal(await stored(session), "state");
    await cluster.kill(2);
    for (const session of sessions) {
      await waitUntil(async () => (await stored(session)) === "tombstone", 40_000, `${session.id} to be swept`, 100);
    }
    const swept = await Promise.all([0, 1].map((node) => metric(node, /troupe_actors_swept_total\{kind="session"\}/)));
    assert.ok((swept[0] ?? 0) + (swept[1] ?? 0) >= sessions.length, String(swept));
    await cluster.restart(2);
    for (const session of sessions) await goneEverywhere(session);
  });

  it("leaves no entry in the index of owners behind", async () => {
    const session = await open(0);
    const entries = async (): Promise<string> => {
      const keys = (await cluster.redis?.command("KEYS", `${cluster.keyPrefix}{d*}:owners`)) ?? "";
      const all = await Promise.all(keys.split("\n").map((key) => cluster.redis?.command("HKEYS", key)));
      return all.join("\n");
    };
    assert.match(await entries(), new RegExp(session.id));
    assert.equal((await ask("DELETE", url(1), session.headers)).status, 200);
    assert.doesNotMatch(await entries(), new RegExp(session.id));
  });
});

describe("the bounds of sessions", () => {
  it("a full node says 503 and when to come back; a caller with too many is told 429; both are counted", async () => {
    const cluster = await startCluster({
      nodes: 1,
      mcpServers: { exercise: { module: new URL("./fixtures/exercise.mjs", import.meta.url) } },
      config: { mcp: { configurations: { sessions: { max_sessions: 3, max_per_principal: 2 } } } },
    });
    try {
      const url = `${cluster.urls[0]}${PATH}`;
      const as = (who: string) => ({ authorization: `Bearer ${who}` });
      const mine = [await openSession(url, as("a")), await openSession(url, as("a"))];
      const tooMany = await post(url, initializeBody(), as("a"));
      assert.equal(tooMany.status, 429, tooMany.text);
      assert.ok(tooMany.headers.get("retry-after"));
      await openSession(url, as("b"));
      const full = await post(url, initializeBody(), as("c"));
      assert.equal(full.status, 503, full.text);
      assert.ok(full.headers.get("retry-after"));
      assert.equal(full.headers.get("mcp-session-id"), null);
      const { text } = await ask("GET", `${cluster.urls[0]}/metrics`);
      for (const reason of ["sessions", "principal"]) {
        assert.match(text, new RegExp(`troupe_refusals_total\\{reason="${reason}"\\} 1`));
      }
      assert.equal((await ask("DELETE", url, mine[0]?.headers)).status, 200);
      await waitUntil(() => openSession(url, as("a")), 5_000, "room for another");
    } finally {
      await cluster.close();
    }
  });
});
