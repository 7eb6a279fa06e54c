/**
 * What Troupe says about itself to upstreams whose connection does not belong to one session: probes, and shared ones.
 *
 * All client capabilities are declared, because some session may have them; a session whose client lacks one refuses the
 * request itself.
 */
import { VERSION } from "../../runtime/config/version.ts";
import type { Handshake } from "../../transports/upstream/contract.ts";

export function gatewayHandshake(): Handshake {
  return {
    protocolVersion: "2025-11-25",
    capabilities: {
      roots: { listChanged: true },
      sampling: { context: {}, tools: {} },
      elicitation: { form: {}, url: {} },
    },
    clientInfo: { name: "troupe", title: "Troupe", version: VERSION },
  };
}
