/**
 * A rolling restart of three nodes under load: each is told to stop with SIGTERM, exits with 0, and is started again,
 * while sessions go on calling through whichever node takes their connection. No call may fail and no session be lost;
 * what upstreams count shows that no call ran twice, and that the memory of HTTP upstreams and of modules that export it
 * goes on. A process begins anew where its session moves.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { Balancer } from "../harness/balancer.ts";
import { type Cluster, startCluster } from "../harness/cluster.ts";
import { callBody, initializeBody } from "../harness/mcp_requests.ts";
import { REDIS_MISSING, redisAvailable } from "../harness/redis.ts";
import { within } from "../harness/wait.ts";
import { type HttpUpstream, startHttpUpstream } from "../unit/upstream/http_upstream.ts";

const MODULE = new URL("./fixtures/tally.mjs", import.meta.url);
const STDIO = fileURLToPath(new URL("./fixtures/tally_stdio.mjs", import.meta.url));
/** Sessions per upstream. */
const SESSIONS = { remote: 5, module: 5, stdio: 2 } as const;
type Upstream = keyof typeof SESSIONS;

class Session {
  readonly upstream: Upstream;
  readonly counts: number[] = [];
  readonly owners = new Set<string>();
  readonly #balancer: Balancer;
  #headers: Record<string, string> = {};
  #calls = 0;

  constructor(upstream: Upstream, balancer: Balancer) {
    this.upstream = upstream;
    this.#balancer = balancer;
  }

  get path(): string {
    return `/mcp/${this.upstream}`;
  }
  get id(): string {
    return this.#headers["mcp-session-id"] ?? "";
  }

  async open(): Promise<this> {
    const reply = await this.#balancer.send("POST", this.path, {}, initializeBody());
    assert.equal(reply.status, 200, reply.text);
    this.#headers = {
      "mcp-session-id": String(reply.headers["mcp-session-id"]),
      "mcp-protocol-version": "2025-11-25",
    };
    const initialized = { jsonrpc: "2.0", method: "notifications/initialized" };
    assert.equal((await this.#balancer.send("POST", this.path, this.#headers, initialized)).status, 202);
    return this;
  }

  /** One call, most of them short, some long enough to be answered as a stream. */
  async call(): Promise<void> {
    const id = `c${++this.#calls}`;
    const ms = this.#calls % 5 === 0 ? 300 : this.#calls % 3 === 0 ? 20 : 0;
    const reply = await this.#balancer.send("POST", this.path, this.#headers, callBody(id, "next", { ms }));
    const answer = reply.messages.find((message) => message.id === id);
    const content = answer?.result?.content as { text: string }[] | undefined;
    if (reply.status !== 200 || content === undefined || answer?.result?.isError === true) {
      throw new Error(
        `call ${id} of a session on ${this.upstream}, at node ${reply.node}: ${reply.status} ${reply.text}`,
      );
    }
    this.counts.push(Number(content[0]?.text));
  }

  async end(): Promise<void> {
    const { status, text, node } = await this.#balancer.send("DELETE", this.path, this.#headers);
    assert.equal(status, 200, `DELETE at node ${node}: ${text}`);
  }
}

describe("a rolling restart of three nodes under load", { skip: redisAvailable() ? false : REDIS_MISSING }, () => {
  let cluster: Cluster;
  let remote: HttpUpstream;

  before(async () => {
    const { default: factory } = await import(MODULE.href);
    remote = await startHttpUpstream("v1", { factory });
    cluster = await startCluster({
      nodes: 3,
      mcpServers: {
        remote: { url: remote.url },
        module: { module: MODULE },
        stdio: { command: "node", args: [STDIO] },
      },
      config: { mcp: { configurations: { response: { stream_after_ms: 100 } } } },
    });
  });
  after(async () => {
    await cluster?.close();
    await remote?.close();
  });

  it("fails no call and loses no session", async () => {
    const balancer = new Balancer(cluster.urls);
    const sessions = await Promise.all(
      (Object.keys(SESSIONS) as Upstream[]).flatMap((upstream) =>
        Array.from({ length: SESSIONS[upstream] }, () => new Session(upstream, balancer).open()),
      ),
    );
    let over = false;
    const load = Promise.all(
      sessions.map(async (session) => {
        while (!over) await session.call();
      }),
    );
    load.catch(() => {});
    const opened: Session[] = [];
    // Clients come at any time.
    const newcomers = (async () => {
      while (!over) {
        const session = await new Session("module", balancer).open();
        await session.call();
        if (opened.push(session) > 8) await opened.shift()?.end();
      }
    })();
    newcomers.catch(() => {});

    const took: number[] = [];
    for (const index of [0, 1, 2]) {
      balancer.doubt(index);
      const at = performance.now();
      const exit = await Promise.race([cluster.stop(index), failed(load), failed(newcomers)]);
      took.push(Math.round(performance.now() - at));
      assert.deepEqual(exit, { code: 0, signal: null }, cluster.logs(index));
      await Promise.race([cluster.restart(index), failed(load), failed(newcomers)]);
      balancer.back(index);
    }
    over = true;
    await within(Promise.all([load, newcomers]), 20_000, "the last calls");
    console.log(`# from SIGTERM to the end of each node, ms: ${took.join(", ")}`);

    for (const session of sessions) {
      const { counts, upstream } = session;
      assert.ok(counts.length > 5, `a session on ${upstream} made ${counts.length} calls`);
      await session.call();
      if (upstream !== "stdio") {
        assert.deepEqual(
          counts,
          Array.from(counts, (_, index) => index + 1),
          "each call ran once",
        );
      } else {
        const jumps = counts.filter((count, index) => count !== (counts[index - 1] ?? 0) + 1);
        assert.ok(jumps.length <= 3 && jumps.every((count) => count === 1), counts.join(" "));
      }
    }
    const calls = sessions.reduce((sum, { counts }) => sum + counts.length, 0);
    console.log(
      `# ${calls} calls; connections refused and taken by another node: ${balancer.refused}; put off, node too busy: ${balancer.shed}`,
    );
    for (const session of [...sessions, ...opened]) await session.end();
  });
});

/** Rejects when `work` does. */
function failed(work: Promise<unknown>): Promise<never> {
  return new Promise((_, reject) => void work.catch(reject));
}
