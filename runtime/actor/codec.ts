/**
 * Stored state as bytes: msgpack with the types that plain msgpack lacks (Map, Set, Date, BigInt). Each encoding stands
 * alone, because the version that reads it may not be the one that wrote it.
 */
import { Packr } from "msgpackr";

const packr = new Packr({ moreTypes: true });

/** The result of a durable call, as stored with the state it made. */
export type StoredResult = [requestId: string, wallMs: number, value: unknown];

/** What is stored of an actor. */
export interface Envelope {
  /** The version of the kind's state schema that wrote it. */
  schema: number;
  state: unknown;
  /** Results of durable calls, oldest first. */
  results: StoredResult[];
}

export function encodeEnvelope({ schema, state, results }: Envelope): Uint8Array {
  return packr.pack(results.length === 0 ? [schema, state] : [schema, state, results]);
}

/** Throws when the bytes are not an envelope. */
export function decodeEnvelope(bytes: Uint8Array): Envelope {
  const unpacked: unknown = packr.unpack(bytes);
  if (!Array.isArray(unpacked) || typeof unpacked[0] !== "number") throw new TypeError("stored state is not readable");
  const [schema, state, results = []] = unpacked as [number, unknown, StoredResult[]?];
  return { schema, state, results };
}

/** The first state of an actor, as `create` stores it. */
export function encodeState(state: unknown, schema = 1): Uint8Array {
  return encodeEnvelope({ schema, state, results: [] });
}
