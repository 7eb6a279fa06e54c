/**
 * A small MCP server that runs inside the node: notes that live as long as the session. Written with the MCP SDK as any
 * other server; the only thing Troupe asks for is that the default export makes one. `snapshot` and `restore` are a
 * module's choice: with them its memory moves with the session, and is there again after its node died.
 */
import { McpServer, ResourceTemplate } from "@modelcontextprotocol/server";
import { z } from "zod";

interface Note {
  id: number;
  title: string;
  text: string;
}

/** Notes kept per session; adding one more drops the oldest. */
const MAX_NOTES = 100;

const said = (text: string) => ({ content: [{ type: "text" as const, text }] });
const line = ({ id, title }: Note) => `${id}. ${title}`;

/** The memory of each server. */
const memories = new WeakMap<McpServer, { notes: Note[]; nextId: number }>();

/** What the server has in memory, as something JSON can hold. Called when a request was answered. */
export function snapshot(server: McpServer): unknown {
  return memories.get(server);
}

/** Gives a new server, before its first request, what `snapshot` returned. */
export function restore(server: McpServer, data: { notes: Note[]; nextId: number }): void {
  const memory = memories.get(server);
  if (memory !== undefined) Object.assign(memory, data);
}

/** Called once per session, so that no session sees another's notes. */
export default function createNotes(): McpServer {
  const server = new McpServer({ name: "notes", version: "1.0.0" });
  const memory = { notes: [] as Note[], nextId: 1 };
  memories.set(server, memory);

  server.registerTool(
    "add",
    {
      description: "Adds a note",
      inputSchema: z.object({ title: z.string().max(200), text: z.string().max(2_000) }),
    },
    ({ title, text }) => {
      const note = { id: memory.nextId++, title, text };
      memory.notes.push(note);
      if (memory.notes.length > MAX_NOTES) memory.notes.shift();
      server.sendResourceListChanged();
      return said(`Added ${line(note)}`);
    },
  );

  server.registerTool(
    "search",
    {
      description: "Lists the notes that contain a text; all of them without one",
      inputSchema: z.object({ text: z.string().optional() }),
      annotations: { readOnlyHint: true },
    },
    ({ text = "" }) => {
      const wanted = text.toLowerCase();
      const found = memory.notes.filter((note) => `${note.title}\n${note.text}`.toLowerCase().includes(wanted));
      return said(found.length === 0 ? "No notes" : found.map(line).join("\n"));
    },
  );

  server.registerResource(
    "note",
    new ResourceTemplate("note://{id}", {
      list: () => ({ resources: memory.notes.map(({ id, title }) => ({ uri: `note://${id}`, name: title })) }),
    }),
    { description: "One note", mimeType: "text/plain" },
    (uri, { id }) => {
      const note = memory.notes.find((candidate) => candidate.id === Number(id));
      if (note === undefined) throw new Error(`there is no note ${String(id)}`);
      return { contents: [{ uri: uri.href, mimeType: "text/plain", text: note.text }] };
    },
  );

  server.registerPrompt("summarize", { description: "Asks for a summary of the notes" }, () => ({
    messages: [
      {
        role: "user",
        content: {
          type: "text",
          text: `Summarize these notes:\n${memory.notes.map(({ title, text }) => `# ${title}\n${text}`).join("\n\n")}`,
        },
      },
    ],
  }));

  return server;
}
