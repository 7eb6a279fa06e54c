/**
 * A `fetch` for SDK clients that plays a load balancer without affinity: every single HTTP request goes to a node
 * chosen by chance. Only host and port of the URL change; what the client sends and reads is untouched.
 */
import { chooseIndex, randomFrom, seedOf } from "./seed.ts";

/** One HTTP request and the node that was asked. */
export interface Routed {
  node: number;
  method: string;
  path: string;
  /** Absent while the response has not begun, and for a request that failed. */
  status?: number;
}

export interface RandomFetch {
  fetch: (input: string | URL | Request, init?: RequestInit) => Promise<Response>;
  seed: number;
  /** Every request so far, oldest first; the first 100,000 are kept. */
  routed: Routed[];
  /** From now on requests for which `choose` names a node go there; the others stay random. */
  steer(choose: ((method: string) => number | undefined) | undefined): void;
}

const KEPT = 100_000;

/** `bases` are the nodes' origins, such as `http://127.0.0.1:8787`. */
export function randomFetch(bases: readonly string[], seed = seedOf("random fetch")): RandomFetch {
  const random = randomFrom(seed);
  const routed: Routed[] = [];
  let steering: ((method: string) => number | undefined) | undefined;

  const route = async (input: string | URL | Request, init?: RequestInit): Promise<Response> => {
    const url = new URL(input instanceof Request ? input.url : input);
    const method = init?.method ?? (input instanceof Request ? input.method : "GET");
    const node = steering?.(method) ?? chooseIndex(random, bases.length);
    const entry: Routed = { node, method, path: url.pathname };
    if (routed.length < KEPT) routed.push(entry);
    const target = new URL(url.pathname + url.search, bases[node]);
    const response = await fetch(input instanceof Request ? new Request(target, input) : target, init);
    entry.status = response.status;
    return response;
  };
  return {
    fetch: route,
    seed,
    routed,
    steer: (choose) => {
      steering = choose;
    },
  };
}
