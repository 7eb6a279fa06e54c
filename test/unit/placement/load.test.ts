/** A node's load as one number. */
import assert from "node:assert/strict";
import { it } from "node:test";
import { loadOf } from "../../../runtime/placement/load.ts";

const IDLE = { delayMs: 0, calls: 0, queuedBytes: 0, residents: 0, full: false };

it("counts a late loop, calls in flight, what waits in mailboxes, and what lives here, each about 1 where it is much", () => {
  assert.equal(loadOf(IDLE), 0);
  const much = { delayMs: 50, calls: 1_000, queuedBytes: 16 * 1_048_576, residents: 50_000 };
  for (const [part, value] of Object.entries(much)) assert.equal(loadOf({ ...IDLE, [part]: value }), 1, part);
  assert.equal(loadOf({ ...IDLE, ...much }), 4);
});

it("is more than any other where the node takes no new actors", () => {
  assert.ok(loadOf({ ...IDLE, full: true }) > 100);
});
