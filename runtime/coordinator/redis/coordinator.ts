/**
 * The coordinator on Redis: three connections, the generation, and the contract's parts on top of them.
 *
 * - `commands` carries everything but what follows; commands of one tick travel together.
 * - `renewals` carries heartbeats only, so that they never wait behind anything.
 * - `subscriber` carries what Redis publishes.
 *
 * At `open` the server is examined (reachable, writable, keeps what it is given) and the generation made or adopted.
 * After each reconnect the run id is compared first: another one means that writes may be missing.
 */
import type { Clock } from "../../actor/clock.ts";
import { TroupeError } from "../../actor/errors.ts";
import type { Generation } from "../../actor/ids.ts";
import type {
  Coordinator,
  Directory,
  Health,
  KeyValue,
  Leases,
  Membership,
  Orphans,
  PubSub,
  Reminders,
  Watch,
} from "../contract.ts";
import { RedisConnection } from "./connection.ts";
import { RedisDirectory } from "./directory.ts";
import { Fitness } from "./fitness.ts";
import { GenerationKeeper } from "./generation.ts";
import { RedisKeyValue } from "./key_value.ts";
import { Keys } from "./keys.ts";
import { RedisLeases } from "./leases.ts";
import { RedisMembership } from "./membership.ts";
import { RedisOrphans } from "./orphans.ts";
import { RedisPubSub } from "./pub_sub.ts";
import { RedisReminders } from "./reminders.ts";
import { examineServer, type RedisServer, readServer } from "./server.ts";
import { type RedisConfig, type RedisSettings, readRedisConfig } from "./settings.ts";
import { RedisSubscriber } from "./subscriber.ts";

export class RedisCoordinator implements Coordinator {
  readonly kind = "redis";
  readonly membership: Membership;
  readonly directory: Directory;
  readonly reminders: Reminders;
  readonly orphans: Orphans;
  readonly keyValue: KeyValue;
  readonly pubSub: PubSub;
  readonly leases: Leases;
  readonly watches: Watch;

  readonly #settings: RedisSettings;
  readonly #commands: RedisConnection;
  readonly #renewals: RedisConnection;
  readonly #subscriptions: RedisConnection;
  readonly #generation: GenerationKeeper;
  readonly #members: RedisMembership;
  readonly #dues: RedisReminders;
  readonly #fitness: Fitness;
  readonly #opened = { commands: false, renewals: false };

  /** Throws `invalid_argument` when the configuration cannot be right. Connects only at `open`. */
  constructor(config: RedisConfig, clock: Clock) {
    const settings = readRedisConfig(config);
    this.#settings = settings;
    const keys = new Keys(settings.prefix);
    const commands = new RedisConnection({
      settings,
      name: "troupe-commands",
      pipelining: true,
      fit: (connection) => this.#examine(connection, this.#opened.commands),
      // A restart is noticed here first: whoever follows the view should read it at once.
      regained: () => this.#members.hint(),
      turnedAway: () => this.#fitness.turnedAway(),
    });
    const renewals = new RedisConnection({
      settings,
      name: "troupe-renewals",
      pipelining: false,
      fit: (connection) => this.#examine(connection, this.#opened.renewals),
    });
    const subscriptions = new RedisConnection({
      settings,
      name: "troupe-subscriber",
      pipelining: false,
      fit: () => subscriber.resubscribe(),
    });
    const subscriber: RedisSubscriber = new RedisSubscriber(subscriptions);
    const generation = new GenerationKeeper({
      keys,
      clock,
      settleMs: settings.settleMs,
      commands: () => commands,
    });
    const membership = new RedisMembership({ keys, generation, commands, renewals, subscriber });
    const keyValue = new RedisKeyValue({ keys, generation, commands, subscriber });
    this.#fitness = new Fitness({
      connection: commands,
      clock,
      probeKey: keys.probe,
      address: settings.address,
      seen: (server) => {
        for (const connection of [commands, renewals]) connection.replicated = isReplicated(server);
      },
    });
    this.#commands = commands;
    this.#renewals = renewals;
    this.#subscriptions = subscriptions;
    this.#generation = generation;
    this.#members = membership;
    this.membership = membership;
    this.directory = new RedisDirectory({ keys, clock, generation, commands, membership });
    this.#dues = new RedisReminders({ keys, generation, commands, subscriber });
    this.reminders = this.#dues;
    this.keyValue = keyValue;
    this.watches = keyValue;
    this.pubSub = new RedisPubSub(keys, commands, subscriber);
    this.orphans = new RedisOrphans(keys, generation, commands);
    this.leases = new RedisLeases(keys, generation, commands);
  }

  get generation(): Generation {
    return this.#generation.current;
  }

  async open(): Promise<void> {
    try {
      await this.#commands.open();
      this.#opened.commands = true;
      // Before anybody listens: in an empty store, listeners are the sign of a living cluster.
      await this.#generation.establish();
      await Promise.all([
        this.#renewals.open().then(() => {
          this.#opened.renewals = true;
        }),
        this.#subscriptions.open(),
      ]);
      await Promise.all([this.#members.listen(), this.#dues.listen()]);
      this.#fitness.start();
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  health(): Health {
    const reset = this.#generation.resetReason;
    const reason =
      this.#commands.trouble ??
      this.#renewals.trouble ??
      this.#subscriptions.trouble ??
      (reset === null ? null : `${reset}; this node has not written back what it owns yet`) ??
      this.#fitness.refusal;
    if (reason !== null) return { ok: false, reason };
    const { warning } = this.#fitness;
    return warning === null ? { ok: true } : { ok: true, warning };
  }

  commands(): number {
    return this.#commands.sent + this.#renewals.sent + this.#subscriptions.sent;
  }

  async close(): Promise<void> {
    this.#fitness.close();
    this.#generation.close();
    this.#commands.close();
    this.#renewals.close();
    this.#subscriptions.close();
  }

  /** Whether this server may hold our data; strict at the start, and only about its identity later. */
  async #examine(connection: RedisConnection, reconnect: boolean): Promise<void> {
    const server = readServer(await connection.probe("INFO", () => connection.client.info()));
    const problem = examineServer(server);
    // Later only a server that cannot hold the data at all is refused; see `fitness.ts` for the rest.
    if (problem !== null && (!reconnect || server.role !== "master")) {
      throw new TroupeError("store_unavailable", `Redis at ${this.#settings.address} ${problem}`, { started: "no" });
    }
    connection.replicated = isReplicated(server);
    this.#generation.seen(server.runId);
  }
}

/** Also while the replicas it must have are away: writes are refused then. */
function isReplicated(server: RedisServer): boolean {
  return server.onlineReplicas > 0 || server.goodReplicas !== null;
}
