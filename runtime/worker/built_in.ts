/** The modules of Troupe's own actors, and of the thread they run on. Light: read before anything else is loaded. */
import { sibling } from "./spawn.ts";

export const WORKER_ENTRY = sibling("../../runtime/worker/entry", import.meta.url);

export const BUILT_IN_ACTORS: readonly string[] = [
  "session/session",
  "server/server",
  "lease/lease",
  "presence/presence",
  "delivery/delivery",
  "cancellation/cancellation",
].map((name) => sibling(`../../actors/${name}`, import.meta.url).href);
