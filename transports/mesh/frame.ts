/**
 * What one WebSocket message carries: a frame, which is a type byte and a body.
 *
 * - `messages`: the packed messages of one tick, one after another. A number among them says where a large message belongs,
 *   or what waits for one (`ordering.ts`).
 * - `ack`: bytes of frames the receiver has consumed on this socket, so that the sender may send as many again.
 * - `chunk`: a piece of a large message: transfer number, size of the whole, bytes. Pieces of one transfer come in order.
 * - `delivered`: the receiver handed that transfer on; the sender forgets it.
 *
 * Messages are packed when they are sent and not when they are flushed, so that a caller may change its objects
 * afterwards and queues are bounded in real bytes. Frames stay below 64 KiB and a bit: that is what makes a lane fair, and
 * it is the memory a stranger can make a listener hold before it has proved anything.
 */
import { Packr, Unpackr } from "msgpackr";
import { TroupeError } from "../../runtime/actor/errors.ts";
import type { Message } from "../../runtime/actor/message.ts";

export const FrameType = { Messages: 0, Ack: 1, Chunk: 2, Delivered: 3 } as const;

/** A packed message larger than this travels in chunks. Also the bytes of one chunk, and of one batch. */
export const BULK_THRESHOLD = 64 * 1024;
/** No frame is larger, with room for headers and the authentication tag. */
export const MAX_FRAME_BYTES = BULK_THRESHOLD + 1024;

const CHUNK_HEADER = 9;

/**
 * Levels of arrays and objects in a message. Packing and unpacking recurse, and how deep they get depends on the runtime
 * and on what it has optimized; a message that one node can pack and another cannot unpack would end the link.
 */
const MAX_DEPTH = 1_000;

// Records (inline, never shared between messages) are what lets a Map be told from an object; `useToJSON: false` because
// a caller's data may have any key, and one called toJSON must not be called.
const CODEC = { moreTypes: true, useToJSON: false, copyBuffers: true } as const;
const packr = new Packr({ ...CODEC });
const unpackr = new Unpackr({ ...CODEC });

/**
 * The bytes of `message`. Throws `TroupeError`: `invalid_argument` for what is not plain data, `too_large` beyond
 * `maxBytes`; both with `started: "no"`, nothing was sent.
 */
export function packMessage(message: Message, maxBytes: number): Buffer {
  let bytes: Buffer;
  try {
    bytes = packr.pack(message);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new TroupeError("invalid_argument", `a message cannot be packed: ${why}`, { started: "no", cause });
  }
  // After a large message the packer would go on allocating blocks of that size for small ones.
  if (bytes.length > BULK_THRESHOLD) packr.useBuffer(Buffer.allocUnsafeSlow(8192));
  if (bytes.length > maxBytes) {
    const text = `a message of ${bytes.length} bytes is larger than the mesh allows (${maxBytes})`;
    throw new TroupeError("too_large", text, { started: "no" });
  }
  // A level takes a byte at least, so short messages need no look.
  if (bytes.length > MAX_DEPTH && isDeeper(message, MAX_DEPTH)) {
    const text = `a message is nested deeper than ${MAX_DEPTH} levels`;
    throw new TroupeError("invalid_argument", text, { started: "no" });
  }
  return bytes;
}

/** The bytes of a placeholder, or of a mark before `message` (see `ordering.ts`). */
export function packNumber(value: number): Buffer {
  return packr.pack(value);
}

/** What a `messages` frame carries, and where each item ends. Throws when it is not that. */
export function unpackMessages(body: Uint8Array): { items: (Message | number)[]; ends: number[] } {
  const items: (Message | number)[] = [];
  const ends: number[] = [];
  unpackr.unpackMultiple(plainView(body), (value: unknown, _start?: number, end?: number) => {
    if (!Number.isInteger(value) && !looksLikeMessage(value)) {
      throw new Error("a frame holds something else than messages");
    }
    items.push(value as Message | number);
    ends.push(end ?? 0);
  });
  return { items, ends };
}

/** The message in a complete transfer. */
export function unpackMessage(bytes: Uint8Array): Message {
  const value: unknown = unpackr.unpack(bytes);
  if (!looksLikeMessage(value)) throw new Error("transfer holds something else than a message");
  return value;
}

function isDeeper(value: unknown, levels: number): boolean {
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return false;
  if (levels === 0) return true;
  if (Array.isArray(value) || value instanceof Set) {
    for (const item of value) if (isDeeper(item, levels - 1)) return true;
  } else if (value instanceof Map) {
    for (const [key, item] of value) if (isDeeper(key, levels - 1) || isDeeper(item, levels - 1)) return true;
  } else {
    for (const item of Object.values(value)) if (isDeeper(item, levels - 1)) return true;
  }
  return false;
}

function looksLikeMessage(value: unknown): value is Message {
  return (
    Array.isArray(value) &&
    value.length >= 5 &&
    typeof value[0] === "number" &&
    typeof value[1] === "number" &&
    typeof value[2] === "string" &&
    typeof value[3] === "number"
  );
}

/** A frame of already packed messages. `bytes` is their total size. */
export function messagesFrame(messages: readonly Buffer[], bytes: number): Buffer {
  const frame = Buffer.allocUnsafe(1 + bytes);
  frame[0] = FrameType.Messages;
  let at = 1;
  for (const message of messages) {
    frame.set(message, at);
    at += message.length;
  }
  return frame;
}

export function ackFrame(bytes: number): Buffer {
  return numberFrame(FrameType.Ack, bytes);
}

export function deliveredFrame(transfer: number): Buffer {
  return numberFrame(FrameType.Delivered, transfer);
}

/** The number in an `ack` or `delivered` frame. Throws when it has another size. */
export function readNumber(frame: Buffer): number {
  if (frame.length !== 5) throw new Error(`frame of type ${frame[0]} has ${frame.length} bytes instead of 5`);
  return frame.readUInt32BE(1);
}

export function chunkFrame(transfer: number, total: number, piece: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(CHUNK_HEADER + piece.length);
  frame[0] = FrameType.Chunk;
  frame.writeUInt32BE(transfer, 1);
  frame.writeUInt32BE(total, 5);
  frame.set(piece, CHUNK_HEADER);
  return frame;
}

/** The parts of a `chunk` frame. Throws when it is too short. */
export function readChunk(frame: Buffer): { transfer: number; total: number; piece: Buffer } {
  if (frame.length <= CHUNK_HEADER) throw new Error(`chunk frame has ${frame.length} bytes`);
  return { transfer: frame.readUInt32BE(1), total: frame.readUInt32BE(5), piece: frame.subarray(CHUNK_HEADER) };
}

function numberFrame(type: number, value: number): Buffer {
  const frame = Buffer.allocUnsafe(5);
  frame[0] = type;
  frame.writeUInt32BE(value, 1);
  return frame;
}

/** Not a Buffer, so that the binary values unpacked from it are `Uint8Array`s too. */
function plainView(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
