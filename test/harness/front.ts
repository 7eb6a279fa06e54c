/**
 * A load balancer in miniature, for programs that take one URL: every request goes to a node chosen by chance. Answers
 * stream through without buffering, and one side ends when the other goes away, so that a client that hangs up is seen
 * by the node at once. A node that refuses the connection has not seen the request: then the next one gets it, as with
 * nginx and HAProxy.
 *
 * A `Host` that names the front is rewritten to the node's, as a proxy does. Any other is passed on: whether a foreign
 * `Host` is refused is the node's business.
 */
import { Buffer } from "node:buffer";
import { Agent, createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { chooseIndex, randomFrom, seedOf } from "./seed.ts";

export interface Front {
  /** `http://127.0.0.1:port`. */
  url: string;
  port: number;
  seed: number;
  /** How many requests each node was given. */
  served: number[];
  /** Where requests go. May be set late, when the nodes needed to know the front's port first. */
  setNodes(bases: readonly string[]): void;
  close(): Promise<void>;
}

export async function startFront(bases: readonly string[] = [], seed = seedOf("front")): Promise<Front> {
  const random = randomFrom(seed);
  const agent = new Agent({ keepAlive: true, maxSockets: 256 });
  const served: number[] = [];
  let targets = bases.map((base) => new URL(base));

  const server = createServer((req, res) => {
    if (targets.length === 0) return void res.writeHead(503).end("no nodes yet\n");
    const first = chooseIndex(random, targets.length);
    const body: Buffer[] = [];
    req.on("data", (chunk: Buffer) => body.push(chunk));
    req.on("end", () => give(req, res, Buffer.concat(body), first, 0));
  });
  const give = (req: IncomingMessage, res: ServerResponse, body: Buffer, first: number, tried: number): void => {
    const node = (first + tried) % targets.length;
    served[node] = (served[node] ?? 0) + 1;
    pass(req, res, body, targets[node] as URL, agent, port(), () => {
      if (tried + 1 >= targets.length) return false;
      give(req, res, body, first, tried + 1);
      return true;
    });
  };
  const port = () => (server.address() as AddressInfo).port;
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${port()}`,
    port: port(),
    seed,
    served,
    setNodes: (next) => {
      targets = next.map((base) => new URL(base));
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
        agent.destroy();
      }),
  };
}

/** `next` gives the request to another node, if there is one. */
function pass(
  req: IncomingMessage,
  res: ServerResponse,
  body: Buffer,
  target: URL,
  agent: Agent,
  ownPort: number,
  next: () => boolean,
): void {
  const own = req.headers.host === `127.0.0.1:${ownPort}` || req.headers.host === `localhost:${ownPort}`;
  const onward = request({
    agent,
    host: target.hostname,
    port: target.port,
    method: req.method,
    path: req.url,
    headers: { ...req.headers, host: own ? target.host : req.headers.host },
  });
  onward.on("response", (answer) => {
    res.writeHead(answer.statusCode ?? 502, answer.headers);
    // An event stream has headers long before it has a body.
    res.flushHeaders();
    answer.pipe(res);
    answer.on("error", () => res.destroy());
  });
  onward.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "ECONNREFUSED" && next()) return;
    if (res.headersSent) res.destroy();
    else res.writeHead(502, { "content-type": "text/plain" }).end(`${error.message}\n`);
  });
  res.on("close", () => {
    if (!res.writableFinished) onward.destroy();
  });
  onward.end(body);
}
