/**
 * The ceiling between two processes: a bare WebSocket that packs the same tuples as the mesh, all of one tick in one
 * message, without promises, deadlines, or anybody to route to. `node actors_ws.mjs serve` echoes; without arguments it calls.
 */
import { Packr } from "msgpackr";
import { WebSocket, WebSocketServer } from "ws";
import { converse } from "./actors_conversation.mjs";
import { PAYLOAD, sequence, TARGETS } from "./actors_load.mjs";

function batching(ws, onMessage) {
  const packr = new Packr({ moreTypes: true });
  let batch = [];
  ws.on("message", (data) => {
    for (const message of packr.unpack(data)) onMessage(message);
  });
  return (message) => {
    if (batch.push(message) > 1) return;
    setImmediate(() => {
      ws.send(packr.pack(batch));
      batch = [];
    });
  };
}

/** As `CallMessage` and `ReplyMessage` of runtime/actor/message.ts. */
const call = (id) => [0, id, "2", 0, `echo/far${id % TARGETS}`, "1-1", "echo", [PAYLOAD], 60_000, 1, 0, [], "", 0];
const answer = (message) => [1, message[1], message[2], message[3], null, message[7][0]];

let send;
let onAnswer = () => {};

await converse({
  serve() {
    const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: false });
    server.on("connection", (ws) => {
      const reply = batching(ws, (message) => reply(answer(message)));
    });
    return new Promise((resolve) => server.on("listening", () => resolve({ port: server.address().port })));
  },
  connect({ port }) {
    const ws = new WebSocket(`ws://127.0.0.1:${port}`, { perMessageDeflate: false });
    send = batching(ws, (message) => onAnswer(message));
    return new Promise((resolve) => ws.on("open", () => resolve({})));
  },
  flood({ seconds, inFlight }) {
    let id = 0;
    let calls = 0;
    const end = performance.now() + seconds * 1000;
    return new Promise((resolve) => {
      let left = inFlight;
      onAnswer = () => {
        if (performance.now() < end) {
          calls++;
          send(call(++id));
        } else if (--left === 0) resolve({ calls, seconds });
      };
      while (id < inFlight) send(call(++id));
    });
  },
  sequence({ seconds }) {
    let id = 0;
    const one = () =>
      new Promise((resolve) => {
        onAnswer = resolve;
        send(call(++id));
      });
    return sequence([one], seconds);
  },
});
