/**
 * The placement directory in Redis: every verb is one script on one record, so one round trip.
 *
 * Records are spread over 64 buckets, each with its copy of the generation in the same slot. The rules are in
 * `directory_scripts.ts`; here is what they are asked and how their answers read.
 */
import type { Clock } from "../../actor/clock.ts";
import type { ActorId, Epoch, Incarnation } from "../../actor/ids.ts";
import type {
  ClaimRequest,
  ClaimResult,
  CommitResult,
  Directory,
  FencedResult,
  HeldRecord,
  Owner,
  StoredState,
} from "../contract.ts";
import { checkOperation } from "../operation.ts";
import type { RedisConnection } from "./connection.ts";
import * as scripts from "./directory_scripts.ts";
import type { GenerationKeeper } from "./generation.ts";
import type { Keys } from "./keys.ts";
import type { RedisMembership } from "./membership.ts";
import { bytes, type Script, text } from "./script.ts";

/** Records written back at a time. */
const RESTORE_BATCH = 500;
/** Ended actors this process remembers, to write their tombstones back after a reset. Beyond it the oldest go. */
const MAX_ENDED = 4_096;
const NO_BYTES = new Uint8Array();

export interface RedisDirectoryOptions {
  keys: Keys;
  clock: Clock;
  generation: GenerationKeeper;
  commands: RedisConnection;
  membership: RedisMembership;
}

export class RedisDirectory implements Directory {
  readonly #options: RedisDirectoryOptions;
  /** Until when (this process' monotonic clock) each stays ended, and the epoch of the owner that ended it. */
  readonly #ended = new Map<ActorId, { until: number; epoch: Epoch }>();

  constructor(options: RedisDirectoryOptions) {
    this.#options = options;
  }

  async claim(request: ClaimRequest): Promise<ClaimResult> {
    checkOperation(request.operation);
    const { generation } = this.#options;
    let answer = await this.#claim(request);
    // Another node may have seen it settle; asking costs a round trip, and only for as long as it takes to know.
    if (text(answer[0]) === "settling" && (await generation.refreshSettled())) answer = await this.#claim(request);
    const outcome = text(answer[0]);
    switch (outcome) {
      case "claimed":
        return { outcome, epoch: text(answer[1]) as Epoch, state: decodeState(answer[2], answer[3]) };
      case "owned":
        return {
          outcome,
          owner: { incarnation: text(answer[1]) as Incarnation, epoch: text(answer[2]) as Epoch },
        };
      case "absent":
      case "ended":
      case "exists":
        return { outcome };
      default:
        throw generation.settlingError(`claiming ${request.actor}`);
    }
  }

  async lookup(actor: ActorId): Promise<{ owner: Owner | null; hasState: boolean; ended: boolean } | null> {
    const { generation } = this.#options;
    const [, incarnation, epoch, version, tombstone] = await this.#run(scripts.lookupScript, actor, []);
    const ended = text(tombstone) !== "";
    const hasState = text(version) !== "";
    const owner =
      text(incarnation) === "" ? null : { incarnation: text(incarnation) as Incarnation, epoch: text(epoch) as Epoch };
    if (owner !== null || hasState || ended) return { owner, hasState, ended };
    // "There is none" would be a guess while owners are still writing back.
    if (generation.settledFlag === "0" && !(await generation.refreshSettled())) {
      throw generation.settlingError(`looking up ${actor}`);
    }
    return null;
  }

  async transfer(request: {
    actor: ActorId;
    from: Owner;
    to: Incarnation;
    operation: string;
  }): Promise<{ outcome: "transferred"; epoch: Epoch } | { outcome: "fenced" }> {
    checkOperation(request.operation);
    const { from, operation, to } = request;
    const answer = await this.#run(scripts.transferScript, request.actor, [
      from.incarnation,
      from.epoch,
      operation,
      to,
      request.actor,
    ]);
    if (text(answer[0]) !== "transferred") return { outcome: "fenced" };
    return { outcome: "transferred", epoch: text(answer[1]) as Epoch };
  }

  async release(request: { actor: ActorId; owner: Owner; operation: string }): Promise<FencedResult> {
    checkOperation(request.operation);
    const { owner, operation } = request;
    const args = [owner.incarnation, owner.epoch, operation, request.actor];
    return fencedResult(await this.#run(scripts.releaseScript, request.actor, args));
  }

  async commit(request: {
    actor: ActorId;
    owner: Owner;
    expectedVersion: number;
    bytes: Uint8Array;
    operation: string;
    dueMs?: number | null;
  }): Promise<CommitResult> {
    checkOperation(request.operation);
    const { actor, owner, operation, expectedVersion, dueMs } = request;
    const args = [owner.incarnation, owner.epoch, operation, String(expectedVersion), request.bytes];
    const answer =
      dueMs === undefined
        ? await this.#run(scripts.commitScript, actor, args)
        : await this.#runWithDues(scripts.commitDueScript, actor, [...args, ...this.#dueArgs(actor, dueMs)]);
    const outcome = text(answer[0]);
    if (outcome === "committed" || outcome === "conflict") return { outcome, version: Number(text(answer[1])) };
    return { outcome: "fenced" };
  }

  async end(request: { actor: ActorId; owner: Owner; operation: string; tombstoneMs: number }): Promise<FencedResult> {
    checkOperation(request.operation);
    const { actor, owner, operation } = request;
    const tombstoneMs = Math.max(1, Math.ceil(request.tombstoneMs));
    const args = [owner.incarnation, owner.epoch, operation, String(tombstoneMs), actor];
    const result = fencedResult(await this.#runWithDues(scripts.endScript, actor, args));
    if (result === "done") this.#rememberEnded(actor, owner.epoch, tombstoneMs);
    return result;
  }

  async reassert(
    incarnation: Incarnation,
    records: readonly HeldRecord[],
    leaseHeld: () => boolean = () => false,
  ): Promise<{ lost: ActorId[]; settled: boolean }> {
    const { generation, membership } = this.#options;
    return await generation.reassert(
      async () => (await membership.readmit(incarnation)) === "alive",
      async ({ readmitted, missed }) => {
        const proven = readmitted && (!missed || leaseHeld());
        const settled = await generation.refreshSettled();
        if (!proven) return { lost: records.map((record) => record.actor), settled };
        const lost = await this.#restore(incarnation, records);
        await this.#entomb();
        return { lost, settled };
      },
    );
  }

  async #restore(incarnation: Incarnation, records: readonly HeldRecord[]): Promise<ActorId[]> {
    const lost: ActorId[] = [];
    for (let start = 0; start < records.length; start += RESTORE_BATCH) {
      const batch = records.slice(start, start + RESTORE_BATCH);
      await Promise.all(
        batch.map(async ({ actor, epoch, state, dueMs }) => {
          const version = state === null ? "" : String(state.version);
          const due = this.#dueArgs(actor, dueMs ?? null);
          const args = [incarnation, epoch, version, state?.bytes ?? NO_BYTES, ...due];
          const answer = await this.#runRestore(scripts.restoreScript, actor, args);
          if (text(answer[0]) === "lost") lost.push(actor);
        }),
      );
    }
    return lost;
  }

  #claim(request: ClaimRequest): Promise<readonly unknown[]> {
    return this.#run(scripts.claimScript, request.actor, [
      request.incarnation,
      request.operation,
      this.#options.generation.settledFlag,
      request.requireState === true ? "1" : "0",
      request.create === undefined ? "0" : "1",
      request.create ?? NO_BYTES,
      request.takeover?.incarnation ?? "",
      request.takeover?.epoch ?? "",
      request.actor,
    ]);
  }

  #run(
    script: Script,
    actor: ActorId,
    args: readonly (string | Uint8Array)[],
    during: "never" | "reasserting" = "never",
  ): Promise<readonly unknown[]> {
    const { keys, generation, commands } = this.#options;
    const { generation: copy, record, epochs, owners } = keys.actor(actor);
    return generation.run(commands, script, [copy, record, epochs, owners], args, during);
  }

  #runWithDues(script: Script, actor: ActorId, args: readonly (string | Uint8Array)[]): Promise<readonly unknown[]> {
    const { keys, generation, commands } = this.#options;
    const { generation: copy, record, dues, owners } = keys.actor(actor);
    return generation.run(commands, script, [copy, record, dues, owners], args);
  }

  /** A script that writes back what the store lost. */
  #runRestore(script: Script, actor: ActorId, args: readonly (string | Uint8Array)[]): Promise<readonly unknown[]> {
    const { keys, generation, commands } = this.#options;
    const { generation: copy, record, dues, owners } = keys.actor(actor);
    const all = [copy, record, dues, keys.settledBeside(copy), owners];
    return generation.run(commands, script, all, args, "reasserting");
  }

  #dueArgs(actor: ActorId, dueMs: number | null): [due: string, actor: string, bucket: string, channel: string] {
    const { keys } = this.#options;
    return [dueMs === null ? "" : dueMs.toFixed(0), actor, String(keys.actor(actor).index), keys.dueChanges];
  }

  #rememberEnded(actor: ActorId, epoch: Epoch, tombstoneMs: number): void {
    this.#ended.delete(actor);
    this.#ended.set(actor, { until: this.#options.clock.now() + tombstoneMs, epoch });
    if (this.#ended.size <= MAX_ENDED) return;
    for (const oldest of this.#ended.keys()) {
      this.#ended.delete(oldest);
      break;
    }
  }

  async #entomb(): Promise<void> {
    const now = this.#options.clock.now();
    const entries = [...this.#ended].filter(([, { until }]) => until > now);
    for (let start = 0; start < entries.length; start += RESTORE_BATCH) {
      const batch = entries.slice(start, start + RESTORE_BATCH);
      await Promise.all(
        batch.map(([actor, { until, epoch }]) =>
          this.#runRestore(scripts.entombScript, actor, [epoch, String(Math.ceil(until - now)), actor]),
        ),
      );
    }
  }
}

function decodeState(version: unknown, state: unknown): StoredState | null {
  const read = text(version);
  return read === "" ? null : { version: Number(read), bytes: bytes(state) };
}

function fencedResult(answer: readonly unknown[]): FencedResult {
  return text(answer[0]) === "done" ? "done" : "fenced";
}
