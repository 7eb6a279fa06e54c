/** What `runtime init` writes. A test keeps every template valid. */

export const TEMPLATES: Readonly<Record<string, { summary: string; yaml: string }>> = {
  "dev-single-node": {
    summary: "one node on this machine, nothing else to install",
    yaml: `# One node on this machine. State is in memory and gone when the node stops.
gateway:
  server:
    bind_address: 127.0.0.1:8787

# The shape every MCP client uses. Relative paths start at this file.
mcpServers:
  everything:
    command: npx
    args: [-y, "@modelcontextprotocol/server-everything"]
`,
  },
  "production-single-redis": {
    summary: "one node whose state is in Redis and outlives it",
    yaml: `# One node. Sessions are in Redis and are there again after a restart.
# Needs the environment variables REDIS_URL and MESH_SECRET (16 characters or more).
gateway:
  server:
    # Put a proxy with TLS in front, and name the host it is reached by.
    bind_address: 0.0.0.0:8787
    allowed_hosts: [mcp.example.com]

# Other nodes can be added later: see the template production-redis-cluster.
mesh:
  bind_address: 127.0.0.1:0
  secret: \${env.MESH_SECRET}

cluster:
  kind: redis
  url: \${env.REDIS_URL}
  # One prefix per deployment on a shared Redis.
  key_prefix: "troupe:"

mcpServers:
  everything:
    command: npx
    args: [-y, "@modelcontextprotocol/server-everything"]
    isolation: session
`,
  },
  "production-redis-cluster": {
    summary: "several nodes behind a load balancer, one Redis",
    yaml: `# The same file on every node, behind any load balancer; no sticky sessions needed.
# Needs the environment variables REDIS_URL, MESH_SECRET (the same on all nodes, 16 characters or more) and
# NODE_ADDRESS (the address by which the other nodes reach this one).
gateway:
  server:
    bind_address: 0.0.0.0:8787
    # The host name clients use, which the load balancer passes on.
    allowed_hosts: [mcp.example.com]

mesh:
  # Never expose this port to clients.
  bind_address: 0.0.0.0:8788
  advertise_address: \${env.NODE_ADDRESS}:8788
  secret: \${env.MESH_SECRET}
  # Or mutual TLS:
  # tls: { cert_path: node.pem, key_path: node.key, ca_path: ca.pem }

cluster:
  kind: redis
  url: \${env.REDIS_URL}
  key_prefix: "troupe:"
  # A node silent for the lease and the grace is declared dead, and its sessions are taken over.
  node_lease_ttl_ms: 6000
  node_lease_renew_ms: 2000
  node_lease_grace_ms: 600

mcpServers:
  everything:
    command: npx
    args: [-y, "@modelcontextprotocol/server-everything"]
    isolation: session
    max_processes: 256
`,
  },
};
