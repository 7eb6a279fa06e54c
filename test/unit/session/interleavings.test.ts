/**
 * Seeded interleavings: posts, batches, answers, notifications, questions, cancels, lost connections and resumes in any
 * order. Whatever the order:
 * - each request that was not cancelled is answered exactly once, and a cancelled one at most before its cancel;
 * - each question is seen, and its answer reaches the upstream once;
 * - a stream's events come in order, without gap, and only those of its own POST;
 * - in the end all tables are empty.
 *
 * A failing seed is printed; `SESSION_SEED=n` runs that one alone.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { PostAnswer } from "../../../actors/session/contract.ts";
import { type Connection, FakeUpstream, type Json, LATER, paramsOf, type Received, settle, World } from "./kit.ts";

const SEEDS = process.env.SESSION_SEED === undefined ? 150 : 1;
const FIRST = Number(process.env.SESSION_SEED ?? 1);
const STEPS = 60;

/** mulberry32: small, seedable. */
function random(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

/** One POST as the client sees it: its requests, and everything it was told because of it. */
interface Sent {
  ids: number[];
  answer: PostAnswer | undefined;
  connections: Connection[];
}

class Run {
  readonly world: World;
  readonly pick: (below: number) => number;
  readonly posts: Sent[] = [];
  readonly cancelled = new Set<number>();
  readonly questions: { name: string; asked: Promise<unknown>; answered: boolean; id: unknown }[] = [];
  #lastId = 0;
  #lastQuestion = 0;

  constructor(seed: number) {
    this.pick = random(seed);
    this.version = seed % 2 === 0 ? "2025-03-26" : "2025-11-25";
    const upstream = new FakeUpstream("one").on("tools/call", () => LATER);
    this.world = new World({ version: this.version, capabilities: { elicitation: {} }, upstreams: [upstream] });
  }
  /** The version with batches, or the one with priming events. */
  readonly version: "2025-03-26" | "2025-11-25";

  get open(): Received[] {
    return this.world.one.requests.filter(({ params, cancelled }) => cancelled === false && params?.done !== true);
  }

  async step(): Promise<void> {
    const { world, pick } = this;
    switch (pick(9)) {
      case 0:
      case 1:
        return this.post(this.version === "2025-03-26" && pick(4) === 0 ? 1 + pick(3) : 1);
      case 2: {
        const call = this.choose(this.open);
        if (call?.params !== undefined) this.answer(call);
        return;
      }
      case 3: {
        const call = this.choose(this.open);
        if (call !== undefined) world.one.notify("notifications/progress", { progress: pick(5) }, call.related);
        return;
      }
      case 4: {
        const call = this.choose(this.open);
        if (call !== undefined) this.ask(call.related);
        return;
      }
      case 5: {
        const id = 1 + pick(this.#lastId + 1);
        this.cancelled.add(id);
        await world.notify("notifications/cancelled", { requestId: id });
        return;
      }
      case 6: {
        const connection = this.choose(this.posts.flatMap(({ connections }) => connections.slice(-1)));
        if (connection !== undefined && connection.lastEventId !== "") await connection.drop();
        return;
      }
      case 7:
        this.resumeAll();
        return;
      default:
        await world.clock.advance(pick(600));
    }
  }

  choose<Item>(items: readonly Item[]): Item | undefined {
    return items[this.pick(Math.max(1, items.length))];
  }

  async post(requests: number): Promise<void> {
    const sent: Sent = { ids: [], answer: undefined, connections: [] };
    const messages = Array.from({ length: requests }, () => {
      const id = ++this.#lastId;
      sent.ids.push(id);
      const params = { name: "t", arguments: { id }, _meta: { progressToken: id } };
      return { jsonrpc: "2.0", id, method: "tools/call", params };
    });
    this.posts.push(sent);
    void this.world.post(requests === 1 ? messages[0] : messages).then((answer) => {
      sent.answer = answer;
      if (typeof answer === "object" && answer.kind === "stream") sent.connections.push(this.world.open(answer));
    });
    if (this.pick(2) === 0) await settle();
  }

  answer(call: Received): void {
    const { id } = (call.params as { arguments: { id: number } }).arguments;
    call.params = { ...call.params, done: true };
    call.answer({ of: id });
  }

  ask(related: number): void {
    const name = `question ${++this.#lastQuestion}`;
    const asked = this.world.one.ask("elicitation/create", { message: name }, related);
    asked.catch(() => {});
    this.questions.push({ name, asked, answered: false, id: undefined });
  }

  /** Where a connection was lost, the client comes back with the last id it saw. */
  resumeAll(): void {
    for (const { connections } of this.posts) {
      const last = connections.at(-1);
      const id = connections.findLast(({ lastEventId }) => lastEventId !== "")?.lastEventId;
      if (last?.ended === true && id !== undefined && last.error === undefined) connections.push(this.world.resume(id));
    }
  }

  /** Lets everything come to its end: calls answered, questions answered, streams read. */
  async finish(): Promise<void> {
    const { world } = this;
    await settle();
    for (let round = 0; round < 6; round++) {
      this.resumeAll();
      await settle();
      for (const message of this.messages()) {
        const question = this.questions.find(({ name }) => name === paramsOf(message).message);
        if (question === undefined || question.answered) continue;
        question.answered = true;
        question.id = message.id;
        await world.post({ jsonrpc: "2.0", id: message.id, result: { to: question.name } });
      }
      for (const call of this.open) this.answer(call);
      await world.clock.advance(1_200);
    }
  }

  messages(): Json[] {
    return this.posts.flatMap((sent) => messagesOf(sent));
  }
}

function messagesOf({ answer, connections }: Sent): Json[] {
  if (typeof answer === "string") {
    const body = JSON.parse(answer) as Json | Json[];
    return Array.isArray(body) ? body : [body];
  }
  return connections.flatMap(({ messages }) => messages);
}

async function check(run: Run): Promise<void> {
  const { world, posts, cancelled, questions } = run;
  for (const sent of posts) {
    assert.notEqual(sent.answer, undefined, `POST of ${sent.ids} was answered`);
    const messages = messagesOf(sent);
    const responses = messages.filter(({ method }) => method === undefined);
    const answered = responses.map(({ id }) => id);
    assert.equal(new Set(answered).size, answered.length, `one response each: ${answered}`);
    for (const { id, result } of responses) {
      assert.ok(sent.ids.includes(id as number), "a response on the stream of its own POST");
      assert.deepEqual(result, { of: id });
    }
    for (const id of sent.ids) assert.ok(answered.includes(id) || cancelled.has(id), `${id} was answered or cancelled`);
    for (const message of messages) {
      if (message.method !== "notifications/progress") continue;
      assert.ok(sent.ids.includes(paramsOf(message).progressToken as number), "progress on the stream of its own POST");
    }
    const ids = sent.connections.flatMap(({ events }) =>
      events.flatMap(({ id, data }) => (data === "" ? [] : (id ?? []))),
    );
    const numbers = ids.map((id) => Number.parseInt(id.split("-")[1] ?? "", 36));
    assert.deepEqual(
      numbers,
      Array.from(ids, (_, n) => n + 1),
      "durable events in order, without gap, once",
    );
  }
  for (const { name, asked, answered } of questions) {
    if (answered)
      await asked.then(
        (result) => assert.deepEqual(result, { to: name }),
        () => {},
      );
  }
  assert.equal(world.session.sizes.calls, 0, "no call is left");
  assert.equal(world.session.sizes.requests, 0, "no question is left");
  assert.equal(world.session.openStreams, 0, "no reader is left");
  await world.clock.advance(11 * 60_000);
  const { streams, events } = world.session.sizes;
  assert.deepEqual([streams <= 1, events], [true, 0], "no stream and no event is left");
}

describe("a session under any interleaving", () => {
  it(`keeps its promises (${SEEDS} seeds from ${FIRST})`, async () => {
    for (let seed = FIRST; seed < FIRST + SEEDS; seed++) {
      const run = new Run(seed);
      try {
        await run.world.initialize({ version: run.version, capabilities: { elicitation: {} } });
        for (let step = 0; step < STEPS; step++) await run.step();
        await run.finish();
        await check(run);
      } catch (error) {
        throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
      }
    }
  });
});
