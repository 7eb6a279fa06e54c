/**
 * A RivetKit client in a process of its own, with a stateful connection (a WebSocket) per actor: a request per call, its
 * other way, is slower.
 */
import { createClient } from "rivetkit/client";
import { converse } from "../actors_conversation.mjs";
import { check, flood, sequence } from "../actors_load.mjs";

/** Fewer than in the other systems: its local engine starts no more than some of them here. */
const TARGETS = 4;
let client;
let targets;

await converse({
  async start({ endpoint }) {
    client ??= createClient(endpoint);
    const actors = Array.from({ length: TARGETS }, (_, index) => client.echo.getOrCreate([`far${index}`]));
    const connections = actors.map((actor) => actor.connect());
    targets = connections.map((connection) => (text) => connection.echo(text));
    try {
      await check(targets);
    } catch (error) {
      for (const connection of connections) await connection.dispose().catch(() => {});
      throw error;
    }
  },
  flood: ({ seconds, inFlight }) => flood(targets, seconds, inFlight),
  sequence: ({ seconds }) => sequence(targets, seconds),
});
