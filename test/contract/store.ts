/**
 * What a contract test is given: one store of some kind, and as many coordinators on it as nodes would have.
 */
import type { ActorId, Incarnation } from "../../runtime/actor/ids.ts";
import { actorId } from "../../runtime/actor/ids.ts";
import type { Coordinator, NodeRecord } from "../../runtime/coordinator/contract.ts";

export interface Store {
  /** Another open coordinator on the same data. Where only one process can have the data, the same one again. */
  connect(): Promise<Coordinator>;
  /** Closes all of them. */
  close(): Promise<void>;
}

/** Makes an empty store. */
export type MakeStore = () => Promise<Store>;

let operations = 0;
/** An operation id that was not used before. */
export function operation(): string {
  operations += 1;
  return `op-${operations}`;
}

let actors = 0;
/** An actor that no other test uses. */
export function anActor(): ActorId {
  actors += 1;
  return actorId("counter", `c${actors}`);
}

export function nodeRecord(id: string, state: NodeRecord["state"] = "active"): NodeRecord {
  return {
    id: id as NodeRecord["id"],
    url: "http://127.0.0.1:8787",
    meshUrl: "127.0.0.1:9787",
    pid: 4711,
    runtime: "node 20.20.2",
    version: "0.1.0",
    startedAt: 1_700_000_000_000,
    labels: { zone: "a" },
    kinds: ["counter"],
    servers: ["everything"],
    state,
  };
}

/** Joins as `id`; the answer is the incarnation. */
export async function join(coordinator: Coordinator, id: string): Promise<Incarnation> {
  return (await coordinator.membership.join(nodeRecord(id), operation())).incarnation;
}

export function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

export function textOf(bytes: Uint8Array | undefined): string {
  return bytes === undefined ? "" : new TextDecoder().decode(bytes);
}

/** Bytes that are no text: what a store must not touch. */
export const RAW_BYTES = new Uint8Array([0, 255, 10, 13, 0x7b, 128, 0]);
