/**
 * The benchmark's client, in a process of its own: sessions over `node:http` with kept-alive connections, one call in
 * flight per session, answers as JSON or as an event stream. Every answer is compared with what was sent.
 *
 * Conversation on standard input and output, one JSON document per line:
 *   {"open": URL, "call": URL, "sessions": 16, "tool": "echo"}  opens sessions at one URL, to be used at the other
 *   {"each": 1}                                                 that many calls in every session
 *   {"seconds": 3}                                              calls for so long; answers a `Window`
 * Each is answered with one line; `{"error": …}` when something went wrong.
 */
import { Agent, request } from "node:http";
import { createInterface } from "node:readline";

const VERSION = "2025-06-18";
const agent = new Agent({ keepAlive: true, maxSockets: 64 });

/** One POST: resolves with status, headers and the whole body as text. */
function post(url, headers, body) {
  return new Promise((resolve, reject) => {
    const req = request(url, { method: "POST", agent, headers }, (res) => {
      let text = "";
      res.setEncoding("utf8");
      res.on("data", (chunk) => {
        text += chunk;
      });
      res.on("end", () => resolve({ status: res.statusCode, headers: res.headers, text }));
      res.on("error", reject);
    });
    req.on("error", reject);
    req.end(body);
  });
}

/** The response to `id` in a JSON body or an event stream. */
function responseIn(answer, id) {
  if (!String(answer.headers["content-type"]).includes("text/event-stream")) return JSON.parse(answer.text);
  for (const line of answer.text.split("\n")) {
    if (!line.startsWith("data:") || line.length < 8) continue;
    const message = JSON.parse(line.slice(5));
    if (message.id === id) return message;
  }
  return undefined;
}

class Session {
  #url;
  #tool;
  #headers;
  #next = 1;

  static async open({ open, call, tool }) {
    const session = new Session();
    const headers = { "content-type": "application/json", accept: "application/json, text/event-stream" };
    const params = { protocolVersion: VERSION, capabilities: {}, clientInfo: { name: "bench", version: "1.0.0" } };
    const hello = await post(open, headers, JSON.stringify({ jsonrpc: "2.0", id: 0, method: "initialize", params }));
    if (hello.status !== 200) throw new Error(`initialize: ${hello.status} ${hello.text.slice(0, 300)}`);
    const result = responseIn(hello, 0)?.result;
    if (result === undefined) throw new Error(`initialize: ${hello.text.slice(0, 300)}`);
    session.#url = call;
    session.#tool = tool;
    session.#headers = {
      ...headers,
      "mcp-session-id": hello.headers["mcp-session-id"],
      "mcp-protocol-version": result.protocolVersion,
    };
    const done = JSON.stringify({ jsonrpc: "2.0", method: "notifications/initialized" });
    const accepted = await post(call, session.#headers, done);
    if (accepted.status !== 202) throw new Error(`initialized: ${accepted.status} ${accepted.text.slice(0, 300)}`);
    return session;
  }

  async call() {
    const id = this.#next++;
    const text = `hello ${id}`;
    const params = { name: this.#tool, arguments: { text } };
    const answer = await post(
      this.#url,
      this.#headers,
      JSON.stringify({ jsonrpc: "2.0", id, method: "tools/call", params }),
    );
    const said = answer.status === 200 ? responseIn(answer, id)?.result?.content?.[0]?.text : undefined;
    if (said !== text) throw new Error(`tools/call: ${answer.status} ${answer.text.slice(0, 300)}`);
  }
}

/** All sessions call for `seconds`. */
async function window(sessions, seconds) {
  const latencies = [];
  const begin = performance.now();
  const end = begin + seconds * 1_000;
  await Promise.all(
    sessions.map(async (session) => {
      for (let now = performance.now(); now < end; ) {
        await session.call();
        const then = performance.now();
        latencies.push(then - now);
        now = then;
      }
    }),
  );
  const took = (performance.now() - begin) / 1_000;
  latencies.sort((a, b) => a - b);
  const at = (share) => latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))];
  return { calls: latencies.length, seconds: took, p50: at(0.5), p99: at(0.99) };
}

let sessions = [];
for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  try {
    if (command.open !== undefined) {
      sessions = await Promise.all(Array.from({ length: command.sessions }, () => Session.open(command)));
      console.log(JSON.stringify({ opened: sessions.length }));
    } else if (command.each !== undefined) {
      for (let done = 0; done < command.each; done++) await Promise.all(sessions.map((session) => session.call()));
      console.log(JSON.stringify({ called: sessions.length * command.each }));
    } else {
      console.log(JSON.stringify(await window(sessions, command.seconds)));
    }
  } catch (error) {
    console.log(JSON.stringify({ error: error.message }));
  }
}
process.exit(0);
