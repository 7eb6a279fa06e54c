/** Whom a node keeps links to, over a reset of the store. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Incarnation } from "../../../runtime/actor/ids.ts";
import type { Member, MembershipView } from "../../../runtime/coordinator/contract.ts";
import { PeerView } from "../../../runtime/placement/peer_view.ts";
import { nodeRecord } from "../../contract/store.ts";
import { ManualClock } from "../http/kit.ts";

const KEEP_MS = 6_600;

function setUp() {
  const clock = new ManualClock();
  let told: string[] = [];
  const peers = new PeerView(clock, KEEP_MS, (members) => {
    told = members.map(({ incarnation }) => incarnation).sort();
  });
  const read = (generation: string, alive: string[], dead: string[] = []): string[] => {
    const member = (id: string, liveness: Member["liveness"]): Member => ({
      ...nodeRecord(id),
      incarnation: id as Incarnation,
      liveness,
    });
    const members = [...alive.map((id) => member(id, "alive")), ...dead.map((id) => member(id, "dead"))];
    peers.read({ generation: generation as MembershipView["generation"], view: 1, members });
    return told;
  };
  return { clock, read, told: () => told };
}

test("within a generation it is the living, and nobody else", () => {
  const { read } = setUp();
  assert.deepEqual(read("1", ["a", "b"]), ["a", "b"]);
  assert.deepEqual(read("1", ["a"]), ["a"]);
  assert.deepEqual(read("1", ["a", "c"], ["b"]), ["a", "c"]);
});

test("after a reset those who have not come back yet stay, until they do, are declared dead, or a lease has gone by", () => {
  const { clock, read, told } = setUp();
  read("1", ["a", "b", "c", "d"]);
  assert.deepEqual(read("2", ["a"]), ["a", "b", "c", "d"]);
  assert.deepEqual(read("2", ["a", "b"], ["c"]), ["a", "b", "d"]);
  clock.advance(KEEP_MS - 1);
  assert.deepEqual(told(), ["a", "b", "d"]);
  clock.advance(1);
  assert.deepEqual(told(), ["a", "b"]);
});

test("a second reset in the meantime starts the time anew, for those still kept as well", () => {
  const { clock, read, told } = setUp();
  read("1", ["a", "b"]);
  read("2", ["a"]);
  clock.advance(KEEP_MS - 1);
  assert.deepEqual(read("3", ["a"]), ["a", "b"]);
  clock.advance(KEEP_MS - 1);
  assert.deepEqual(told(), ["a", "b"]);
  clock.advance(1);
  assert.deepEqual(told(), ["a"]);
});
