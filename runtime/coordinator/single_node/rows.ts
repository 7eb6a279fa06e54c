/**
 * How the memory's records become rows of the file and come back.
 *
 * What runs out is kept as the wall clock's time, because the monotonic clock starts anew with each process. A wall clock
 * that jumped makes such a record go earlier or later; nothing relies on that for safety (see the contract).
 */
import type { Clock } from "../../actor/clock.ts";
import type { ActorId, Epoch, Incarnation } from "../../actor/ids.ts";
import type { ActorRecord } from "./directory.ts";
import type { Rows } from "./journal.ts";
import type { SingleNodeMemory } from "./memory.ts";

/** Key of the row in `facts` that holds the greatest fence. */
export const FENCE = "fence";

/** Every table that a verb changes. */
export function rowsOf(memory: SingleNodeMemory, clock: Clock): Rows[] {
  return [
    actorRows(memory, clock),
    dueRows(memory),
    entryRows(memory, clock),
    leaseRows(memory, clock),
    fenceRow(memory),
  ];
}

function actorRows({ directory }: SingleNodeMemory, clock: Clock): Rows {
  return {
    table: "actors",
    columns: ["actor", "owner", "epoch", "version", "state", "ended", "answers", "last_commit", "expires_at"],
    valuesOf(key) {
      const kept = directory.kept(key as ActorId);
      if (kept === undefined) return undefined;
      const { owner, epoch, version, bytes, ended, answers, lastCommit } = kept.record;
      const expiresAt = wallTime(clock, kept.remainingMs);
      const state = bytes && new Uint8Array(bytes);
      return [owner, epoch, version, state, ended ? 1 : 0, JSON.stringify(answers), lastCommit, expiresAt];
    },
    restore(key, row) {
      const bytes = row.bytesOrNull("state");
      const record: ActorRecord = {
        owner: row.textOrNull("owner") as Incarnation | null,
        epoch: row.text("epoch") as Epoch,
        version: row.whole("version"),
        bytes: bytes && new Uint8Array(bytes).buffer,
        ended: row.whole("ended") === 1,
        answers: JSON.parse(row.text("answers")) as ActorRecord["answers"],
        lastCommit: row.textOrNull("last_commit"),
      };
      directory.restore(key as ActorId, record, remaining(clock, row.wholeOrNull("expires_at")));
    },
  };
}

/** Wall clock time already: reminders are for people's time. */
function dueRows({ reminders }: SingleNodeMemory): Rows {
  return {
    table: "dues",
    columns: ["actor", "due"],
    valuesOf(key) {
      const due = reminders.kept(key as ActorId);
      return due === undefined ? undefined : [due];
    },
    restore: (key, row) => reminders.restore(key as ActorId, row.whole("due")),
  };
}

function entryRows({ keyValue }: SingleNodeMemory, clock: Clock): Rows {
  return {
    table: "entries",
    columns: ["key", "value", "revision", "expires_at"],
    valuesOf(key) {
      const kept = keyValue.kept(key);
      return kept && [kept.value, kept.revision, wallTime(clock, kept.remainingMs)];
    },
    restore(key, row) {
      const left = remaining(clock, row.wholeOrNull("expires_at"));
      keyValue.restore(key, row.bytes("value"), row.text("revision"), left);
    },
  };
}

function leaseRows({ leases }: SingleNodeMemory, clock: Clock): Rows {
  return {
    table: "leases",
    columns: ["name", "holder", "fence", "expires_at"],
    valuesOf(name) {
      const kept = leases.kept(name);
      return kept && [JSON.stringify(kept.grant.holder), kept.grant.fence, wallTime(clock, kept.remainingMs)];
    },
    restore(name, row) {
      const grant = { name, holder: JSON.parse(row.text("holder")) as string, fence: row.text("fence") };
      leases.restore(grant, remaining(clock, row.whole("expires_at")) ?? 0);
    },
  };
}

/** The other facts are the file's own (`file.ts`). */
function fenceRow({ leases }: SingleNodeMemory): Rows {
  return {
    table: "facts",
    columns: ["name", "value"],
    valuesOf: (name) => (name === FENCE ? [String(leases.lastFence)] : undefined),
    restore(name, row) {
      if (name === FENCE) leases.startAbove(Number(row.text("value")));
    },
  };
}

function wallTime(clock: Clock, remainingMs: number | null): number | null {
  return remainingMs === null ? null : Math.ceil(clock.wallNow() + remainingMs);
}

function remaining(clock: Clock, wallTimeMs: number | null): number | null {
  return wallTimeMs === null ? null : wallTimeMs - clock.wallNow();
}
