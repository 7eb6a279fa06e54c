import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Answer, SharedEvent } from "../../../actors/server/events.ts";
import { SharedUpstream } from "../../../actors/server/shared_upstream.ts";
import { TroupeError } from "../../../runtime/actor/errors.ts";
import { createUpstreamClient } from "../../../transports/upstream/client.ts";
import type { RpcRequest } from "../../../transports/upstream/contract.ts";
import { HANDSHAKE, ManualClock, ScriptedChannel, settle, stdioConfig, testServices } from "./kit.ts";

function shared() {
  const services = testServices({ clock: new ManualClock() });
  const channels: ScriptedChannel[] = [];
  const config = stdioConfig("good", { isolation: "shared" });
  const permits = { acquire: async () => ({ release() {} }), failed() {} };
  const upstream = new SharedUpstream(config, {
    epoch: "e1",
    services,
    permits,
    client: (owner) =>
      createUpstreamClient(config, {
        epoch: "e1",
        owner,
        handshake: HANDSHAKE,
        services,
        shared: true,
        open: () => {
          const channel = new ScriptedChannel();
          channels.push(channel);
          return channel;
        },
      }),
  });
  const channel = (): ScriptedChannel => channels.at(-1) as ScriptedChannel;
  return { upstream, services, channel };
}

/** A session's end of its attachment. */
class Session {
  readonly events: SharedEvent[] = [];
  readonly id: string;
  ended = false;
  readonly #abort = new AbortController();
  readonly #upstream: SharedUpstream;

  constructor(upstream: SharedUpstream, id: string) {
    this.#upstream = upstream;
    this.id = id;
    void this.#read();
  }
  async #read(): Promise<void> {
    for await (const event of this.#upstream.attach(this.id, this.#abort.signal)) this.events.push(event);
    this.ended = true;
  }
  leave(reason?: TroupeError): void {
    this.#abort.abort(reason);
  }
  call(method: string, params: Record<string, unknown> = {}, related = 1, progress = false): Promise<Answer> {
    const { signal } = new AbortController();
    return this.#upstream.request(this.id, method, params, related, { progress, signal });
  }
  notifications(): { method: string; params: unknown; related: number | undefined }[] {
    return this.events.flatMap((event) =>
      event.kind === "notification" ? [{ method: event.method, params: event.params, related: event.related }] : [],
    );
  }
  requests(): (SharedEvent & { kind: "request" })[] {
    return this.events.filter((event): event is SharedEvent & { kind: "request" } => event.kind === "request");
  }
}

async function attach(upstream: SharedUpstream, ...ids: string[]): Promise<Session[]> {
  const sessions = ids.map((id) => new Session(upstream, id));
  await settle();
  return sessions;
}

/** Deterministic random numbers below `n`. */
function random(seed: number): (n: number) => number {
  let state = seed;
  return (n) => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return Math.floor((state / 2_147_483_648) * n);
  };
}

describe("sessions that share an upstream", () => {
  for (const exact of [true, false]) {
    const transport = exact ? "a transport that relates messages" : "a transport that does not";
    it(`never get each other's messages, with equal ids and tokens, over ${transport} (30 seeds)`, async () => {
      for (let seed = 1; seed <= 30; seed++) {
        const pick = random(seed);
        const { upstream, channel } = shared();
        const sessions = await attach(upstream, "a", "b", "c");
        const answers: Promise<void>[] = [];
        /** Calls the upstream has not answered. */
        const open: RpcRequest[] = [];
        let seen = 0;
        for (let step = 0; step < 60; step++) {
          const session = sessions[pick(3)] as Session;
          // Every session counts its calls from 1 and uses the same progress tokens.
          const related = 1 + Math.floor(step / 3);
          const busy = open.some(({ params }) => params?.owner === session.id && params?.related === related);
          if (pick(2) === 0 && !busy) {
            const params = { owner: session.id, related, _meta: { progressToken: related } };
            answers.push(
              session.call("tools/call", params, related, true).then((answer) => {
                assert.deepEqual(answer, { result: { owner: session.id, related } }, `seed ${seed}`);
              }),
            );
            open.push(...channel().requests("tools/call").slice(seen));
            seen = channel().requests("tools/call").length;
          } else if (open.length > 0) {
            const at = pick(open.length);
            const { id, params } = open[at] as RpcRequest;
            const about = { owner: params?.owner, related: params?.related };
            const info = exact ? { relatedRequestId: id } : {};
            const kind = pick(4);
            if (kind === 0) {
              const token = (params?._meta as { progressToken: unknown } | undefined)?.progressToken;
              channel().receive({
                jsonrpc: "2.0",
                method: "notifications/progress",
                params: { progressToken: token, ...about },
              });
            } else if (kind === 1) {
              channel().receive(
                { jsonrpc: "2.0", method: "notifications/message", params: { level: "info", ...about } },
                info,
              );
            } else if (kind === 2) {
              channel().receive({ jsonrpc: "2.0", id: step, method: "sampling/createMessage", params: about }, info);
            } else {
              open.splice(at, 1);
              channel().answer(id, about);
            }
          }
          await settle();
        }
        for (const { id, params } of open) channel().answer(id, { owner: params?.owner, related: params?.related });
        await Promise.all(answers);
        let delivered = 0;
        for (const session of sessions) {
          for (const event of session.events) {
            if (event.kind !== "notification" && event.kind !== "request") continue;
            delivered++;
            assert.equal(event.params?.owner, session.id, `seed ${seed}: ${event.method}`);
            if (exact || event.method === "notifications/progress") assert.equal(event.related, event.params?.related);
          }
        }
        assert.ok(delivered > 0, `seed ${seed}: nothing was delivered`);
        for (const session of sessions) session.leave();
      }
    });
  }

  it("have a request refused that cannot be told to belong to one of them, and it is counted", async () => {
    const { upstream, channel, services } = shared();
    const [a, b] = await attach(upstream, "a", "b");
    void a?.call("x");
    void b?.call("x");
    await settle();
    channel().receive({ jsonrpc: "2.0", id: 1, method: "elicitation/create", params: {} });
    await settle();
    const answer = channel().sent.at(-1);
    assert.ok(answer !== undefined && "error" in answer);
    assert.match(answer.error?.message ?? "", /which session.*2 have calls in flight.*"isolation": "session"/);
    assert.equal(services.counts.get("troupe_upstream_uncorrelated_total"), 1);
  });

  it("answer only what they were asked themselves", async () => {
    const { upstream, channel } = shared();
    const [a, b] = await attach(upstream, "a", "b");
    void a?.call("x", {}, 5);
    await settle();
    channel().receive({ jsonrpc: "2.0", id: "q", method: "elicitation/create", params: {} });
    await settle();
    const asked = a?.requests()[0];
    assert.equal(asked?.related, 5);
    assert.equal(b?.requests().length, 0);
    upstream.respond("b", asked?.id ?? 0, { result: "forged" });
    upstream.respond("a", asked?.id ?? 0, { result: "true" });
    await settle();
    assert.deepEqual(channel().sent.at(-1), { jsonrpc: "2.0", id: "q", result: "true" });
  });

  it("subscribe together: one subscription, updates for those who want them, given up by the last", async () => {
    const { upstream, channel } = shared();
    const [a, b, c] = await attach(upstream, "a", "b", "c");
    const uri = "test://x";
    const first = a?.call("resources/subscribe", { uri });
    const second = b?.call("resources/subscribe", { uri });
    await settle();
    const asked = channel().requests("resources/subscribe");
    assert.equal(asked.length, 1);
    channel().answer(asked[0]?.id ?? "", {});
    assert.deepEqual([await first, await second], [{ result: {} }, { result: {} }]);
    channel().receive({ jsonrpc: "2.0", method: "notifications/resources/updated", params: { uri } });
    await settle();
    assert.deepEqual(
      [a, b, c].map((session) => session?.notifications().length),
      [1, 1, 0],
    );
    assert.deepEqual(await a?.call("resources/unsubscribe", { uri }), { result: {} });
    assert.equal(channel().requests("resources/unsubscribe").length, 0);
    b?.leave();
    await settle();
    assert.deepEqual(channel().requests("resources/unsubscribe")[0]?.params, { uri });
  });

  it("whose subscription the upstream refuses are all told, and may try again", async () => {
    const { upstream, channel } = shared();
    const [a, b] = await attach(upstream, "a", "b");
    const uri = "test://x";
    const both = [a?.call("resources/subscribe", { uri }), b?.call("resources/subscribe", { uri })];
    await settle();
    const error = { code: -32602, message: "no such resource" };
    channel().receive({ jsonrpc: "2.0", id: channel().requests("resources/subscribe")[0]?.id ?? "", error });
    assert.deepEqual(await Promise.all(both), [{ error }, { error }]);
    void a?.call("resources/subscribe", { uri });
    await settle();
    assert.equal(channel().requests("resources/subscribe").length, 2);
  });

  it("get the most verbose log level upstream, and each its own", async () => {
    const { upstream, channel } = shared();
    const [a, b] = await attach(upstream, "a", "b");
    const set = (session: Session | undefined, level: string) => {
      const answer = session?.call("logging/setLevel", { level });
      const asked = channel().requests("logging/setLevel").at(-1);
      if (asked !== undefined) channel().answer(asked.id, {});
      return answer;
    };
    await set(a, "error");
    await set(b, "debug");
    assert.deepEqual(
      channel()
        .requests("logging/setLevel")
        .map(({ params }) => params?.level),
      ["error", "debug"],
    );
    void a?.call("x", {}, 1);
    b?.call("x", {}, 1).catch(() => {});
    await settle();
    const log = (level: string): void => {
      for (const { id } of channel().requests("x")) {
        const note = { jsonrpc: "2.0", method: "notifications/message", params: { level } } as const;
        channel().receive(note, { relatedRequestId: id });
      }
    };
    log("debug");
    log("error");
    await settle();
    assert.deepEqual([a?.notifications().length, b?.notifications().length], [1, 2]);
    b?.leave();
    await settle();
    assert.equal(channel().requests("logging/setLevel").at(-1)?.params?.level, "error");
  });

  it("hear of changed lists, all of them, once however often it is said", async () => {
    const { upstream, channel } = shared();
    const [a, b] = await attach(upstream, "a", "b");
    for (let n = 0; n < 5_000; n++) channel().receive({ jsonrpc: "2.0", method: "notifications/tools/list_changed" });
    await settle();
    assert.deepEqual([a?.notifications().length, b?.notifications().length], [1, 1]);
  });

  it("hear of a completed elicitation only if they were asked", async () => {
    const { upstream, channel } = shared();
    const [a, b] = await attach(upstream, "a", "b");
    void a?.call("x");
    await settle();
    channel().receive({
      jsonrpc: "2.0",
      id: 1,
      method: "elicitation/create",
      params: { mode: "url", elicitationId: "el" },
    });
    channel().receive({
      jsonrpc: "2.0",
      method: "notifications/elicitation/complete",
      params: { elicitationId: "el" },
    });
    await settle();
    assert.deepEqual([a?.notifications().length, b?.notifications().length], [1, 0]);
  });

  it("that leave have their calls cancelled, and nobody else's", async () => {
    const { upstream, channel } = shared();
    const [a, b] = await attach(upstream, "a", "b");
    a?.call("x", {}, 1).catch(() => {});
    b?.call("x", {}, 1).catch(() => {});
    await settle();
    const [first] = channel().requests("x");
    a?.leave();
    await settle();
    assert.equal(a?.ended, true);
    assert.deepEqual(
      channel()
        .notified("notifications/cancelled")
        .map((params) => params?.requestId),
      [first?.id],
    );
    assert.equal(upstream.sessions, 1);
  });

  for (const code of ["draining", "fenced"] as const) {
    it(`that lose their owner (${code}) cancel nothing: their calls end by themselves`, async () => {
      const { upstream, channel } = shared();
      const [a, b] = await attach(upstream, "a", "b");
      const call = a?.call("x", {}, 1);
      await settle();
      const [first] = channel().requests("x");
      a?.leave(new TroupeError(code, "owned elsewhere now"));
      await settle();
      assert.equal(a?.ended, true);
      assert.equal(upstream.sessions, 1);
      assert.deepEqual(channel().notified("notifications/cancelled"), []);
      channel().receive({ jsonrpc: "2.0", id: first?.id ?? "", result: { done: true } });
      assert.deepEqual(await call, { result: { done: true } });
      // What the process tells that session finds nobody; the others go on.
      void b?.call("y", {}, 1);
      await settle();
      assert.equal(channel().requests("y").length, 1);
    });
  }

  it("are told when the connection breaks, and attach again", async () => {
    const { upstream, channel } = shared();
    const [a] = await attach(upstream, "a");
    const call = a?.call("x");
    call?.catch(() => {});
    await settle();
    channel().end({ reason: "closed", detail: "gone" });
    await assert.rejects(call as Promise<Answer>, { code: "unavailable", started: "unknown" });
    await settle();
    assert.equal(a?.events.at(-1)?.kind, "closed");
    assert.equal(a?.ended, true);
    await assert.rejects(a?.call("y") as Promise<Answer>, { code: "unavailable", started: "no" });
    const [again] = await attach(upstream, "a2");
    void again?.call("y");
    await settle();
    assert.equal(channel().requests("y").length, 1);
  });

  it("may use only progress tokens the upstream gave them", async () => {
    const { upstream, channel } = shared();
    const [a] = await attach(upstream, "a", "b");
    void a?.call("x");
    await settle();
    const params = { _meta: { progressToken: "up-1" } };
    channel().receive({ jsonrpc: "2.0", id: 1, method: "sampling/createMessage", params });
    await settle();
    upstream.notify("b", "notifications/progress", { progressToken: "up-1", progress: 1 });
    upstream.notify("a", "notifications/progress", { progressToken: "up-1", progress: 2 });
    assert.deepEqual(channel().notified("notifications/progress"), [{ progressToken: "up-1", progress: 2 }]);
  });
});
