/**
 * Presence: who is in a group now, and what changes. The key is the group's name; members are names too (nodes, sessions,
 * anything) with a little plain data each.
 *
 * ## What it guarantees
 * - A member joined under an *attachment* is gone at once when the node, worker or connection that holds the attachment
 *   dies: the attachment is a stream, and the runtime ends the streams of dead callers. The member's node is not asked.
 * - A member joined for a time is gone when it was not joined again within `ttlMs`.
 * - The last to join a name has it: an older attachment that ends later does not take it away.
 * - A watcher is told a snapshot first, then differences, in batches of 50 ms. A watcher that falls behind is told a new
 *   snapshot instead of being sent what it missed.
 *
 * ## What it does not
 * Presence is not stored. When the group's own node dies, the group starts empty on another one, and fills as attachments
 * are made again (`client.ts` does that within a second or so); watchers see a snapshot of what is known by then. Members
 * joined for a time come back with their next join. A broken link looks like a death: its members leave, and come back
 * when it heals; when that takes less than 50 ms, watchers are not told.
 *
 * ## Bounds
 * `MAX_MEMBERS` members of a group; attachments and watchers together are streams of one activation, which the runtime
 * bounds; names up to 256 characters; `meta` up to 4,096 characters as JSON. Beyond: `overloaded`, `invalid_argument`.
 */
import { type ActorContext, defineActor } from "../../runtime/actor/define.ts";
import { TroupeError } from "../../runtime/actor/errors.ts";
import { refusalSeries } from "../../runtime/observe/refusals.ts";
import { fired } from "../delivery/reopened.ts";
import { type Life, MAX_MEMBERS, type PresenceEvent, PresenceGroup, type PresentMember } from "./group.ts";

type Context = ActorContext<undefined, PresenceGroup>;

const MAX_NAME_LENGTH = 256;
const MAX_META_LENGTH = 4_096;
/** Longest time to join for: a day, milliseconds. */
const MAX_TTL_MS = 86_400_000;
/** An empty group stays this long in case somebody comes, milliseconds. */
const LINGER_MS = 2_000;

/** Counts attachments of this thread's activations; an attachment's name is unique together with the epoch. */
let attachments = 0;

export const Presence = defineActor({
  kind: "presence",
  instance: () => new PresenceGroup(),
  onActivate(ctx) {
    const { clock } = ctx.worker;
    const group = ctx.instance;
    let lingering = false;
    // Members joined for a time need no turns, so idleness by turns would forget them.
    const linger = (): void => {
      if (lingering) return;
      lingering = true;
      clock.after(LINGER_MS, () => {
        lingering = false;
        if (group.empty) ctx.passivate();
      });
    };
    group.open(clock, linger);
    linger();
  },
  onDeactivate: (ctx) => ctx.instance.close(),
  methods: {
    /** The attachment's name, then nothing: it lasts as long as the stream is consumed. */
    async *attach(ctx): AsyncGenerator<{ attachment: string }> {
      const attachment = `${ctx.epoch}.${++attachments}`;
      const detach = (): void => ctx.instance.detach(attachment);
      ctx.instance.attach(attachment);
      ctx.signal.addEventListener("abort", detach, { once: true });
      try {
        yield { attachment };
        await fired(ctx.signal);
      } finally {
        detach();
      }
    },

    /** Joins, or changes `meta`, or stays. False: that attachment is over, attach again. */
    join(ctx, member: string, meta: unknown, life: Life): boolean {
      checkMember(member, meta, life);
      const outcome = ctx.instance.join(member, meta, life);
      if (outcome === "full") throw full(ctx);
      return outcome === "joined";
    },

    /** False: it was not here, or (where one is named) another attachment holds it now. */
    leave: (ctx, member: string, attachment?: string): boolean => ctx.instance.leave(member, attachment ?? null),

    members: (ctx): PresentMember[] => ctx.instance.members(),

    async *watch(ctx): AsyncGenerator<PresenceEvent> {
      const watcher = ctx.instance.watch();
      ctx.signal.addEventListener("abort", () => watcher.close(), { once: true });
      try {
        for (;;) {
          const event = await watcher.next();
          if (event === undefined) return;
          yield event;
        }
      } finally {
        watcher.close();
      }
    },
  },
});

function full(ctx: Context): TroupeError {
  ctx.worker.count(refusalSeries("presence"));
  return new TroupeError("overloaded", `presence group "${ctx.key}" has ${MAX_MEMBERS} members`, {
    retryAfterMs: 1_000,
  });
}

function checkMember(member: unknown, meta: unknown, life: Life): void {
  if (typeof member !== "string" || member.length === 0 || member.length > MAX_NAME_LENGTH) {
    throw invalid(`a member's name must be a string of 1 to ${MAX_NAME_LENGTH} characters`);
  }
  const length = JSON.stringify(meta)?.length ?? 0;
  if (length > MAX_META_LENGTH) {
    throw invalid(`the meta of "${member}" takes ${length} characters, at most ${MAX_META_LENGTH} are allowed`);
  }
  if ("attachment" in life ? typeof life.attachment === "string" : life.ttlMs >= 1 && life.ttlMs <= MAX_TTL_MS) return;
  throw invalid(`"${member}" must join under an attachment, or for a ttlMs of 1 to ${MAX_TTL_MS}`);
}

function invalid(why: string): TroupeError {
  return new TroupeError("invalid_argument", why);
}
