/** Memory of a module that exports `snapshot` and `restore`: where it is kept, and when it is given back. */
import assert from "node:assert/strict";
import { afterEach, describe, it } from "node:test";
import { createUpstreamClient } from "../../../transports/upstream/client.ts";
import type { ModuleMemory, UpstreamClient } from "../../../transports/upstream/contract.ts";
import { HANDSHAKE, RecordingOwner, settle, testServices, upstream } from "./kit.ts";

const open: UpstreamClient[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((client) => client.close("ended")));
});

/** Where the owner keeps the memory; it counts, and may be slow. */
class Keeper implements ModuleMemory {
  saved: string | undefined;
  saves = 0;
  readonly lostFor: string[] = [];
  slow: Promise<void> | undefined;

  async save(text: string | undefined): Promise<void> {
    this.saves++;
    this.saved = text;
    await this.slow;
  }
  lost(error: unknown): void {
    this.lostFor.push(String(error));
    this.saved = undefined;
  }
}

class Owner extends RecordingOwner {
  readonly keeper: Keeper;
  constructor(keeper: Keeper) {
    super();
    this.keeper = keeper;
  }
  memory(): ModuleMemory {
    return this.keeper;
  }
}

function start(keeper: Keeper, file = "module_memory.mjs") {
  const module = new URL(`./fixtures/${file}`, import.meta.url).href;
  const services = testServices();
  const client = createUpstreamClient(upstream({ kind: "module", module }), {
    epoch: "e1",
    owner: new Owner(keeper),
    handshake: HANDSHAKE,
    services,
  });
  open.push(client);
  let related = 0;
  const tool = async (name: string, args: Record<string, unknown> = {}): Promise<string> => {
    const params = { name, arguments: args };
    const result = (await client.request("tools/call", params, { related: ++related, progress: false })) as {
      content: { text: string }[];
    };
    return result.content[0]?.text ?? "";
  };
  return { client, tool, services };
}

describe("memory of a module", () => {
  it("is saved before the answer that comes of it leaves, and only where it changed", async () => {
    const keeper = new Keeper();
    const { tool } = start(keeper);
    await tool("say", { text: "one" });
    assert.equal(keeper.saved, '["one"]');
    const { saves } = keeper;
    await tool("recall");
    assert.equal(keeper.saves, saves, "what did not change costs nothing");
    let stored = (): void => {};
    keeper.slow = new Promise((resolve) => {
      stored = resolve;
    });
    let answered = false;
    const call = tool("say", { text: "two" }).then(() => {
      answered = true;
    });
    await settle();
    assert.deepEqual([keeper.saved, answered], ['["one","two"]', false]);
    stored();
    await call;
  });

  for (const reason of ["drain", "idle", "fenced"] as const) {
    it(`is given back to the next server after an end by ${reason}`, async () => {
      const keeper = new Keeper();
      const first = start(keeper);
      await first.tool("say", { text: "kept" });
      await first.client.close(reason);
      assert.equal(await start(keeper).tool("recall"), "kept");
      assert.deepEqual(keeper.lostFor, []);
    });
  }

  it("that cannot be given back is reported, and the server begins with none of it", async () => {
    const keeper = new Keeper();
    keeper.saved = '["half","poison"]';
    const { tool } = start(keeper);
    assert.equal(await tool("recall"), "");
    assert.deepEqual(keeper.lostFor, ["Error: it cannot take that"]);
    await tool("say", { text: "new" });
    assert.equal(keeper.saved, '["new"]');
  });

  it("that is too large is not saved, and nothing older either: what would be given back must not be stale", async () => {
    const keeper = new Keeper();
    const { tool, services } = start(keeper);
    await tool("say", { text: "small" });
    await tool("say", { text: "x".repeat(300_000) });
    assert.equal(keeper.saved, undefined);
    assert.ok((services.counts.get("troupe_upstream_memory_not_saved_total") ?? 0) > 0);
  });

  it("of a module that exports neither is not asked for", async () => {
    const keeper = new Keeper();
    await start(keeper, "server_v2.mjs").tool("echo", { text: "x" });
    assert.equal(keeper.saves, 0);
  });
});
