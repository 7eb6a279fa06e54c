/**
 * Whether the server can hold what we give it, looked at again and again while the node runs.
 *
 * A look is `INFO` and a write of one key that expires. The write says in Redis' own words why it refuses (out of memory,
 * not enough replicas, a disk it cannot save to), also while nobody else writes, and when it is over. What `INFO` shows
 * (an evicting policy, replicas that nobody waits for) is refused at the start; changed under a running cluster it is a
 * warning, because taking every node out of service would do the harm it warns of.
 *
 * Cost: two commands every `LOOK_MS`, every `AGAIN_MS` while something is wrong.
 */
import type { Clock } from "../../actor/clock.ts";
import { TroupeError } from "../../actor/errors.ts";
import type { RedisConnection } from "./connection.ts";
import { examineServer, type RedisServer, readServer } from "./server.ts";

const LOOK_MS = 5_000;
const AGAIN_MS = 1_000;
/** After a refused command, so that a burst of them is one look. */
const SOON_MS = 50;
const PROBE_KEPT_MS = 60_000;

export interface FitnessOptions {
  connection: RedisConnection;
  clock: Clock;
  /** Written to; in a slot of ours. */
  probeKey: string;
  /** For messages. */
  address: string;
  /** Something is known of the server. */
  seen(server: RedisServer): void;
}

export class Fitness {
  readonly #options: FitnessOptions;
  #refusal: string | null = null;
  #warning: string | null = null;
  #cancel: () => void = () => {};
  #due = Number.POSITIVE_INFINITY;
  #looking = false;
  #closed = false;

  constructor(options: FitnessOptions) {
    this.#options = options;
  }

  /** Why writes are refused, or null. */
  get refusal(): string | null {
    return this.#refusal;
  }

  /** What is dangerous and does not keep anybody from working, or null. */
  get warning(): string | null {
    return this.#warning;
  }

  start(): void {
    this.#lookIn(LOOK_MS);
  }

  /** A command was turned away. */
  turnedAway(): void {
    this.#lookIn(SOON_MS);
  }

  close(): void {
    this.#closed = true;
    this.#cancel();
  }

  #lookIn(ms: number): void {
    const { clock } = this.#options;
    const due = clock.now() + ms;
    if (this.#closed || this.#looking || due >= this.#due) return;
    this.#cancel();
    this.#due = due;
    this.#cancel = clock.after(ms, () => void this.#look());
  }

  async #look(): Promise<void> {
    this.#due = Number.POSITIVE_INFINITY;
    this.#looking = true;
    const { connection, probeKey, address, seen } = this.#options;
    try {
      const [info] = await Promise.all([
        connection.send("INFO", () => connection.client.info()),
        connection.send("SET", () => connection.client.set(probeKey, "1", "PX", PROBE_KEPT_MS)),
      ]);
      this.#refusal = null;
      const server = readServer(info);
      seen(server);
      const problem = examineServer(server);
      this.#warning = problem === null ? null : `Redis at ${address} ${problem}`;
    } catch (error) {
      // A connection in trouble tells of it itself.
      if (!TroupeError.is(error) || !isTurnedAway(error)) this.#refusal = null;
      else this.#refusal = `Redis at ${address} refuses writes (${error.message.replace(/^SET: /, "")})`;
    } finally {
      this.#looking = false;
      this.#lookIn(this.#refusal === null && this.#warning === null ? LOOK_MS : AGAIN_MS);
    }
  }
}

function isTurnedAway(error: TroupeError): boolean {
  return error.cause !== undefined && error.started === "no";
}
