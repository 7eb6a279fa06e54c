/** Opens the channel of an upstream, by its kind of transport. HTTP and modules cost nothing until one is used. */
import type { WorkerServices } from "../../runtime/actor/define.ts";
import type { Channel, ModuleMemory, UpstreamConfig, UpstreamSession } from "./contract.ts";
import { HttpChannel } from "./http.ts";
import { ModuleChannel } from "./module.ts";
import { StdioChannel } from "./stdio.ts";

/** What a channel begins with, of a former one. */
export interface ChannelPast {
  resume?: UpstreamSession | undefined;
  memory?: ModuleMemory | undefined;
}

/**
 * Returns at once; messages sent before the connection is up wait in order, and a failure arrives as `onclose`. Set
 * `onmessage` and `onclose` in the same turn. Throws when the operating system refuses a child process outright.
 * `resume`: the session of a former owner, for HTTP; it needs no handshake. `memory`: of a module.
 */
export function openChannel(
  config: UpstreamConfig,
  services: WorkerServices,
  { resume, memory }: ChannelPast = {},
): Channel {
  const { transport } = config;
  switch (transport.kind) {
    case "stdio":
      return new StdioChannel(config.name, transport, services);
    case "http":
      return new HttpChannel(transport, services, resume);
    case "module":
      return new ModuleChannel(transport.module, services, {
        trace: config.isolation !== "session",
        memory,
      });
  }
}
