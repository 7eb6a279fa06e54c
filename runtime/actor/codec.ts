/**
 * Stored state as bytes: msgpack with the types that plain msgpack lacks (Map, Set, Date, BigInt). Each encoding stands
 * alone, because the version that reads it may not be the one that wrote it.
 */
import { Packr } from "msgpackr";

const packr = new Packr({ moreTypes: true });

export function encodeState(state: unknown): Uint8Array {
  return packr.pack(state);
}

export function decodeState(bytes: Uint8Array): unknown {
  return packr.unpack(bytes);
}
