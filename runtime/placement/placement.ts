/**
 * Where a new activation goes: a choice among the nodes that can run its kind. Pure: members, loads and chance are
 * inputs. The choice is a proposal; who owns the actor is decided by the chosen node's claim in the directory.
 */
import type { PlacementPolicy } from "../actor/define.ts";
import type { Incarnation } from "../actor/ids.ts";
import type { Member } from "../coordinator/contract.ts";

export interface PlacementInput {
  self: Incarnation;
  /** All members of the view. */
  members: readonly Member[];
  /** Load of a node; larger is busier. */
  load: (incarnation: Incarnation) => number;
  /** From 0 to below 1. */
  random: () => number;
}

/** Members that may be given a new actor of `kind`: alive, active, and loaded with that kind. */
export function candidates(members: readonly Member[], kind: string): Member[] {
  return members.filter(
    ({ liveness, state, kinds }) => liveness === "alive" && state === "active" && kinds.includes(kind),
  );
}

/** The node for a new actor, or undefined when none can run it. */
export function chooseNode(
  kind: string,
  key: string,
  policy: PlacementPolicy,
  input: PlacementInput,
): Incarnation | undefined {
  const able = candidates(input.members, kind);
  if (typeof policy === "object" && "pinned" in policy) {
    const wanted = Object.entries(policy.pinned);
    return lessLoaded(
      able.filter(({ labels }) => wanted.every(([name, value]) => labels[name] === value)),
      input,
    );
  }
  if (policy === "hash") return rendezvous(able, key)?.incarnation;
  if (policy !== "least-loaded" && able.some(({ incarnation }) => incarnation === input.self)) return input.self;
  return lessLoaded(able, input);
}

/** The less loaded of two random ones: nearly as good as the least of all, without everybody choosing the same. */
function lessLoaded(able: readonly Member[], { load, random }: PlacementInput): Incarnation | undefined {
  if (able.length <= 1) return able[0]?.incarnation;
  const first = Math.floor(random() * able.length);
  const second = (first + 1 + Math.floor(random() * (able.length - 1))) % able.length;
  const [a, b] = [able[first], able[second]];
  if (a === undefined || b === undefined) return undefined;
  return load(a.incarnation) <= load(b.incarnation) ? a.incarnation : b.incarnation;
}

/** Rendezvous hashing: a node that comes or goes moves only the keys that are its own. By node id, which survives restarts. */
export function rendezvous(able: readonly Member[], key: string): Member | undefined {
  let best: Member | undefined;
  let most = -1;
  for (const member of able) {
    const weight = hash(`${member.id}\u0000${key}`);
    if (weight > most || (weight === most && best !== undefined && member.id < best.id)) {
      best = member;
      most = weight;
    }
  }
  return best;
}

/** FNV-1a, 32 bits, with a final mix so that similar texts differ in their high bits too. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) {
    value = Math.imul(value ^ text.charCodeAt(index), 0x01000193);
  }
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
  return (value ^ (value >>> 16)) >>> 0;
}
