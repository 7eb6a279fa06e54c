/**
 * A RivetKit client in a process of its own. `transport`: `connection` is a stateful connection per actor (a WebSocket),
 * `handle` an HTTP request per call.
 */
import { createClient } from "rivetkit/client";
import { converse } from "../actors_conversation.mjs";
import { check, flood, sequence, TARGETS } from "../actors_load.mjs";

let targets;

await converse({
  async start({ endpoint, transport }) {
    const client = createClient(endpoint);
    const handles = Array.from({ length: TARGETS }, (_, index) => client.echo.getOrCreate([`far${index}`]));
    const callable = transport === "connection" ? handles.map((handle) => handle.connect()) : handles;
    targets = callable.map((one) => (text) => one.echo(text));
    await check(targets);
  },
  flood: ({ seconds, inFlight }) => flood(targets, seconds, inFlight),
  sequence: ({ seconds }) => sequence(targets, seconds),
});
