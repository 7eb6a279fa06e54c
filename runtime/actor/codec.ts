/**
 * Stored state as bytes: msgpack with the types that plain msgpack lacks (Map, Set, Date, BigInt). Each encoding stands
 * alone, because the version that reads it may not be the one that wrote it.
 */
import { Packr } from "msgpackr";

const packr = new Packr({ moreTypes: true });

/** The result of a durable call, as stored with the state it made. */
export type StoredResult = [requestId: string, wallMs: number, value: unknown];

/** A reminder, as stored with the state (`reminders.ts`); `everyMs` 0: once. Handed over: whether it is stored yet. */
export type ReminderRow = [
  name: string,
  dueMs: number,
  everyMs: number,
  missed: number,
  data: unknown,
  stored?: boolean,
];

/** What is stored of an actor. */
export interface Envelope {
  /** The version of the kind's state schema that wrote it. */
  schema: number;
  state: unknown;
  /** Results of durable calls, oldest first. */
  results: StoredResult[];
  reminders: ReminderRow[];
}

export function encodeEnvelope({ schema, state, results, reminders }: Envelope): Uint8Array {
  const parts: unknown[] = [schema, state];
  if (results.length > 0 || reminders.length > 0) parts.push(results);
  if (reminders.length > 0) parts.push(reminders);
  // Copied out: the packer hands back a view on a buffer that it shares between many.
  return new Uint8Array(packr.pack(parts));
}

/** Throws when the bytes are not an envelope. */
export function decodeEnvelope(bytes: Uint8Array): Envelope {
  const unpacked: unknown = packr.unpack(bytes);
  if (!Array.isArray(unpacked) || typeof unpacked[0] !== "number") throw new TypeError("stored state is not readable");
  const [schema, state, results = [], reminders = []] = unpacked as [number, unknown, StoredResult[]?, ReminderRow[]?];
  return { schema, state: interned(state, 0), results, reminders };
}

/** A result that a repeated request is to be told; `durable` ones are stored too. */
export type HandedResult = [...StoredResult, durable: boolean];

/** What an activation hands to its successor on another node: all that a stored envelope has, and what is in memory only. */
export interface Handover {
  schema: number;
  state: unknown;
  results: HandedResult[];
  reminders: ReminderRow[];
  /** What `onMigrate` returned. */
  migrated: unknown;
}

/** Throws when something in it is not plain data. */
export function encodeHandover({ schema, state, results, reminders, migrated }: Handover): Uint8Array {
  return new Uint8Array(packr.pack([schema, state, results, migrated, reminders]));
}

/** Throws when the bytes are no handover. */
export function decodeHandover(bytes: Uint8Array): Handover {
  const unpacked: unknown = packr.unpack(bytes);
  if (!Array.isArray(unpacked) || typeof unpacked[0] !== "number") throw new TypeError("a handover is not readable");
  const [schema, state, results, migrated, reminders = []] = unpacked as [
    number,
    unknown,
    HandedResult[],
    unknown,
    ReminderRow[]?,
  ];
  return { schema, state: interned(state, 0), results, reminders, migrated };
}

/** What a commit would have stored of a handover, and when its earliest reminder is due. */
export function storedPartOf(handover: Uint8Array): { bytes: Uint8Array; dueMs: number | null } {
  const { schema, state, results, reminders } = decodeHandover(handover);
  const durable = results
    .filter(([, , , kept]) => kept)
    .map(([id, wallMs, value]): StoredResult => [id, wallMs, value]);
  const rows = reminders.map(
    ([name, dueMs, everyMs, missed, data]): ReminderRow => [name, dueMs, everyMs, missed, data],
  );
  const dueMs = rows.length === 0 ? null : Math.min(...rows.map(([, due]) => due));
  return { bytes: encodeEnvelope({ schema, state, results: durable, reminders: rows }), dueMs };
}

/** Short texts of resident states, each kept once: many actors hold the same few names and versions. */
const texts = new Map<string, string>();
const MAX_TEXTS = 4_096;
const MAX_TEXT_LENGTH = 40;
const MAX_DEPTH = 3;

/** `value` with its short texts replaced by the ones kept, in place. */
function interned(value: unknown, depth: number): unknown {
  if (typeof value === "string") {
    if (value.length > MAX_TEXT_LENGTH) return value;
    const known = texts.get(value);
    if (known !== undefined) return known;
    if (texts.size < MAX_TEXTS) texts.set(value, value);
    return value;
  }
  if (typeof value !== "object" || value === null || depth > MAX_DEPTH) return value;
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index++) value[index] = interned(value[index], depth + 1);
  } else if (Object.getPrototypeOf(value) === Object.prototype) {
    const record = value as Record<string, unknown>;
    for (const name in record) record[name] = interned(record[name], depth + 1);
  }
  return value;
}

/** The first state of an actor, as `create` stores it. */
export function encodeState(state: unknown, schema = 1): Uint8Array {
  return encodeEnvelope({ schema, state, results: [], reminders: [] });
}
