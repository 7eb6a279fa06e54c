/**
 * The checker finds each violation that is planted in a history, and nothing in a history without one: a chaos run that
 * says "ok" says so because somebody looked.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { check } from "./checker.ts";
import type { CallRecord, End, Entry, Fault, History } from "./history.ts";
import { readRoutes } from "./proxy.ts";

const OPTIONS = { detectionMs: 8_000, slackMs: 1_000 };
const INVARIANTS = ["session is lost", "event", "executed twice", "task", "deadline", "stays dead"] as const;

interface Planted {
  records: Entry[];
  faults?: Fault[];
  executions?: [string, number][];
  routes?: [string, number[]][];
  stalls?: History["stalls"];
}

/** The parts of the invariants that are violated. */
function violated({ records, faults = [], executions = [], routes = [], stalls = [] }: Planted): string[] {
  const history = { records, faults, executions: new Map(executions), routes: new Map(routes), stalls };
  return check(history, OPTIONS).flatMap(({ invariant, violations }) => {
    const short = INVARIANTS.find((part) => invariant.includes(part));
    assert.ok(short !== undefined, invariant);
    return violations.length > 0 ? [short] : [];
  });
}

const call = (end: End | undefined, over: Partial<CallRecord> = {}): CallRecord => ({
  kind: "call",
  session: "s",
  call: "c/1",
  idempotent: false,
  recorded: true,
  takesMs: 0,
  at: 1_000,
  endedAt: end === undefined ? undefined : 1_050,
  end,
  requests: ["c/r1"],
  ...over,
});
const task = (seen: string[], results: string[], remembered = false): Entry => ({
  kind: "task",
  session: "s",
  call: "c/1",
  task: "t",
  remembered,
  at: 0,
  seen,
  results,
  endedAt: 1_000,
});
const answered: End = { how: "answered", correct: true };
const opened: Entry = { kind: "opened", session: "s", at: 0 };
const status = (code: number, at: number): Entry => ({ kind: "status", session: "s", at, status: code });
const deleted = (at: number): Entry => ({ kind: "deleted", session: "s", at });
const connected = (connection: string, after = ""): Entry => ({
  kind: "connected",
  session: "s",
  connection,
  after,
  at: 0,
});
const event = (connection: string, id: string, data: string): Entry => ({
  kind: "event",
  session: "s",
  connection,
  id,
  data,
  at: 0,
});
const fault = (nodes: number[], over: Partial<Fault> = {}): Fault => ({
  what: "planted",
  nodes,
  holdsUpMs: 0,
  from: 500,
  until: 2_000,
  ...over,
});

test("a history without fault or flaw violates nothing", () => {
  const records = [
    opened,
    status(200, 900),
    call(answered),
    connected("a"),
    event("a", "x-0", ""),
    event("a", "x-1", "one"),
    connected("b", "x-1"),
    event("b", "x-1_0", ""),
    event("b", "x-2", "two"),
    deleted(5_000),
    status(404, 5_001),
  ];
  assert.deepEqual(violated({ records, executions: [["c/1", 1]], routes: [["c/r1", [0]]] }), []);
});

test("404 for a session that was not deleted is a lost session", () => {
  assert.deepEqual(violated({ records: [opened, status(404, 900)] }), ["session is lost"]);
  assert.deepEqual(violated({ records: [opened, status(404, 900), deleted(9_000)] }), ["session is lost"]);
});

test("an answer after an acknowledged DELETE is a session come back", () => {
  assert.deepEqual(violated({ records: [opened, deleted(1_000), status(202, 60_000)] }), ["stays dead"]);
  assert.deepEqual(violated({ records: [opened, deleted(1_000), status(503, 1_001)] }), []);
});

test("a gap between two ids of a stream is a missing event", () => {
  assert.deepEqual(violated({ records: [connected("a"), event("a", "x-1", "one"), event("a", "x-3", "three")] }), [
    "event",
  ]);
  assert.deepEqual(violated({ records: [connected("b", "x-1"), event("b", "x-3", "three")] }), ["event"]);
});

test("a priming event that is ahead of what was read hides a missing event", () => {
  assert.deepEqual(violated({ records: [connected("b", "x-1"), event("b", "x-2_0", "")] }), ["event"]);
});

test("an event read twice on one connection, and a message under two ids, are duplicates; a repeated id is not", () => {
  const two = '{"jsonrpc":"2.0","id":"2","result":{}}';
  const read = [connected("a"), event("a", "x-1", "one"), event("a", "x-2", two)];
  assert.deepEqual(violated({ records: [...read, event("a", "x-2", two)] }), ["event"]);
  assert.deepEqual(violated({ records: [...read, event("a", "x-3", two)] }), ["event"]);
  assert.deepEqual(violated({ records: [...read, connected("b", "x-1"), event("b", "x-2", two)] }), []);
});

test("that a list changed may be told twice", () => {
  const changed = '{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}';
  assert.deepEqual(violated({ records: [connected("a"), event("a", "x-1", changed), event("a", "x-2", changed)] }), []);
});

test("an id that means two messages, and another stream's event, are found", () => {
  const read = [connected("a"), event("a", "x-1", "one")];
  assert.deepEqual(violated({ records: [...read, connected("b"), event("b", "x-1", "other")] }), ["event"]);
  assert.deepEqual(violated({ records: [...read, event("a", "y-1", "of another stream")] }), ["event"]);
});

test("a stream that its id does not resume is an acknowledged event that is missing", () => {
  assert.deepEqual(violated({ records: [call({ how: "denied", status: 400 }, { recorded: false })] }), ["event"]);
});

test("a second execution is found, unless the tool may be executed again", () => {
  const executions: [string, number][] = [["c/1", 2]];
  assert.deepEqual(violated({ records: [call(answered)], executions }), ["executed twice"]);
  assert.deepEqual(violated({ records: [call(answered, { idempotent: true })], executions }), []);
});

test("an execution of a call refused as not started is found, and one that is unknown may be either", () => {
  const executions: [string, number][] = [["c/1", 1]];
  assert.deepEqual(violated({ records: [call({ how: "refused", started: "no" })], executions }), ["executed twice"]);
  assert.deepEqual(violated({ records: [call({ how: "refused", started: "unknown" })], executions }), []);
  assert.deepEqual(violated({ records: [call({ how: "refused", started: "unknown" })] }), []);
});

test("an answer without execution, and an answer that belongs to another call, are found", () => {
  assert.deepEqual(violated({ records: [call(answered)] }), ["executed twice"]);
  const wrong: End = { how: "answered", correct: false };
  assert.deepEqual(violated({ records: [call(wrong, { recorded: false })] }), ["executed twice"]);
});

test("a call without an end is found", () => {
  assert.deepEqual(violated({ records: [call(undefined)] }), ["deadline"]);
});

test("a call that took longer than itself, detection and the second is found, unless its node was hit", () => {
  const records = [call(answered, { recorded: false, endedAt: 10_001 })];
  const routes: [string, number[]][] = [["c/r1", [1]]];
  assert.deepEqual(violated({ records, routes }), ["deadline"]);
  assert.deepEqual(violated({ records, routes, faults: [fault([0])] }), ["deadline"]);
  assert.deepEqual(violated({ records, routes, faults: [fault([1], { until: 999 })] }), ["deadline"]);
  assert.deepEqual(violated({ records, routes, faults: [fault([1])] }), []);
  assert.deepEqual(violated({ records, routes, faults: [fault([], { holdsUpMs: 100 })] }), []);
  assert.deepEqual(violated({ records, routes, stalls: [{ at: 3_000, ms: 100 }] }), []);
  assert.deepEqual(violated({ records, routes, stalls: [{ at: 20_000, ms: 100 }] }), ["deadline"]);
});

test("a connection that breaks, or is given up, at a node without a fault is found", () => {
  const routes: [string, number[]][] = [["c/r1", [1]]];
  for (const how of ["broken", "timeout"] as const) {
    const records = [call({ how }, { recorded: false })];
    assert.deepEqual(violated({ records, routes }), ["deadline"]);
    assert.deepEqual(violated({ records, routes, faults: [fault([1])] }), []);
  }
});

test("the proxy's log tells which nodes had a request, tries that failed included", () => {
  const log = "c1/2 200 10.0.0.1:1\nc1/3 502 10.0.0.2:1, 10.0.0.1:1\n- 200 10.0.0.1:1\nc1/4 499 -\n";
  const routes = readRoutes(log, ["10.0.0.1:1", "10.0.0.2:1"]);
  assert.deepEqual(
    [...routes],
    [
      ["c1/2", [0]],
      ["c1/3", [1, 0]],
      ["c1/4", []],
    ],
  );
});

test("a DELETE that the proxy repeated may find its session ended, one that it did not repeat may not", () => {
  const records: Entry[] = [opened, { kind: "status", session: "s", at: 1_000, status: 404, request: "c/r1" }];
  assert.deepEqual(violated({ records, routes: [["c/r1", [1, 2]]] }), []);
  assert.deepEqual(violated({ records, routes: [["c/r1", [1]]] }), ["session is lost"]);
});

test("a task that is forgotten, never ends, or changes after its end", () => {
  for (const [seen, results, lost] of [
    [["working", "completed", "completed"], ["c/1", "c/1"], false],
    [["working", "failed"], ["error -32603"], false],
    [["working", "unknown"], ["error -32602"], true],
    [["working"], [], true],
    [["completed"], [], true],
    [["completed", "working"], ["c/1"], true],
    [["completed"], ["c/1", "c/2"], true],
    [["completed"], ["another"], true],
  ] as const) {
    const found = violated({ records: [opened, task([...seen], [...results])] });
    assert.deepEqual(found, lost ? ["task"] : [], seen.join());
  }
  assert.deepEqual(violated({ records: [opened, task(["failed"], ["error -32603"], true)] }), ["task"]);
});
