/** The order in which a node uses the directory's verbs, where the store is reset meanwhile. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Clock, systemClock } from "../../../runtime/actor/clock.ts";
import { TroupeError } from "../../../runtime/actor/errors.ts";
import type { ActorId, Epoch, Incarnation } from "../../../runtime/actor/ids.ts";
import type { ClaimRequest, ClaimResult, Directory } from "../../../runtime/coordinator/contract.ts";
import { DirectoryClient } from "../../../runtime/placement/directory.ts";

const ACTOR = "counter/x" as ActorId;
const SELF = "self-1" as Incarnation;
const OTHER = "other-1" as Incarnation;

/** Unlike the product's timers these keep the process alive: a test waits for nothing else. */
const clock: Clock = {
  ...systemClock(),
  after: (ms, callback) => {
    const timer = setTimeout(callback, ms);
    return () => clearTimeout(timer);
  },
};

/** A directory whose claims are answered by `answer`, one after another, and a record of what was asked for. */
function client(dead: (incarnation: Incarnation) => boolean, answer: (request: ClaimRequest) => ClaimResult) {
  const claims: ClaimRequest[] = [];
  const ended: Epoch[] = [];
  const directory = {
    claim: async (request: ClaimRequest) => {
      claims.push(request);
      return answer(request);
    },
    end: async ({ owner }: { owner: { epoch: Epoch } }) => {
      ended.push(owner.epoch);
      return "done" as const;
    },
  } as Partial<Directory> as Directory;
  const deaths = { isDead: dead, confirmDead: async (incarnation: Incarnation) => dead(incarnation) };
  return { client: new DirectoryClient(directory, deaths, clock, SELF), claims, ended };
}

const claimed = (epoch: string): ClaimResult => ({ outcome: "claimed", epoch: epoch as Epoch, state: null });

describe("a store that is reset during a claim", () => {
  it("has the actor claimed anew when the answer is from before", async () => {
    const made = client(
      () => false,
      () => {
        if (made.claims.length === 1) made.client.resetBegan();
        return claimed(`e${made.claims.length}`);
      },
    );
    const found = await made.client.resolve(ACTOR, false);
    assert.deepEqual(found, { place: "here", owner: { incarnation: SELF, epoch: "e2" }, state: null });
    assert.deepEqual(
      made.claims.map(({ takeover }) => takeover),
      [undefined, { incarnation: SELF, epoch: "e1" }],
    );
    assert.notEqual(made.claims[0]?.operation, made.claims[1]?.operation);
  });

  it("lets no first state be believed, and ends it", async () => {
    const made = client(
      () => false,
      () => {
        made.client.resetBegan();
        return claimed("e1");
      },
    );
    await assert.rejects(made.client.create(ACTOR, new Uint8Array()), (error: unknown) => {
      assert.ok(error instanceof TroupeError);
      assert.deepEqual([error.code, error.started], ["unavailable", "unknown"]);
      return true;
    });
    while (made.ended.length === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    assert.deepEqual(made.ended, ["e1"]);
  });

  it("takes over from nobody whose death was learned before", async () => {
    let dead = true;
    const owner = { incarnation: OTHER, epoch: "e1" as Epoch };
    const made = client(
      () => dead,
      ({ takeover }) => {
        if (takeover === undefined) return { outcome: "owned", owner };
        // The reply is lost, and the owner comes back while this node writes back what it owns.
        dead = false;
        made.client.resetBegan();
        throw new TroupeError("store_unavailable", "the store did not answer", { started: "unknown" });
      },
    );
    assert.deepEqual(await made.client.resolve(ACTOR, false), { place: "there", owner });
    assert.equal(made.claims.filter(({ takeover }) => takeover !== undefined).length, 1);
  });
});

describe("an actor that is lost while a write of it is tried again", () => {
  const owner = { incarnation: SELF, epoch: "e1" as Epoch };
  /** A store that does not answer the first try. A store set back would take the second. */
  function failingOnce() {
    const held = { owner, lost: false };
    let tries = 0;
    const write = async (): Promise<never> => {
      tries++;
      held.lost = true;
      throw new TroupeError("store_unavailable", "the store did not answer", { started: "unknown" });
    };
    const directory = { commit: write, end: write, transfer: write } as Partial<Directory> as Directory;
    const deaths = { isDead: () => false, confirmDead: async () => false };
    const owned = () => (held.lost ? undefined : owner);
    return { client: new DirectoryClient(directory, deaths, clock, SELF), held, owned, tries: () => tries };
  }

  it("is not committed", async () => {
    const { client, owned, tries } = failingOnce();
    assert.deepEqual(await client.commit(ACTOR, owned, 1, new Uint8Array()), { outcome: "fenced" });
    assert.equal(tries(), 1);
  });

  it("is not ended", async () => {
    const { client, owned, tries } = failingOnce();
    assert.equal(await client.end(ACTOR, owned), "fenced");
    assert.equal(tries(), 1);
  });

  it("is not handed over", async () => {
    const { client, held, tries } = failingOnce();
    assert.deepEqual(await client.transfer(ACTOR, held, OTHER), { outcome: "fenced" });
    assert.equal(tries(), 1);
  });
});
