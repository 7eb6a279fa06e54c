/** The pure parts: names, resource owners, JSON-RPC text, capabilities. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ClientCalls, Exchange } from "../../../actors/session/calls.ts";
import { clientRefusal, offers } from "../../../actors/session/capabilities.ts";
import type { PostAnswer } from "../../../actors/session/contract.ts";
import { prefixedName, splitName } from "../../../actors/session/naming.ts";
import { ResourceOwners } from "../../../actors/session/resource_owners.ts";
import { errorText, readMessage, resultText } from "../../../actors/session/rpc.ts";

describe("a prefixed name", () => {
  it("is server__tool up to 64 characters", () => {
    assert.equal(prefixedName("server", "tool"), "server__tool");
    assert.equal(prefixedName("s", "t".repeat(61)), `s__${"t".repeat(61)}`);
  });

  it("that would be longer keeps its beginning and ends in a hash of the whole", () => {
    const name = prefixedName("server", "t".repeat(100));
    assert.match(name, /^server__t{47}_[0-9a-f]{8}$/);
    assert.equal(name.length, 64);
    assert.notEqual(name, prefixedName("server", "t".repeat(101)));
    assert.equal(name, prefixedName("server", "t".repeat(100)));
    assert.equal(prefixedName("s".repeat(100), "t").length, 64);
  });

  it("is read by the longest upstream whose prefix it has", () => {
    const upstreams = ["a", "a__b", "b"];
    assert.deepEqual(splitName("a__b__c", upstreams), { upstream: "a__b", name: "c" });
    assert.deepEqual(splitName("a__c", upstreams), { upstream: "a", name: "c" });
    assert.deepEqual(splitName("b__", upstreams), { upstream: "b", name: "" });
    assert.equal(splitName("c__d", upstreams), undefined);
    assert.equal(splitName("a_b", upstreams), undefined);
  });
});

describe("the owner of a resource", () => {
  it("is who listed it, else whose template fits", () => {
    const owners = new ResourceOwners();
    owners.learn("file:///a", "files");
    owners.learnTemplate("file:///{path}", "other");
    owners.learnTemplate("db://{table}/rows/{id}", "db");
    owners.learnTemplate("exact://one", "exact");
    for (const [uri, owner] of [
      ["file:///a", "files"],
      ["file:///b/c", "other"],
      ["db://t/rows/1", "db"],
      ["db://t/row/1", undefined],
      ["db://{table}/rows/{id}", "db"],
      ["exact://one", "exact"],
      ["exact://one/more", undefined],
      ["x://", undefined],
    ] as const) {
      assert.equal(owners.owner(uri), owner, uri);
    }
    owners.forget("db");
    assert.equal(owners.owner("db://t/rows/1"), undefined);
  });

  it("is matched in linear time, whatever the template and the URI", () => {
    const owners = new ResourceOwners();
    owners.learnTemplate(`${"a{x}".repeat(2_000)}b`, "slow");
    const before = performance.now();
    assert.equal(owners.owner("a".repeat(100_000)), undefined);
    assert.ok(performance.now() - before < 1_000, "took too long");
  });

  it("is forgotten for the URI that was not seen for the longest, beyond the bound", () => {
    const owners = new ResourceOwners();
    for (let n = 0; n <= 4_096; n++) owners.learn(`a://${n}`, "a");
    assert.equal(owners.owner("a://0"), undefined);
    assert.equal(owners.owner("a://1"), "a");
  });
});

describe("JSON-RPC text", () => {
  it("is read by kind, untouched", () => {
    const request = { jsonrpc: "2.0", id: 0, method: "m", params: { _meta: {} }, extra: 1 };
    assert.deepEqual(readMessage(request), { kind: "request", message: request });
    const notification = { jsonrpc: "2.0", method: "m" };
    assert.deepEqual(readMessage(notification), { kind: "notification", message: notification });
    for (const response of [
      { jsonrpc: "2.0", id: "x", result: null },
      { jsonrpc: "2.0", id: null, error: { code: -1, message: "" } },
    ]) {
      assert.deepEqual(readMessage(response), { kind: "response", message: response });
    }
  });

  it("is written with a result even for upstreams that return nothing", () => {
    assert.equal(resultText(1, undefined), '{"jsonrpc":"2.0","id":1,"result":{}}');
    assert.equal(
      errorText(null, { code: 1, message: "m" }),
      '{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"m"}}',
    );
  });
});

describe("a call in flight", () => {
  it("is settled once, and the others stay", () => {
    const answers: PostAnswer[] = [];
    const calls = new ClientCalls({
      needStreams: () => assert.fail("no stream is needed"),
      outlive: () => assert.fail("it is answered at once"),
    });
    const begin = (id: number) =>
      calls.begin(
        new Exchange(false, 1, 1_000, (answer) => answers.push(answer), assert.fail),
        id,
        "m",
        undefined,
        undefined,
      );
    const [one, two] = [begin(1), begin(2)];
    calls.settle(one, "first");
    calls.settle(one, "again");
    calls.abandon(one);
    assert.deepEqual(answers, ["first"]);
    assert.equal(calls.byId(2), two);
    assert.equal(calls.size, 1);
  });
});

describe("capabilities", () => {
  it("of an upstream of 2024-11-05 include completion, which had none then", () => {
    const catalogue = { protocolVersion: "2024-11-05", capabilities: {}, serverInfo: {} };
    assert.equal(offers(catalogue, "completion/complete"), true);
    assert.equal(offers({ ...catalogue, protocolVersion: "2025-03-26" }, "completion/complete"), false);
  });

  it("of a client say what it may be asked, with the codes of the specification", () => {
    assert.equal(clientRefusal("roots/list", undefined, { roots: {} }), undefined);
    assert.equal(clientRefusal("roots/list", undefined, {})?.code, -32601);
    assert.equal(clientRefusal("elicitation/create", { mode: "url" }, { elicitation: {} })?.code, -32602);
  });
});
