/**
 * The upstream of the chaos run: a factory of an SDK v1 server, used as a module; `upstream_stdio.mjs` serves it over
 * stdio, `upstream_http.mjs` over HTTP. Calls with an effect have it in the recorder, a process outside of every fault
 * (`CHAOS_RECORDER`, its URL): what it counted is what was executed. The effect comes first, the answer after it.
 */
import { InMemoryTaskMessageQueue, InMemoryTaskStore } from "@modelcontextprotocol/sdk/experimental/tasks";
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import {
  ElicitResultSchema,
  SubscribeRequestSchema,
  UnsubscribeRequestSchema,
} from "@modelcontextprotocol/sdk/types.js";
import { z } from "zod";

const recorder = process.env.CHAOS_RECORDER;
const text = (value) => ({ content: [{ type: "text", text: value }] });
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const record = async (what, call) => {
  const answer = await fetch(`${recorder}/${what}?call=${encodeURIComponent(call)}`, { method: "POST" });
  if (!answer.ok) throw new Error(`the recorder answered ${answer.status}`);
};

const askFor = async (call, { sendRequest }, options) => {
  const requestedSchema = { type: "object", properties: { word: { type: "string" } }, required: ["word"] };
  const params = { mode: "form", message: call, requestedSchema };
  const answer = await sendRequest({ method: "elicitation/create", params }, ElicitResultSchema, options);
  if (answer.content?.word !== `word for ${call}`) throw new Error(`not the answer: ${JSON.stringify(answer)}`);
};

export default function createServer() {
  const taskStore = new InMemoryTaskStore();
  const server = new McpServer(
    { name: "chaos", version: "1.0.0" },
    {
      capabilities: {
        logging: {},
        tools: { listChanged: true },
        resources: { subscribe: true },
        tasks: { list: {}, cancel: {}, requests: { tools: { call: {} } } },
      },
      taskStore,
      taskMessageQueue: new InMemoryTaskMessageQueue(),
    },
  );
  const call = { call: z.string() };
  server.registerTool("echo", { inputSchema: call, annotations: { readOnlyHint: true } }, (args) => text(args.call));
  server.registerTool("add", { inputSchema: call }, async (args) => {
    await record("executed", args.call);
    return text(args.call);
  });
  server.registerTool("put", { inputSchema: call, annotations: { idempotentHint: true } }, async (args) => {
    await record("executed", args.call);
    return text(args.call);
  });
  server.registerTool(
    "slow",
    { inputSchema: { ...call, ms: z.number() } },
    async (args, { _meta, sendNotification, signal }) => {
      await record("executed", args.call);
      for (let progress = 1; progress <= 5 && !signal.aborted; progress++) {
        await pause(args.ms / 5);
        if (_meta?.progressToken === undefined) continue;
        const params = { progressToken: _meta.progressToken, progress, total: 5 };
        await sendNotification({ method: "notifications/progress", params });
      }
      if (signal.aborted) await record("cancelled", args.call);
      return text(args.call);
    },
  );
  server.registerTool("ask", { inputSchema: call }, async (args, extra) => {
    await askFor(args.call, extra);
    await record("executed", args.call);
    return text(args.call);
  });
  server.experimental.tasks.registerToolTask(
    "job",
    { inputSchema: { ...call, ms: z.number(), asks: z.boolean() }, execution: { taskSupport: "required" } },
    {
      createTask: async (args, extra) => {
        await record("executed", args.call);
        const task = await extra.taskStore.createTask({ ttl: extra.taskRequestedTtl, pollInterval: 300 });
        const relatedTask = { taskId: task.taskId };
        pause(args.ms)
          .then(() => (args.asks ? askFor(args.call, extra, { relatedTask }) : undefined))
          .then(() => extra.taskStore.storeTaskResult(task.taskId, "completed", text(args.call)))
          .catch((error) =>
            extra.taskStore.storeTaskResult(task.taskId, "failed", { ...text(`${error}`), isError: true }),
          )
          // Its session may have ended.
          .catch(() => {});
        return { task };
      },
      getTask: (_args, extra) => extra.taskStore.getTask(extra.taskId),
      getTaskResult: (_args, extra) => extra.taskStore.getTaskResult(extra.taskId),
    },
  );
  server.server.onclose = () => taskStore.cleanup();
  server.registerResource("note", "chaos://note", { mimeType: "text/plain" }, (uri) => ({
    contents: [{ uri: uri.href, mimeType: "text/plain", text: "a note" }],
  }));
  server.server.setRequestHandler(SubscribeRequestSchema, () => ({}));
  server.server.setRequestHandler(UnsubscribeRequestSchema, () => ({}));
  server.registerTool("touch", { inputSchema: call }, async (args) => {
    await server.server.sendResourceUpdated({ uri: "chaos://note", _meta: { call: args.call } });
    return text(args.call);
  });
  return server;
}
