/**
 * Which faults a chaos run makes, in what order: drawn from the seed, one at a time, each healed before the next. The
 * faults are those of the fault matrix that must lose nothing: of one node (crash, freeze, isolation, its way to Redis,
 * a drain), and of a Redis that keeps what it acknowledged (restart, outage, slowness).
 */
import { chooseIndex, type Random } from "../harness/seed.ts";
import type { Lab } from "./lab.ts";

export interface PlannedFault {
  what: string;
  /** Nodes that cannot serve their sockets while it lasts. */
  nodes: number[];
  /** What any call may be held up by, beside the time that detection takes, milliseconds. */
  holdsUpMs: number;
  /** Makes the fault, waits, and undoes it. */
  run(lab: Lab): Promise<void>;
}

interface Kind {
  what: string;
  weight: number;
  plan(node: number, ms: (least: number, most: number) => number, leaseMs: number): PlannedFault;
}

/** Longer than a lease and its grace. */
const beyond = (leaseMs: number, moreMs: number): number => Math.ceil(leaseMs * 1.1) + moreMs;
const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const ofNode = (
  what: string,
  node: number,
  run: (lab: Lab) => Promise<void>,
  nodes: number[] = [node],
): PlannedFault => ({ what: `${what} node ${node}`, nodes, holdsUpMs: 0, run });

const ofRedis = (what: string, holdsUpMs: number, run: (lab: Lab) => Promise<void>): PlannedFault => ({
  what,
  nodes: [],
  holdsUpMs,
  run,
});

const KINDS: readonly Kind[] = [
  {
    what: "kill",
    weight: 6,
    plan: (node, ms) => {
      const downMs = ms(0, 3_000);
      return ofNode("kill", node, async (lab) => {
        await lab.kill(node);
        await wait(downMs);
        await lab.start(node);
      });
    },
  },
  {
    what: "freeze",
    weight: 3,
    plan: (node, ms, leaseMs) => {
      const frozenMs = ms(0, 1) < 0.3 ? ms(500, leaseMs / 2) : beyond(leaseMs, ms(1_500, 4_000));
      return ofNode(`freeze for ${Math.round(frozenMs)} ms`, node, async (lab) => {
        lab.freeze(node);
        await wait(frozenMs);
        lab.thaw(node);
      });
    },
  },
  {
    what: "isolate",
    weight: 3,
    plan: (node, ms, leaseMs) => {
      const awayMs = ms(0, 1) < 0.3 ? ms(500, leaseMs / 2) : beyond(leaseMs, ms(1_500, 4_000));
      return ofNode(`isolate for ${Math.round(awayMs)} ms`, node, async (lab) => {
        lab.network.isolate(node);
        await wait(awayMs);
        lab.network.rejoin(node);
      });
    },
  },
  {
    what: "cut from Redis",
    weight: 2,
    plan: (node, ms, leaseMs) => {
      const awayMs = beyond(leaseMs, ms(1_500, 4_000));
      const fault = ofNode(`cut from Redis for ${Math.round(awayMs)} ms:`, node, async (lab) => {
        lab.network.cutRedis(node);
        await wait(awayMs);
        lab.network.mendRedis(node);
      });
      // Its sockets work: whoever comes to it is answered.
      return { ...fault, nodes: [], holdsUpMs: awayMs };
    },
  },
  {
    what: "drain",
    weight: 3,
    plan: (node) =>
      ofNode("drain", node, async (lab) => {
        await lab.drain(node);
        await lab.start(node);
      }),
  },
  {
    what: "restart Redis",
    weight: 1,
    plan: () =>
      ofRedis("kill Redis and start it with its data", 2_000, async (lab) => {
        await lab.redis.kill();
        await lab.redis.start();
      }),
  },
  {
    what: "stop Redis",
    weight: 2,
    plan: (_node, ms, leaseMs) => {
      const downMs = ms(0, 1) < 0.5 ? ms(500, leaseMs / 2) : beyond(leaseMs, ms(0, 2_000));
      return ofRedis(`Redis gone for ${Math.round(downMs)} ms`, downMs, async (lab) => {
        await lab.redis.kill();
        await wait(downMs);
        await lab.redis.start();
      });
    },
  },
  {
    what: "freeze Redis",
    weight: 1,
    plan: (_node, ms, leaseMs) => {
      const frozenMs = ms(1_000, leaseMs / 2);
      return ofRedis(`freeze Redis for ${Math.round(frozenMs)} ms`, frozenMs, async (lab) => {
        lab.redis.freeze();
        await wait(frozenMs);
        lab.redis.thaw();
      });
    },
  },
];

export const FAULT_KINDS: readonly string[] = KINDS.map(({ what }) => what);

export interface ScheduleOptions {
  random: Random;
  nodes: number;
  leaseMs: number;
  /** Only these; all when empty. */
  only: readonly string[];
}

/** The faults, without end. */
export function* schedule({ random, nodes, leaseMs, only }: ScheduleOptions): Generator<PlannedFault> {
  const kinds = KINDS.filter((kind) => only.length === 0 || only.includes(kind.what));
  // Each kind in turn before one comes twice would hide what only a repetition shows; pure chance may leave one out.
  const bag: Kind[] = [];
  const ms = (least: number, most: number): number => least + random() * (most - least);
  for (;;) {
    if (bag.length === 0) for (const kind of kinds) for (let copy = 0; copy < kind.weight; copy++) bag.push(kind);
    const [kind] = bag.splice(chooseIndex(random, bag.length), 1);
    if (kind !== undefined) yield kind.plan(chooseIndex(random, nodes), ms, leaseMs);
  }
}
