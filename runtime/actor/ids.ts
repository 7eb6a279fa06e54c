/**
 * The names of things, as branded strings, so that an epoch is never passed where an incarnation is meant.
 *
 * All of them are opaque: they are compared for equality and never for order (an epoch is a fencing token, an
 * incarnation a number that is never reused; stores hand them out as strings because scripts lose precision on
 * large numbers).
 */
declare const brand: unique symbol;
type Brand<Name extends string> = string & { readonly [brand]: Name };

/** Stable name of a node, chosen by its operator or made from the host name. */
export type NodeId = Brand<"NodeId">;
/** One life of a node; a fresh one is taken at each start and after each declared death. */
export type Incarnation = Brand<"Incarnation">;
/** The fencing token of one activation. */
export type Epoch = Brand<"Epoch">;
/** A random value the coordinator's data carries since it was first written. */
export type Generation = Brand<"Generation">;
/** `kind/key`: the address of an actor. */
export type ActorId = Brand<"ActorId">;

/** A kind: a lower-case word, with dashes or underscores inside. */
const KIND = /^[a-z][a-z0-9_-]{0,63}$/;
/** Bytes an actor key may take; keys become parts of store keys and of metrics' log lines. */
export const MAX_KEY_LENGTH = 512;

/** Whether `kind` may name an actor kind: `^[a-z][a-z0-9_-]{0,63}$`. */
export function isKind(kind: string): boolean {
  return KIND.test(kind);
}

/** The address of actor `key` of `kind`. Throws `RangeError` for an empty or overlong key. */
export function actorId(kind: string, key: string): ActorId {
  if (key.length === 0 || key.length > MAX_KEY_LENGTH) {
    throw new RangeError(`actor key must have 1 to ${MAX_KEY_LENGTH} characters, got ${key.length} (kind "${kind}")`);
  }
  return `${kind}/${key}` as ActorId;
}

/** The kind in an address: what stands before the first slash. */
export function kindOf(id: ActorId): string {
  return id.slice(0, id.indexOf("/"));
}

/** The key in an address: what stands after the first slash. */
export function keyOf(id: ActorId): string {
  return id.slice(id.indexOf("/") + 1);
}
