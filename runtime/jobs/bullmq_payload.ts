/** What this queue keeps in a BullMQ job, and how it is read back. Part of the stored layout: fields are only added. */
import type { Job } from "bullmq";
import type { Backoff, JobInfo, JobState } from "./contract.ts";

/** A job's `data`. */
export interface Payload {
  v: 1;
  key: string;
  data: unknown;
  attempts: number;
  backoff: Backoff;
  keepMs: number;
  /** Starts that do not count as attempts. */
  from: number;
  /** Tells this job from others that had its key before. */
  nonce: string;
}

/** A job's return value. One that was cancelled while it ran has no result. */
export type Returned = { v: 1; result: unknown } | { v: 1; cancelled: true };

/** A job's progress. */
export interface ReportedProgress {
  /** Which start of the job reported it, and its how manieth report it is. */
  start: number;
  n: number;
  attempt: number;
  value: unknown;
}

export type BullJob = Job<Payload, Returned>;

/** BullMQ takes no integers and no colons as ids; keys have no `%`. */
export function bullId(key: string): string {
  return `j-${key.replaceAll(":", "%")}`;
}

/** Whether the time for which its result is kept is over. */
export function isExpired({ finishedOn, returnvalue, data }: BullJob): boolean {
  return finishedOn !== undefined && isReturned(returnvalue) && finishedOn + data.keepMs <= Date.now();
}

export function isReturned(value: unknown): value is Returned {
  return typeof value === "object" && value !== null && "v" in value;
}

export function isReportedProgress(value: unknown): value is ReportedProgress {
  return typeof value === "object" && value !== null && "start" in value && "n" in value && "attempt" in value;
}

/** Whoever names the types vouches for them: the store has JSON. */
export function infoOf<Data, Result>(name: string, job: BullJob, state: JobState): JobInfo<Data, Result> {
  const { key, data, attempts, from } = job.data;
  const finished = state === "completed" || state === "dead";
  const returned = state === "completed" && isReturned(job.returnvalue) ? job.returnvalue : null;
  return {
    id: `${name}/${key}`,
    name,
    key,
    data: data as Data,
    state,
    attempt: Math.max(0, job.attemptsStarted - from),
    attempts,
    progress: isReportedProgress(job.progress) ? job.progress.value : null,
    result: returned !== null && "result" in returned ? (returned.result as Result) : null,
    error: state === "completed" ? null : (job.failedReason ?? null),
    addedAt: job.timestamp,
    finishedAt: finished ? (job.finishedOn ?? null) : null,
  };
}

/** Whether one id of a Redis stream comes after another. */
export function newer(id: string, than: string): boolean {
  const [ms = 0, n = 0] = id.split("-").map(Number);
  const [thanMs = 0, thanN = 0] = than.split("-").map(Number);
  return ms > thanMs || (ms === thanMs && n > thanN);
}
