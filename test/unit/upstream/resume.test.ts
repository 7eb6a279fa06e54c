/** What the next owner of a connection over HTTP goes on with: the session, answers under way, questions. */
import assert from "node:assert/strict";
import { afterEach, describe, it } from "node:test";
import { TroupeError } from "../../../runtime/actor/errors.ts";
import { createUpstreamClient } from "../../../transports/upstream/client.ts";
import type { SentRequest, UpstreamClient, UpstreamSession } from "../../../transports/upstream/contract.ts";
import { type HttpUpstream, startHttpUpstream } from "./http_upstream.ts";
import { HANDSHAKE, RecordingOwner, testServices, until, upstream } from "./kit.ts";

const clients: UpstreamClient[] = [];
const upstreams: HttpUpstream[] = [];
afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close("ended")));
  await Promise.all(upstreams.splice(0).map((one) => one.close()));
});

class Owner extends RecordingOwner {
  readonly forgotten: string[] = [];
  onForgotten(upstream: string): void {
    this.forgotten.push(upstream);
  }
}

/** An owner of a connection to `server`, with an epoch of its own. */
function own(server: HttpUpstream, epoch: string, resume?: UpstreamSession) {
  const owner = new Owner();
  const client = createUpstreamClient(upstream({ kind: "http", url: server.url, headers: {} }), {
    epoch,
    owner,
    handshake: { ...HANDSHAKE, capabilities: { elicitation: { form: {} } } },
    services: testServices(),
    resume,
  });
  clients.push(client);
  const call = (name: string, args: Record<string, unknown>, related: number): Promise<string> =>
    client.request("tools/call", { name, arguments: args }, { related, progress: false }).then(textOf);
  return { owner, client, call };
}

function textOf(result: unknown): string {
  return (result as { content: { text: string }[] }).content[0]?.text ?? "";
}

async function start(version: "v1" | "v2", events = true): Promise<HttpUpstream> {
  const server = await startHttpUpstream(version, { events });
  upstreams.push(server);
  return server;
}

/** What a successor is given of call `related`, once its answer's stream has begun. */
async function sent(client: UpstreamClient, related: number): Promise<SentRequest> {
  await until("the answer's stream has an id", () => client.sent?.(related)?.cursor !== undefined);
  return client.sent?.(related) as SentRequest;
}

for (const version of ["v1", "v2"] as const) {
  describe(`the next owner of a connection over HTTP (SDK ${version})`, () => {
    it("goes on in the same session without a handshake, and the former one's end is no end for the upstream", async () => {
      const server = await start(version);
      const first = own(server, "e1");
      assert.equal(await first.call("echo", { text: "a" }, 1), "a");
      const session = first.client.session as UpstreamSession;
      await first.client.close("fenced");
      const second = own(server, "e2", session);
      assert.equal(await second.call("echo", { text: "b" }, 1), "b");
      assert.deepEqual([server.sessions.size, server.deleted], [1, []]);
      assert.equal(second.owner.starts, 0, "nothing is to be told again");
      assert.equal(second.client.session?.sessionId, session.sessionId);
    });

    it("gets the answer of a call that the former one sent", async () => {
      const server = await start(version);
      const first = own(server, "e1");
      await first.client.start();
      const seen = globalThis as { release?: () => void };
      first.call("held", {}, 7).catch(() => {});
      const request = await sent(first.client, 7);
      assert.match(String(request.id), /^e1:/);
      const session = first.client.session as UpstreamSession;
      await first.client.close("fenced");
      const second = own(server, "e2", session);
      const resumed = second.client.resumeRequest?.(request, { related: 3 });
      await second.client.start();
      await until("the call still runs", () => seen.release !== undefined);
      seen.release?.();
      assert.equal(textOf(await resumed), "released");
    });

    it("cancels a call that the former one sent", async () => {
      const server = await start(version);
      const first = own(server, "e1");
      await first.client.start();
      first.call("wait", {}, 7).catch(() => {});
      const request = await sent(first.client, 7);
      const session = first.client.session as UpstreamSession;
      await first.client.close("drain");
      const seen = globalThis as { abortedCalls?: number };
      const before = seen.abortedCalls ?? 0;
      const second = own(server, "e2", session);
      const resumed = second.client.resumeRequest?.(request, { related: 3 });
      second.client.cancel(3, "enough");
      await assert.rejects(resumed as Promise<unknown>, { code: "cancelled" });
      await until("the handler was aborted", () => (seen.abortedCalls ?? 0) > before);
    });

    it("answers a question that the former one took, and is not asked it again", async () => {
      const server = await start(version);
      const first = own(server, "e1");
      first.owner.answer = () => new Promise(() => {});
      await first.client.start();
      first.call("ask", { text: "who?" }, 7).catch(() => {});
      // Its cursor from before the question: the upstream repeats it.
      const request = await sent(first.client, 7);
      await until("the question", () => first.owner.requests.length === 1);
      const session = first.client.session as UpstreamSession;
      await first.client.close("fenced");
      const second = own(server, "e2", session);
      let answer = (_result: unknown): void => {};
      const answered = new Promise<unknown>((resolve) => {
        answer = resolve;
      });
      second.client.resumeQuestion?.(first.owner.ids[0] ?? "", answered);
      const resumed = second.client.resumeRequest?.(request, { related: 3 });
      await second.client.start();
      answer({ action: "accept", content: { said: "me" } });
      assert.match(textOf(await resumed), /me/);
      assert.equal(second.owner.requests.length, 0);
    });

    it("begins a new session where the upstream forgot it, says so, and what was on its way is lost", async () => {
      const server = await start(version);
      const first = own(server, "e1");
      await first.client.start();
      const session = first.client.session as UpstreamSession;
      await first.client.close("fenced");
      server.sessions.clear();
      const second = own(server, "e2", session);
      const resumed = second.client.resumeRequest?.({ id: "e1:9", cursor: "e1" }, { related: 3 });
      const lost = assert.rejects(
        resumed as Promise<unknown>,
        (error) => TroupeError.is(error, "unavailable") && error.started === "unknown",
      );
      assert.equal(await second.call("echo", { text: "b" }, 1), "b");
      await lost;
      assert.deepEqual([second.owner.forgotten, second.owner.starts], [["fixture"], 1]);
      assert.deepEqual(server.deleted, []);
    });
  });
}

describe("a call whose upstream gives no event ids", () => {
  it("has no cursor, so its answer cannot be fetched by another owner", async () => {
    const server = await start("v1", false);
    const first = own(server, "e1");
    await first.client.start();
    first.call("wait", {}, 7).catch(() => {});
    await until("the call runs", () => server.headers.length >= 4);
    const request = first.client.sent?.(7) as SentRequest;
    assert.equal(request.cursor, undefined);
    const second = own(server, "e2", first.client.session);
    await assert.rejects(second.client.resumeRequest?.(request, { related: 1 }) as Promise<unknown>, {
      code: "unavailable",
      started: "unknown",
    });
  });
});

describe("an upstream that cannot be reached at a takeover", () => {
  it("keeps its session: it is gone on with when the upstream is back", async () => {
    const server = await start("v1");
    const first = own(server, "e1");
    await first.client.start();
    const session = first.client.session as UpstreamSession;
    await first.client.close("fenced");
    const elsewhere = { ...server, url: "http://127.0.0.1:1/mcp" };
    const second = own(elsewhere, "e2", session);
    await assert.rejects(second.call("echo", { text: "x" }, 1), { code: "unavailable", started: "no" });
    assert.deepEqual(second.client.session, session);
    assert.deepEqual(second.owner.forgotten, []);
  });
});
