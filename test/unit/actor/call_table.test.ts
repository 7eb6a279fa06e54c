import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { CallTable } from "../../../runtime/actor/call_table.ts";

describe("the table of calls", () => {
  it("finds what was put in, and nothing that was not or is no more", () => {
    const table = new CallTable<string>();
    assert.equal(table.set(7, "seven"), true);
    assert.equal(table.set(7, "still seven"), false);
    assert.equal(table.get(7), "still seven");
    assert.equal(table.get(7 + 64), undefined);
    assert.equal(table.delete(7 + 64), false);
    assert.equal(table.delete(7), true);
    assert.equal(table.delete(7), false);
    assert.equal(table.get(7), undefined);
    assert.equal(table.size, 0);
  });

  it("keeps calls apart that fall on one place, whichever of them ends first", () => {
    const table = new CallTable<number>();
    const life = 3 * 2 ** 32;
    const numbers = [life + 5, life + 5 + 64, life + 5 + 65_536, 5, 5 + 2 ** 40];
    for (const number of numbers) table.set(number, number);
    assert.equal(table.size, numbers.length);
    assert.deepEqual([...table.values()].sort(), [...numbers].sort());
    for (const [index, number] of numbers.entries()) {
      assert.equal(table.delete(number), true);
      // The place is free now; the others must not be set twice because of it.
      for (const later of numbers.slice(index + 1)) assert.equal(table.set(later, later), false);
      assert.equal(table.size, numbers.length - index - 1);
    }
  });

  it("does what a Map does, over many calls that come and go and some that stay", () => {
    const table = new CallTable<number>();
    const map = new Map<number, number>();
    let seed = 1;
    const random = (): number => {
      seed = (seed * 48_271) % 2_147_483_647;
      return seed / 2_147_483_647;
    };
    const open: number[] = [];
    for (let call = 2 ** 32 - 5_000; call < 2 ** 32 + 5_000; call++) {
      assert.equal(table.set(call, call), true);
      map.set(call, call);
      // Every twentieth stays for good.
      if (call % 20 !== 0) open.push(call);
      if (random() < 0.9 && open.length > 0) {
        const [ended = 0] = open.splice(Math.floor(random() * open.length), 1);
        assert.equal(table.delete(ended), map.delete(ended));
      }
      assert.equal(table.size, map.size);
    }
    for (const [call, thing] of map) assert.equal(table.get(call), thing);
    assert.deepEqual(new Set(table.values()), new Set(map.values()));
  });

  it("takes for a number whatever a peer sends as one", () => {
    const table = new CallTable<string>();
    const odd = [0, -1, 0.5, Number.POSITIVE_INFINITY, 2 ** 60, -(2 ** 40)];
    for (const number of odd) {
      assert.equal(table.get(number), undefined);
      assert.equal(table.delete(number), false);
      assert.equal(table.set(number, String(number)), true);
    }
    for (const number of odd) assert.equal(table.get(number), String(number));
    for (const number of odd) assert.equal(table.delete(number), true);
    assert.equal(table.size, 0);
  });
});
