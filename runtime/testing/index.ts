/** The test kit, `@troupe/runtime/testing`: a cluster on virtual time in one thread. See `cluster.ts`. */
export { createTestCluster, TestCluster, type TestClusterOptions, type TestNode } from "./cluster.ts";
