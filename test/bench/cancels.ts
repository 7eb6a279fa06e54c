/**
 * How long a cancel takes across replicas: from the POST of `notifications/cancelled` at a node that neither owns the
 * session nor holds the call's connection, to the moment the upstream's handler sees its signal fire. By the wall clock,
 * which the processes of one machine share on both runtimes; to a millisecond.
 */
import assert from "node:assert/strict";
import type { Cluster } from "../harness/cluster.ts";
import { callBody, openSession, post } from "../harness/mcp_requests.ts";
import { waitUntil } from "../harness/wait.ts";

/** The upstream that these cancels are for. */
export const CANCEL_UPSTREAM = new URL("./cancel_upstream.mjs", import.meta.url);

const OWNER = 0;
const EDGE = 1;
const THIRD = 2;
const LONGEST_MS = 10_000;

/** Cancels `count` calls, one after the other, and returns how long each took, milliseconds. `server`: of that upstream. */
export async function measureCancels(cluster: Cluster, server: string, count: number): Promise<number[]> {
  const url = (node: number): string => `${cluster.urls[node]}/mcp/${server}`;
  const { headers } = await openSession(url(OWNER));
  const seen = async (name: string): Promise<string> => {
    const reply = await post(url(OWNER), callBody(`seen ${name} ${Math.random()}`, "seen", { name }), headers);
    const content = reply.message?.result?.content as { text: string }[] | undefined;
    return content?.[0]?.text ?? "";
  };
  const times: number[] = [];
  for (let n = 0; n < count; n++) {
    const name = `call ${n}`;
    const call = post(url(EDGE), callBody(name, "wait", { name }), headers);
    await waitUntil(async () => (await seen(name)) === "waiting", LONGEST_MS, `${name} to run`, 2);
    const cancel = { jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId: name } };
    const begin = Date.now();
    assert.equal((await post(url(THIRD), cancel, headers)).status, 202);
    let at = "";
    const noticed = async (): Promise<boolean> => {
      at = await seen(name);
      return /^\d+$/.test(at);
    };
    await waitUntil(noticed, LONGEST_MS, `the cancel of ${name} to be seen`, 2);
    times.push(Number(at) - begin);
    // A cancelled call has no response: its stream ends.
    assert.equal((await call).message, undefined);
  }
  return times;
}
