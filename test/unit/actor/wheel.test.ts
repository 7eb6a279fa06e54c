import assert from "node:assert/strict";
import { it } from "node:test";
import type { Clock } from "../../../runtime/actor/clock.ts";
import { Deadline, DeadlineWheel } from "../../../runtime/actor/wheel.ts";

/** A clock that moves when told. */
class HandClock implements Clock {
  time = 1_000;
  readonly #timers = new Set<{ at: number; callback: () => void }>();
  now(): number {
    return this.time;
  }
  wallNow(): number {
    return this.time;
  }
  after(ms: number, callback: () => void): () => void {
    const timer = { at: this.time + ms, callback };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }
  advance(ms: number): void {
    const end = this.time + ms;
    for (;;) {
      const due = [...this.#timers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (due === undefined) break;
      this.time = Math.max(this.time, due.at);
      this.#timers.delete(due);
      due.callback();
    }
    this.time = end;
  }
  get timers(): number {
    return this.#timers.size;
  }
}

class Entry extends Deadline {
  firedAt: number | undefined;
  readonly #clock: Clock;
  readonly #then: (() => void) | undefined;
  constructor(clock: Clock, inMs: number, then?: () => void) {
    super();
    this.#clock = clock;
    this.#then = then;
    this.deadline = clock.now() + inMs;
  }
  override expired(): void {
    assert.equal(this.firedAt, undefined, "fires once");
    this.firedAt = this.#clock.now();
    this.#then?.();
  }
}

it("fires each deadline at its time or a tick later, never earlier, over any horizon", () => {
  const clock = new HandClock();
  const wheel = new DeadlineWheel(clock);
  const entries = [1, 24, 25, 26, 500, 25_599, 25_600, 25_601, 100_000].map((ms) => new Entry(clock, ms));
  for (const entry of entries) wheel.add(entry);
  clock.advance(200_000);
  for (const { deadline, firedAt } of entries) {
    assert.ok(firedAt !== undefined && firedAt >= deadline && firedAt <= deadline + 50, `${deadline}: ${firedAt}`);
  }
});

it("runs no timer while it is empty", () => {
  const clock = new HandClock();
  const wheel = new DeadlineWheel(clock);
  const entry = new Entry(clock, 10_000);
  wheel.add(entry);
  wheel.remove(entry);
  clock.advance(100);
  assert.equal(clock.timers, 0);
  assert.equal(wheel.size, 0);
  wheel.add(entry);
  assert.equal(clock.timers, 1);
});

it("lets an entry that fires remove and add others", () => {
  const clock = new HandClock();
  const wheel = new DeadlineWheel(clock);
  const neighbour = new Entry(clock, 30);
  const late = new Entry(clock, 60);
  const first = new Entry(clock, 30, () => {
    wheel.remove(neighbour);
    wheel.add(late);
  });
  const last = new Entry(clock, 30);
  for (const entry of [first, neighbour, last]) wheel.add(entry);
  clock.advance(200);
  assert.equal(neighbour.firedAt, undefined);
  assert.ok(last.firedAt !== undefined && late.firedAt !== undefined);
});

it("lets an entry that fires move its neighbour to a later deadline", () => {
  const clock = new HandClock();
  const wheel = new DeadlineWheel(clock);
  const neighbour = new Entry(clock, 30);
  // As a turn whose deadline passes gives the calls it made their grace.
  const first = new Entry(clock, 30, () => {
    wheel.remove(neighbour);
    neighbour.deadline = clock.now() + 60;
    wheel.add(neighbour);
  });
  const last = new Entry(clock, 30);
  for (const entry of [first, neighbour, last]) wheel.add(entry);
  clock.advance(60);
  assert.equal(neighbour.firedAt, undefined);
  assert.ok(last.firedAt !== undefined);
  clock.advance(100);
  assert.ok(neighbour.firedAt !== undefined);
});

it("meets every entry after a pause longer than the wheel", () => {
  const clock = new HandClock();
  const wheel = new DeadlineWheel(clock);
  const entries = Array.from({ length: 200 }, (_, i) => new Entry(clock, i * 200));
  for (const entry of entries) wheel.add(entry);
  clock.time += 1_000_000;
  clock.advance(50);
  assert.ok(entries.every(({ firedAt }) => firedAt !== undefined));
});
