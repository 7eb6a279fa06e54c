/**
 * What a mesh counts.
 */
import type { Counter, Metrics } from "../../runtime/observe/metrics.ts";
import type { RefusalCode } from "./handshake.ts";

export interface MeshCounters {
  messagesSent: Counter;
  messagesReceived: Counter;
  framesSent: Counter;
  framesReceived: Counter;
  bytesSent: Counter;
  bytesReceived: Counter;
  overloaded: Counter;
  reconnects: Counter;
  /** Handshakes that failed here, by reason. */
  refused(code: RefusalCode): Counter;
}

export interface MeshGauges {
  links(): number;
  queueBytes(): number;
  unauthenticated(): number;
}

export function meshCounters(metrics: Metrics, gauges: MeshGauges): MeshCounters {
  const both = (what: string, help: string) =>
    (["sent", "received"] as const).map((direction) =>
      metrics.counter(`troupe_mesh_${what}_total`, help, { direction }),
    ) as [Counter, Counter];
  const [messagesSent, messagesReceived] = both("messages", "Messages between this node and its peers.");
  const [framesSent, framesReceived] = both("frames", "Frames between this node and its peers.");
  const [bytesSent, bytesReceived] = both("bytes", "Bytes of frames between this node and its peers.");
  metrics.gauge("troupe_mesh_links", "Links to peers that are up.", gauges.links);
  metrics.gauge("troupe_mesh_queue_bytes", "Bytes waiting in the queues of all links.", gauges.queueBytes);
  metrics.gauge(
    "troupe_mesh_unauthenticated_sockets",
    "Accepted sockets that have not proved themselves.",
    gauges.unauthenticated,
  );
  return {
    messagesSent,
    messagesReceived,
    framesSent,
    framesReceived,
    bytesSent,
    bytesReceived,
    overloaded: metrics.counter("troupe_mesh_overloaded_total", "Messages that did not fit in a link's queue."),
    reconnects: metrics.counter("troupe_mesh_reconnects_total", "Attempts to dial a peer again."),
    refused: (reason) =>
      metrics.counter("troupe_mesh_refused_total", "Handshakes this node refused, by reason.", { reason }),
  };
}
