import assert from "node:assert/strict";
import { test } from "node:test";
import { clockOffset } from "../../../runtime/worker/clock_offset.ts";
import { LeaseWord } from "../../../runtime/worker/lease_word.ts";
import { DEFAULT_RESTART, RestartPolicy } from "../../../runtime/worker/restart.ts";
import { DEFAULT_WATCHDOG, type Verdict, Watchdog } from "../../../runtime/worker/watchdog.ts";

test("a silent worker is reported once at 5 s and ended at 15 s", () => {
  const watchdog = new Watchdog(DEFAULT_WATCHDOG, 0);
  watchdog.look(1, 0, true);
  const verdicts: [number, Verdict][] = [];
  for (let now = 250; now <= 15_000; now += 250) {
    const verdict = watchdog.look(1, now, true);
    if (verdict !== "silent") verdicts.push([now, verdict]);
  }
  assert.deepEqual(verdicts, [
    [5_000, "warn"],
    [15_000, "end"],
  ]);
});

test("a worker that turns again is silent from zero, and is reported again", () => {
  const watchdog = new Watchdog(DEFAULT_WATCHDOG, 0);
  for (let now = 250; now < 14_000; now += 250) watchdog.look(0, now, true);
  assert.equal(watchdog.look(1, 14_000, true), "alive");
  const warned = Array.from({ length: 40 }, (_, step) => watchdog.look(1, 14_250 + step * 250, true));
  assert.equal(warned.filter((verdict) => verdict === "warn").length, 1);
  assert.ok(!warned.includes("end"));
});

test("time that the whole process was suspended is not held against a worker", () => {
  const watchdog = new Watchdog(DEFAULT_WATCHDOG, 0);
  watchdog.look(1, 0, true);
  assert.equal(watchdog.look(1, 60_000, true), "silent");
  assert.equal(watchdog.silentMs, 500);
});

test("a worker that never finishes starting is ended, though its loop turns", () => {
  const watchdog = new Watchdog(DEFAULT_WATCHDOG, 0);
  let now = 0;
  let count = 0;
  while (watchdog.look(++count, now, false) !== "end") now += 250;
  assert.equal(now, DEFAULT_WATCHDOG.startMs);
});

test("the first restart is at once, further ones wait 100 ms, doubling, and five exits within a minute open the circuit", () => {
  const policy = new RestartPolicy(DEFAULT_RESTART);
  assert.deepEqual(
    [0, 1_000, 2_000, 3_000, 4_000].map((at) => policy.exited(at)),
    [
      { delayMs: 0, open: false },
      { delayMs: 100, open: false },
      { delayMs: 200, open: false },
      { delayMs: 400, open: false },
      { delayMs: 60_000, open: true },
    ],
  );
  assert.deepEqual(policy.exited(64_001), { delayMs: 0, open: false }, "a quiet minute closes it");
});

test("the longest restart delay holds", () => {
  const policy = new RestartPolicy({ ...DEFAULT_RESTART, exits: 20 });
  const delays = Array.from({ length: 10 }, (_, at) => policy.exited(at).delayMs);
  assert.equal(Math.max(...delays), 5_000);
});

test("the lease word rounds towards an earlier end and is shared by its buffer", () => {
  const word = new LeaseWord();
  const other = new LeaseWord(word.buffer);
  assert.equal(other.holds(0), false);
  word.write(100.0009);
  assert.equal(other.read(), 100);
  assert.equal(other.holds(99.999), true);
  assert.equal(other.holds(100), false);
  word.park();
  assert.equal(other.holds(-1), false);
});

test("the clock offset is never too small, and as good as the quickest answer", async () => {
  // True offset 500; round trips of 80, 30, 3, 90, 1 ms, the way there taking most of it.
  let now = 0;
  const trips = [80, 30, 3, 90, 1];
  let asked = 0;
  const offset = await clockOffset(
    () => now,
    async () => {
      const trip = trips[asked++] ?? 200;
      now += trip;
      return now + 500;
    },
  );
  assert.equal(asked, 5);
  assert.equal(offset, 501);
});
