/** `check`, `init` and `schema`. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { TEMPLATES } from "../../../runtime/commands/templates.ts";
import { checkFiles } from "../../../runtime/config/load.ts";
import { makeFolder } from "../config/files.ts";
import { runtime } from "./command_line.ts";

const folder = makeFolder();
after(() => folder.remove());

test("check says that a file is valid and what is in it", async () => {
  const file = folder.write("good.yaml", "mcpServers: { echo: { command: npx } }");
  assert.deepEqual(await runtime("check", file), {
    code: 0,
    out: `✓ ${file}: valid (1 MCP server, cluster: single_node)\n`,
    err: "",
  });
});

test("check tells every problem of every file, and fails", async () => {
  const good = folder.write("good.yaml", "mcpServers: { echo: { command: npx } }");
  const bad = folder.write("bad.yaml", "workers: x\nnode: { idd: a }");
  const { code, out, err } = await runtime("check", bad, good);
  assert.equal(code, 1);
  assert.match(out, /good\.yaml: valid/);
  assert.equal(
    err,
    `✗ ${bad}: node.idd: unknown key, did you mean "id"?\n✗ ${bad}: workers: expected a whole number from 0 to 256, got "x"\n`,
  );
});

test("check takes layered files as start does", async () => {
  const base = folder.write("base.yaml", "cluster: { kind: redis }");
  const over = folder.write("over.yaml", "cluster: { url: 'redis://a' }");
  assert.equal((await runtime("check", base)).code, 1);
  assert.equal((await runtime("check", `${base}:${over}`)).code, 0);
});

test("check prints JSON when asked", async () => {
  const file = folder.write("json.yaml", "workers: x");
  const { code, out, err } = await runtime("check", "--json", file);
  assert.equal(code, 1);
  assert.equal(err, "");
  assert.deepEqual(JSON.parse(out), [
    {
      file,
      valid: false,
      problems: [`${file}: workers: expected a whole number from 0 to 256, got "x"`],
      warnings: [],
      summary: "",
    },
  ]);
});

for (const name of Object.keys(TEMPLATES)) {
  test(`the template ${name} passes check`, async () => {
    const file = join(folder.path, `${name}.yaml`);
    const { code, out } = await runtime("init", "--template", name, "--output", file);
    assert.equal(code, 0);
    assert.equal(out, `wrote ${file}; next: runtime check ${file}\n`);
    const env = { REDIS_URL: "redis://redis:6379", MESH_SECRET: "0123456789abcdef", NODE_ADDRESS: "10.0.0.1" };
    await checkFiles([file], env);
  });

  test(`the template ${name} is printed without --output`, async () => {
    assert.equal((await runtime("init", "--template", name)).out, TEMPLATES[name]?.yaml);
  });
}

test("init leaves an existing file alone", async () => {
  const file = folder.write("mine.yaml", "mine");
  const { code, err } = await runtime("init", "--template", "dev-single-node", "--output", file);
  assert.equal(code, 1);
  assert.equal(err, `runtime init: ${file} exists; name another file or move it away\n`);
  assert.equal(readFileSync(file, "utf8"), "mine");
});

test("init names the templates", async () => {
  const known = "dev-single-node, production-single-redis, production-redis-cluster";
  assert.deepEqual(await runtime("init"), {
    code: 2,
    out: "",
    err: `runtime init: needs --template, one of ${known}\n`,
  });
  assert.deepEqual(await runtime("init", "--template", "dev-singel-node"), {
    code: 2,
    out: "",
    err: 'runtime init: unknown template "dev-singel-node", did you mean "dev-single-node"?\n',
  });
});

test("schema prints a JSON Schema that knows every block", async () => {
  const { code, out } = await runtime("schema");
  assert.equal(code, 0);
  const schema = JSON.parse(out);
  assert.equal(schema.$schema, "https://json-schema.org/draft/2020-12/schema");
  assert.equal(schema.additionalProperties, false);
  assert.deepEqual(Object.keys(schema.properties).sort(), [
    "cluster",
    "extensions",
    "gateway",
    "mcp",
    "mcpServers",
    "mesh",
    "node",
    "overload",
    "spare_worker",
    "workers",
  ]);
  assert.equal(schema.properties.cluster.properties.key_prefix.default, "troupe:");
});

test("the examples' configurations are valid", async () => {
  const example = (path: string): string => fileURLToPath(new URL(`../../../examples/${path}`, import.meta.url));
  await checkFiles([example("quickstart/runtime.yaml")], {});
  await checkFiles([example("three-nodes/runtime.yaml")], {
    REDIS_URL: "redis://127.0.0.1:9084",
    MESH_SECRET: "0123456789abcdef",
  });
});

test("the README's table of configuration keys is complete", async () => {
  const readme = readFileSync(new URL("../../../README.md", import.meta.url), "utf8");
  const { properties } = JSON.parse((await runtime("schema")).out);
  const keys: string[] = [];
  const walk = (block: Record<string, Record<string, unknown>>, path: string): void => {
    for (const [key, schema] of Object.entries(block)) {
      const inner = (schema.properties ?? (schema.additionalProperties as { properties?: unknown })?.properties) as
        | Record<string, Record<string, unknown>>
        | undefined;
      const free = schema.properties === undefined && inner !== undefined;
      if (inner === undefined) keys.push(`${path}${key}`);
      else walk(inner, `${path}${key}${free ? ".<name>" : ""}.`);
    }
  };
  walk(properties, "");
  assert.ok(keys.length > 30);
  assert.deepEqual(
    keys.filter((key) => !readme.includes(`\`${key}\``)),
    [],
  );
});
