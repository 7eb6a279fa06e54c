import assert from "node:assert/strict";
import { test } from "node:test";
import { accepts, isJson } from "../../../transports/http/media.ts";
import { isLoopbackAddress, SitePolicy } from "../../../transports/http/origin.ts";
import { ANONYMOUS, Principals } from "../../../transports/http/principal.ts";
import { isSessionId, newSessionId } from "../../../transports/http/session_id.ts";

test("Accept takes a type by name, by range, in any case and place", () => {
  for (const header of [
    "application/json",
    "text/html, Application/JSON",
    "application/*",
    "*/*",
    "application/json;q=0.2, text/html",
    "*/*;q=0, application/json",
  ]) {
    assert.equal(accepts(header, "application/json"), true, header);
  }
});

test("Accept does not take a type it does not list, or lists with weight zero", () => {
  for (const header of [undefined, "", "text/event-stream", "application/json;q=0", "application/json; q=0.000, */*"]) {
    assert.equal(accepts(header, "application/json"), false, header);
  }
  assert.equal(accepts("application/jsonp", "application/json"), false);
});

test("a JSON media type may have parameters", () => {
  assert.equal(isJson("application/json"), true);
  assert.equal(isJson("Application/JSON; charset=utf-8"), true);
  for (const header of [undefined, "", "text/plain", "application/jsonl", "application/json+x", "text/json"]) {
    assert.equal(isJson(header), false, header);
  }
});

test("a node bound to loopback takes local hosts on any port, and those that are listed", () => {
  const site = new SitePolicy({ loopback: true, allowedHosts: ["mcp.example.com", "other.example.com:8443"] });
  for (const host of [
    "localhost",
    "localhost:8787",
    "LOCALHOST:1",
    "127.0.0.1:9",
    "127.3.4.5",
    "[::1]",
    "[::1]:80",
    "mcp.example.com",
    "mcp.example.com:443",
    "other.example.com:8443",
  ]) {
    assert.equal(site.allowsHost(host), true, host);
  }
  for (const host of [
    "evil.example.com",
    "localhost.evil.example.com",
    "127.0.0.1.evil.example.com",
    "other.example.com",
    "other.example.com:1",
    "localhost:8787@evil.example.com",
    "localhost/evil",
    "::1",
    "",
    "[::1]evil",
  ]) {
    assert.equal(site.allowsHost(host), false, host);
  }
});

test("a node bound elsewhere takes every host until hosts are configured", () => {
  assert.equal(new SitePolicy({ loopback: false }).allowsHost("mcp.example.com"), true);
  const site = new SitePolicy({ loopback: false, allowedHosts: ["mcp.example.com"] });
  assert.equal(site.allowsHost("mcp.example.com"), true);
  assert.equal(site.allowsHost("other.example.com"), false);
});

test("a page of this machine may ask a node bound to loopback; others only when listed", () => {
  const site = new SitePolicy({ loopback: true, allowedOrigins: ["https://app.example.com/"] });
  for (const origin of ["http://localhost:3000", "https://127.0.0.1", "http://[::1]:5", "https://app.example.com"]) {
    assert.equal(site.allowsOrigin(origin), true, origin);
  }
  for (const origin of [
    "null",
    "https://evil.example.com",
    "http://app.example.com",
    "http://localhost.evil.example.com",
    "file://localhost",
    "",
  ]) {
    assert.equal(site.allowsOrigin(origin), false, origin);
  }
  assert.equal(new SitePolicy({ loopback: false }).allowsOrigin("http://localhost:3000"), false);
  assert.equal(new SitePolicy({ loopback: false, allowedOrigins: ["*"] }).allowsOrigin("https://x.example"), true);
});

test("a host that passed once opens nothing for the next one", () => {
  const site = new SitePolicy({ loopback: true });
  assert.equal(site.refusal({ host: "localhost" }), null);
  assert.notEqual(site.refusal({ host: "evil.example.com" }), null);
  assert.notEqual(site.refusal({ host: "localhost", origin: "https://evil.example.com" }), null);
  assert.notEqual(site.refusal({}), null);
});

test("loopback addresses are recognised in both families", () => {
  for (const address of ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"]) {
    assert.equal(isLoopbackAddress(address), true, address);
  }
  for (const address of [undefined, "", "10.0.0.1", "::ffff:10.0.0.1", "fe80::1", "1127.0.0.1"]) {
    assert.equal(isLoopbackAddress(address), false, address);
  }
});

test("a principal is a hash of the credential, and nobody without one", () => {
  const principals = new Principals();
  const a = principals.of("Bearer secret-a");
  assert.equal(principals.of("Bearer secret-a"), a);
  assert.equal(principals.of("bearer  secret-a"), a);
  assert.notEqual(principals.of("Bearer secret-b"), a);
  assert.notEqual(principals.of("Basic secret-a"), a);
  assert.notEqual(principals.of("Bearer SECRET-A"), a);
  assert.ok(!a.includes("secret"));
  assert.equal(principals.of(undefined), ANONYMOUS);
  assert.equal(principals.of(" "), ANONYMOUS);
  assert.notEqual(principals.of("anonymous"), ANONYMOUS);
});

test("the memo of principals is bounded", () => {
  const principals = new Principals();
  const first = principals.of("Bearer 0");
  for (let n = 0; n < 5_000; n++) principals.of(`Bearer ${n}`);
  assert.ok(principals.size <= 1_024);
  principals.of(`Bearer ${"x".repeat(10_000)}`);
  assert.ok(principals.size <= 1_024);
  assert.equal(principals.of("Bearer 0"), first);
});

test("a session id is 32 visible characters and never the same", () => {
  const ids = new Set(Array.from({ length: 1_000 }, newSessionId));
  assert.equal(ids.size, 1_000);
  for (const id of ids) assert.match(id, /^[\x21-\x7e]{32}$/);
  assert.ok([...ids].every(isSessionId));
  for (const value of ["", "x", `${newSessionId()}x`, `${newSessionId().slice(1)}/`])
    assert.equal(isSessionId(value), false);
});
