/**
 * The streams of a session and the log that lets a client resume them.
 *
 * ## Streams
 * Each POST that is answered as SSE has a stream of its own; the standalone GET stream takes what belongs to no call.
 * A message goes to exactly one stream, and to another only in place of it (`moveTo`). A stream has at most one reader: a newer one ends the older (clients reconnect
 * before the old socket is seen dead), and what nobody reads yet waits in `pending`.
 *
 * ## The log
 * Durable messages (responses, server-to-client requests, list and resource changes) get an id, `<stream>-<n>` in base
 * 36, and stay in the log after they were taken: a socket write is not a delivery. `Last-Event-ID` proves what arrived,
 * and replays the rest of that stream only. Progress and log messages are ephemeral: no id, lost with the connection.
 * Stream ids begin with a mark of the activation that made them, and the standalone stream is "0" for ever, so that an
 * id means the same thing in every activation of the session.
 *
 * ## Durability
 * The log, bounded as it is, is part of the session's stored state. An event with an id, a priming event included, is
 * given to a reader only when a successor that starts from the stored state would know that id (journal.ts). So a
 * promise is never broken by the death of the owner. What readers took is stored only with the next write, so after a
 * takeover a client that names no `Last-Event-ID` may be sent an event again, under the id it had.
 *
 * ## Bounds
 * The log: events, bytes and age (settings). The oldest delivered event goes first, then the oldest that nobody reads;
 * a question that waits for its answer has no age; an event whose reader stalls goes only at four times the bound, and then the reader ends, so a gap is never silent.
 * Ephemeral messages waiting per stream: 256, and 64 while nobody reads; from half of it on the sender is asked to wait
 * for the reader, then the oldest goes first. Streams: `MAX_STREAMS`,
 * the oldest ended one goes first.
 *
 * MCP 2025-11-25, Streamable HTTP, Resumability and Redelivery; WIRE K2 to K7.
 */
import type { Clock } from "../../runtime/actor/clock.ts";
import { TroupeError } from "../../runtime/actor/errors.ts";
import type { RpcId } from "../../transports/upstream/contract.ts";
import type { SessionEvent, StoredEvent, StoredLog, StoredStream } from "./contract.ts";
import { Journal } from "./journal.ts";
import { isObject } from "./rpc.ts";
import type { EventLogBounds } from "./settings.ts";

/** Ephemeral messages waiting per stream, while somebody reads it and while nobody does. */
const EPHEMERAL_READ = { messages: 256, bytes: 256 * 1024 };
const EPHEMERAL_UNREAD = { messages: 64, bytes: 64 * 1024 };
const MAX_STREAMS = 1_024;
/** An ended stream of which nothing durable is left is kept this long for somebody to read it, milliseconds. */
const UNREAD_MS = 60_000;
/** Longest time an upstream is held back for a slow reader, milliseconds. */
const CATCH_UP_MS = 2_000;
const STALLED_FACTOR = 4;
const EVENT_ID = /^([0-9a-z]{1,32})-([0-9a-z]{1,10})(?:_[0-9a-z]{1,20})?$/;
const STANDALONE = "0";

/**
 * HTTP status of a `Last-Event-ID` that is not one of ours, and of one that cannot be resumed (any more). Not 404: to a
 * client that means its session is gone (MCP, Streamable HTTP, session management).
 */
const REFUSED = 400;

interface Entry {
  readonly stream: EventStream;
  /** Position in its stream, from 1; 0 for ephemeral messages. */
  readonly seq: number;
  /** `""` for an event that moved to another stream: its number stays taken, and nothing is sent for it. */
  data: string;
  readonly at: number;
  /** Set on the wish to close the connection. */
  readonly retryMs: number | undefined;
  /** The change that must be stored before a reader may have it. */
  readonly change: number;
  taken: boolean;
}

interface Reader {
  wake: (() => void) | undefined;
  closed: boolean;
}

/** One SSE stream. Fields are the table's; others use `id` and `ended`. */
export class EventStream {
  readonly id: string;
  ended = false;
  /** Requests of the client that this stream is to answer still. */
  waiting: RpcId[] = [];
  /** Whether other activations give ids of it too. */
  shared = false;
  /** The change that made it. */
  change = 0;
  /** Number of the last durable event. */
  seq = 0;
  /** Number of the last durable event that a reader took. */
  position = 0;
  /** Events up to this number are out of the log. */
  trimmed = 0;
  logged = 0;
  primed = 0;
  opened = false;
  endedAt = 0;
  pending: Entry[] = [];
  ephemeral = 0;
  ephemeralBytes = 0;
  reader: Reader | undefined;
  /** When its last reader came, among all readers of the session. */
  readAs = 0;
  /** Whether that one named no event that it had. */
  readAnew = false;
  /** Settles when the reader has caught up. */
  catchUp: Promise<void> | undefined;
  onCaughtUp: (() => void) | undefined;

  constructor(id: string) {
    this.id = id;
  }
}

export interface StreamOptions {
  /** Differs between activations of a session. */
  mark: string;
  /** Whether readers get a priming event (2025-11-25). */
  priming: boolean;
  bounds: EventLogBounds;
  clock: Clock;
  count: (name: string, by?: number) => void;
  /** Whether the client must have the message `data` still, however old it is: few are. */
  wanted: (data: string) => boolean;
  /** Stores `snapshot()`. */
  write: () => Promise<void>;
  onWriteFailed: (error: unknown) => void;
  /** What the session's former activation stored. */
  stored: StoredLog | undefined;
}

export class Streams {
  readonly #options: StreamOptions;
  readonly #streams = new Map<string, EventStream>();
  readonly #log: Entry[] = [];
  #bytes = 0;
  #lastId = 0;
  #readers = 0;
  #lastReader = 0;
  #standalone: EventStream | undefined;
  readonly #journal: Journal;

  constructor(options: StreamOptions) {
    this.#options = options;
    const { write, clock, onWriteFailed } = options;
    this.#journal = new Journal({ write, clock, onFailed: onWriteFailed, onStored: () => this.#wakeAll() });
    if (options.stored !== undefined) this.#restore(options.stored);
  }

  /** Streams that somebody reads now. */
  get readers(): number {
    return this.#readers;
  }
  /** Streams known, the standalone one included. */
  get size(): number {
    return this.#streams.size;
  }
  /** Durable events kept. */
  get logged(): number {
    return this.#log.length;
  }
  /** Whether somebody reads the standalone stream. */
  get listening(): boolean {
    return this.#standalone?.reader !== undefined;
  }

  /**
   * The standalone stream, if its reader came after the last one of `stream` and named no event: that client looks there
   * for what it missed, and did so before this node learned that it had lost `stream`.
   */
  listenedAfter(stream: EventStream): EventStream | undefined {
    const standalone = this.#standalone;
    if (standalone?.reader === undefined || !standalone.readAnew) return undefined;
    return standalone.readAs > stream.readAs ? standalone : undefined;
  }

  /** A new stream, for one POST: it is to answer `waiting`. */
  open(waiting: RpcId[] = []): EventStream {
    if (this.#streams.size >= MAX_STREAMS) this.#dropOldestEnded();
    const stream = new EventStream(this.#options.mark + (++this.#lastId).toString(36));
    stream.waiting = waiting;
    stream.change = this.#journal.note();
    this.#streams.set(stream.id, stream);
    return stream;
  }

  /** `stream` does not answer `request` any more: it did, or the client cancelled. */
  answered(stream: EventStream, request: RpcId): void {
    stream.waiting = stream.waiting.filter((id) => id !== request);
    this.#journal.note();
  }

  /** The session's GET stream. It never ends. */
  standalone(): EventStream {
    if (this.#standalone === undefined) {
      this.#standalone = new EventStream(STANDALONE);
      this.#standalone.shared = true;
      this.#streams.set(this.#standalone.id, this.#standalone);
    }
    return this.#standalone;
  }

  /** Adds a durable message. `once`: not if the same text is waiting already. */
  send(stream: EventStream, data: string, once = false): void {
    if (stream.ended) return;
    if (once && stream.pending.some((waiting) => waiting.data === data)) return;
    const now = this.#options.clock.now();
    const change = this.#journal.note();
    const entry: Entry = { stream, seq: ++stream.seq, data, at: now, retryMs: undefined, change, taken: false };
    stream.pending.push(entry);
    stream.logged++;
    this.#log.push(entry);
    this.#bytes += data.length;
    this.#trim(now);
    // Its reader is woken when it is stored.
    this.#journal.need(change);
  }

  /**
   * Sends the durable event of `from` that `isIt` picks on `to` in its place, unless somebody reads `from` or its edge is
   * about to. False: it stays where it is.
   */
  moveTo(to: EventStream, from: EventStream, isIt: (data: string) => boolean): boolean {
    const read = from.reader !== undefined || !(from.opened || from.shared);
    if (read && from !== to) return false;
    const entry = this.#log.find(({ stream, data, taken }) => stream === from && (taken || from !== to) && isIt(data));
    if (entry === undefined) return false;
    const { data } = entry;
    this.#bytes -= data.length;
    entry.data = "";
    this.send(to, data);
    return true;
  }

  /**
   * Adds a message that is worth nothing after the connection. A promise says that the sender should wait: the reader is
   * behind. It settles when the reader has caught up or went away, and in any case after `CATCH_UP_MS`.
   */
  sendEphemeral(stream: EventStream, data: string): void | Promise<void> {
    if (stream.ended) return;
    stream.pending.push({ stream, seq: 0, data, at: 0, retryMs: undefined, change: 0, taken: false });
    stream.ephemeral++;
    stream.ephemeralBytes += data.length;
    // A stream that its edge is about to open counts as read.
    const read = stream.reader !== undefined || !(stream.opened || stream === this.#standalone);
    const bound = read ? EPHEMERAL_READ : EPHEMERAL_UNREAD;
    while (stream.ephemeral > 1 && (stream.ephemeral > bound.messages || stream.ephemeralBytes > bound.bytes)) {
      const oldest = stream.pending.findIndex((entry) => entry.seq === 0 && entry.retryMs === undefined);
      const [dropped] = stream.pending.splice(oldest, 1);
      stream.ephemeral--;
      stream.ephemeralBytes -= dropped?.data.length ?? 0;
      this.#options.count("troupe_session_ephemeral_dropped_total");
    }
    stream.reader?.wake?.();
    const behind = stream.ephemeral >= bound.messages / 2 || stream.ephemeralBytes >= bound.bytes / 2;
    if (read && behind) return this.#caughtUp(stream);
  }

  #caughtUp(stream: EventStream): Promise<void> {
    stream.catchUp ??= new Promise((resolve) => {
      const cancelTimer = this.#options.clock.after(CATCH_UP_MS, () => stream.onCaughtUp?.());
      stream.onCaughtUp = () => {
        cancelTimer();
        stream.catchUp = undefined;
        stream.onCaughtUp = undefined;
        resolve();
      };
    });
    return stream.catchUp;
  }

  /** Nothing more will come; the reader ends after what is pending. */
  end(stream: EventStream): void {
    if (stream.ended) return;
    stream.ended = true;
    stream.waiting = [];
    stream.onCaughtUp?.();
    stream.endedAt = this.#options.clock.now();
    // With its response if it had one; a successor must not answer what was cancelled.
    if (stream !== this.#standalone) this.#journal.need(this.#journal.note());
    stream.reader?.wake?.();
  }

  /** Closes the stream's connection, if there is one, after what is pending; the stream goes on. */
  closeConnection(stream: EventStream, retryMs: number): void {
    if (stream.ended || stream.reader === undefined) return;
    stream.pending.push({ stream, seq: 0, data: "", at: 0, retryMs, change: 0, taken: false });
    stream.reader.wake?.();
  }

  /** The stream that `post` named. Throws `not_found`. */
  find(id: string): EventStream {
    const stream = this.#streams.get(id);
    if (stream === undefined) throw unknownEvent("unknown stream", REFUSED);
    return stream;
  }

  /**
   * The stream that `lastEventId` belongs to, rewound to the event after it. Throws `not_found` with `data.reason` and
   * `data.status` when that id is malformed, unknown, expired, or the last one of a stream that has ended: a client that
   * was answered emptily would come back for ever.
   */
  resume(lastEventId: string): EventStream {
    const [, id, seq36] = EVENT_ID.exec(lastEventId) ?? [];
    if (id === undefined || seq36 === undefined) throw unknownEvent("malformed event id", REFUSED);
    this.#trim(this.#options.clock.now());
    const stream = id === STANDALONE ? this.standalone() : this.#streams.get(id);
    const after = Number.parseInt(seq36, 36);
    if (stream === undefined || after > stream.seq || after < stream.trimmed) {
      throw unknownEvent("unknown event id", REFUSED);
    }
    if (stream.ended && after === stream.seq) throw unknownEvent("unknown event id: that stream is complete", REFUSED);
    this.#rewind(stream, after);
    return stream;
  }

  /**
   * Reads a stream: what is pending, then what comes, until it ends, `signal` fires or a newer reader takes over. `anew`:
   * the client named no event that it has.
   */
  async *read(stream: EventStream, signal: AbortSignal, anew: boolean): AsyncGenerator<SessionEvent, void, undefined> {
    const reader: Reader = { wake: undefined, closed: false };
    this.#attach(stream, reader);
    stream.readAnew = anew;
    const stop = (): void => {
      reader.closed = true;
      reader.wake?.();
    };
    signal.addEventListener("abort", stop, { once: true });
    if (signal.aborted) reader.closed = true;
    try {
      const opening = this.#opening(stream);
      if (opening.id !== undefined) await this.#known(stream, reader);
      yield opening;
      for (;;) {
        while (!reader.closed) {
          const [entry] = stream.pending;
          if (entry === undefined) {
            stream.onCaughtUp?.();
            break;
          }
          if (!this.#journal.has(entry.change)) break;
          stream.pending.shift();
          if (entry.seq > 0 && entry.data === "") continue;
          yield this.#take(stream, entry);
          if (entry.retryMs !== undefined) return;
        }
        if (reader.closed || (stream.ended && stream.pending.length === 0)) return;
        await woken(reader);
      }
    } finally {
      signal.removeEventListener("abort", stop);
      this.#detach(stream, reader);
    }
  }

  /** The log as it is to be stored; undefined when a successor would need nothing of it. */
  snapshot(): StoredLog | undefined {
    const streams: StoredStream[] = [];
    for (const stream of this.#streams.values()) {
      const { id, seq, position, trimmed, waiting } = stream;
      // The standalone stream must never give a number away twice; of a complete one without events nothing is left.
      const needed = stream === this.#standalone ? seq > 0 : stream.logged > 0 || !stream.ended;
      if (needed) streams.push([id, seq, position, trimmed, waiting]);
    }
    if (streams.length === 0) return undefined;
    const { clock } = this.#options;
    const offset = clock.wallNow() - clock.now();
    const events = this.#log.map(({ stream, seq, at, data }): StoredEvent => [stream.id, seq, at + offset, data]);
    return { streams, events, asked: [] };
  }

  /** The stream that is to answer `request` or has done so, as far as the log goes back. */
  answering(request: RpcId): EventStream | undefined {
    for (const stream of this.#streams.values()) if (stream.waiting.includes(request)) return stream;
    return this.#log.find(({ stream, data }) => stream !== this.#standalone && respondsTo(data, request))?.stream;
  }

  /** The stream that has that id. */
  known(id: string): EventStream | undefined {
    return this.#streams.get(id);
  }

  /** POSTs' streams that have not ended. */
  unfinished(): EventStream[] {
    return [...this.#streams.values()].filter((stream) => !stream.ended && stream !== this.#standalone);
  }

  #restore({ streams, events }: StoredLog): void {
    const { clock } = this.#options;
    const now = clock.now();
    const offset = clock.wallNow() - now;
    for (const [id, seq, position, trimmed, waiting] of streams) {
      const stream = new EventStream(id);
      Object.assign(stream, { seq, position, trimmed, waiting, shared: true });
      if (id === STANDALONE) this.#standalone = stream;
      else if (waiting.length === 0) Object.assign(stream, { ended: true, endedAt: now });
      this.#streams.set(id, stream);
    }
    for (const [id, seq, wallMs, data] of events) {
      const stream = this.#streams.get(id);
      if (stream === undefined) continue;
      const taken = seq <= stream.position;
      // Another node's clock may be ahead.
      const at = Math.min(now, wallMs - offset);
      const entry: Entry = { stream, seq, data, at, retryMs: undefined, change: 0, taken };
      if (!taken) stream.pending.push(entry);
      stream.logged++;
      this.#log.push(entry);
      this.#bytes += data.length;
    }
  }

  /** Resolves when a successor would know `stream`, or its reader has gone. */
  async #known(stream: EventStream, reader: Reader): Promise<void> {
    this.#journal.need(stream.change);
    while (!reader.closed && !this.#journal.has(stream.change)) await woken(reader);
  }

  #wakeAll(): void {
    for (const stream of this.#streams.values()) stream.reader?.wake?.();
  }

  /** Ends all readers; nothing can be read afterwards. */
  close(): void {
    this.#journal.close();
    for (const stream of this.#streams.values()) {
      this.end(stream);
      if (stream.reader !== undefined) close(stream.reader);
    }
  }

  /** Trims by age. Returns whether nothing is left. */
  sweep(): boolean {
    const now = this.#options.clock.now();
    this.#trim(now);
    for (const stream of [...this.#streams.values()]) {
      if (stream.ended && now - stream.endedAt > UNREAD_MS) {
        stream.opened = true;
        if (stream.reader === undefined && stream.logged === 0) stream.pending = [];
      }
      this.#collect(stream);
    }
    return this.#streams.size === 0;
  }

  #attach(stream: EventStream, reader: Reader): void {
    if (stream.reader !== undefined) {
      close(stream.reader);
      this.#options.count("troupe_session_stream_superseded_total");
    } else {
      this.#readers++;
    }
    stream.reader = reader;
    stream.readAs = ++this.#lastReader;
  }

  #detach(stream: EventStream, reader: Reader): void {
    if (stream.reader !== reader) return;
    stream.reader = undefined;
    stream.onCaughtUp?.();
    this.#readers--;
    stream.opened = true;
    this.#collect(stream);
  }

  /** The first item of a reader. An empty stream stays empty: it gets no priming event. */
  #opening(stream: EventStream): SessionEvent {
    if (!this.#options.priming || (stream.ended && stream.pending.length === 0)) return { opened: true, data: "" };
    const nth = stream.primed++;
    const position = Math.max(stream.position, stream.trimmed);
    const id = eventId(stream, position);
    // The id of an event that was sent already names the same position, but must not be used twice.
    if (nth === 0 && position === 0 && !stream.shared) return { opened: true, id, data: "" };
    // `primed` counts the readers of this activation only.
    const reader = (stream.shared ? this.#options.mark : "") + nth.toString(36);
    return { opened: true, id: `${id}_${reader}`, data: "" };
  }

  #take(stream: EventStream, entry: Entry): SessionEvent {
    if (entry.retryMs !== undefined) return { data: "", retryMs: entry.retryMs };
    if (entry.seq === 0) {
      stream.ephemeral--;
      stream.ephemeralBytes -= entry.data.length;
      return { data: entry.data };
    }
    entry.taken = true;
    stream.position = entry.seq;
    return { id: eventId(stream, entry.seq), data: entry.data };
  }

  /** Makes the event after `after` the next one, and forgets what the client proved to have. */
  #rewind(stream: EventStream, after: number): void {
    const again: Entry[] = [];
    const proven: Entry[] = [];
    for (const entry of this.#log) {
      if (entry.stream !== stream) continue;
      if (entry.seq <= after) proven.push(entry);
      else if (entry.taken) again.push(entry);
    }
    for (const entry of proven) this.#drop(this.#log.indexOf(entry));
    for (const entry of again) entry.taken = false;
    // A restored event may wait though its client has it: what was taken since the last write was not stored.
    const waits = (entry: Entry): boolean => entry.retryMs === undefined && (entry.seq === 0 || entry.seq > after);
    stream.pending = again.concat(stream.pending.filter(waits));
    stream.trimmed = Math.max(stream.trimmed, after);
    stream.position = after;
  }

  #trim(now: number): void {
    const { events, bytes, ageMs } = this.#options.bounds;
    const { wanted } = this.#options;
    for (let index = 0; ; ) {
      const oldest = this.#log[index];
      if (oldest === undefined || now - oldest.at <= ageMs) break;
      if (wanted(oldest.data)) index++;
      else this.#lose(index);
    }
    while (this.#log.length > 1 && (this.#log.length > events || this.#bytes > bytes)) {
      // The newest event is never the one to go.
      const last = this.#log.length - 1;
      let victim = this.#log.findIndex((entry) => entry.taken);
      if (victim < 0) victim = this.#log.findIndex((entry) => entry.stream.reader === undefined);
      if (victim < 0 || victim === last) {
        const over = this.#log.length > STALLED_FACTOR * events || this.#bytes > STALLED_FACTOR * bytes;
        if (!over) return;
        victim = 0;
      }
      this.#lose(victim);
    }
  }

  /** Takes an event out of the log; if nobody has read it, it is lost, and its reader must not go on as if it were not. */
  #lose(index: number): void {
    const entry = this.#log[index];
    if (entry === undefined) return;
    this.#drop(index);
    if (!entry.taken) {
      const { stream } = entry;
      stream.pending = stream.pending.filter((waiting) => waiting !== entry);
      if (stream.reader !== undefined) close(stream.reader);
      this.#options.count("troupe_session_events_dropped_total");
    }
    this.#collect(entry.stream);
  }

  #drop(index: number): void {
    const [entry] = this.#log.splice(index, 1);
    if (entry === undefined) return;
    this.#bytes -= entry.data.length;
    entry.stream.logged--;
    entry.stream.trimmed = Math.max(entry.stream.trimmed, entry.seq);
  }

  #collect(stream: EventStream): void {
    const idle = stream.reader === undefined && stream.pending.length === 0 && stream.logged === 0;
    if (idle && stream.ended && stream.opened) this.#streams.delete(stream.id);
  }

  #dropOldestEnded(): void {
    for (const stream of this.#streams.values()) {
      if (!stream.ended || stream.reader !== undefined) continue;
      for (let at = this.#log.length - 1; at >= 0; at--) if (this.#log[at]?.stream === stream) this.#drop(at);
      this.#streams.delete(stream.id);
      this.#options.count("troupe_session_streams_dropped_total");
      return;
    }
  }
}

function eventId(stream: EventStream, seq: number): string {
  return `${stream.id}-${seq.toString(36)}`;
}

/** Whether `data`, an event's text, is the response to `request`. */
function respondsTo(data: string, request: RpcId): boolean {
  const message: unknown = data === "" ? undefined : JSON.parse(data);
  return isObject(message) && message.method === undefined && message.id === request;
}

async function woken(reader: Reader): Promise<void> {
  await new Promise<void>((resolve) => {
    reader.wake = resolve;
  });
  reader.wake = undefined;
}

function close(reader: Reader): void {
  reader.closed = true;
  reader.wake?.();
}

function unknownEvent(reason: string, status: number): TroupeError {
  return new TroupeError("not_found", `Last-Event-ID: ${reason}`, { started: "no", data: { reason, status } });
}
