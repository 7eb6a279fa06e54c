/**
 * The control conversation: typed calls between the I/O thread and a worker, both ways over one port, beside the data
 * path. `comlink` carries them, at some 30 µs a call: fit for starting, stopping and committing, not for messages.
 *
 * Two things are added to it. Errors keep their code and `started` (comlink keeps only a message). And a call never
 * waits for a thread that died: `fail` rejects every call that is open and every later one, which comlink would leave
 * pending for ever.
 *
 * There is no order between this conversation and the data path.
 */
import type { MessagePort, TransferListItem } from "node:worker_threads";
import comlink from "comlink";
import { decodeError, encodeError, TroupeError, type WireError } from "../actor/errors.ts";

/** `T` as seen from the other thread: every method answers with a promise. */
export type Remote<T> = {
  readonly [Name in keyof T]: T[Name] extends (...args: infer Args) => infer Result
    ? (...args: Args) => Promise<Awaited<Result>>
    : never;
};

type Answer = { error: WireError } | { value: unknown };
type Invoke = (method: string, args: readonly unknown[]) => Promise<Answer>;

/** One side of a conversation. */
export interface Conversation<T extends object> {
  /** The other side's methods. Arguments and results are plain data. */
  readonly remote: Remote<T>;
  /** Ends the conversation: every open and later call rejects with `error`. */
  fail(error: TroupeError): void;
}

/**
 * Offers methods over `port` (of several objects, the first that has the method; objects may be added later), and returns
 * the other side's. Starts the port.
 */
export function converse<T extends object>(port: MessagePort, offered: readonly object[]): Conversation<T> {
  const endpoint = endpointOf(port);
  comlink.expose({ invoke: (method: string, args: readonly unknown[]) => answer(offered, method, args) }, endpoint);
  // Taken once: comlink makes (and registers for finalization) a proxy at every property access.
  const invoke: Invoke = comlink.wrap<{ invoke: Invoke }>(endpoint).invoke;

  const open = new Set<(error: TroupeError) => void>();
  let failure: TroupeError | undefined;

  const call = (method: string, args: readonly unknown[]): Promise<unknown> =>
    new Promise((resolve, reject) => {
      if (failure !== undefined) {
        reject(failure);
        return;
      }
      open.add(reject);
      invoke(method, args)
        .then(
          (got) => ("error" in got ? reject(decodeError(got.error)) : resolve(got.value)),
          (error: unknown) => reject(unsendable(method, error)),
        )
        .finally(() => open.delete(reject));
    });

  const fail = (error: TroupeError): void => {
    failure ??= error;
    for (const reject of open) reject(error);
    open.clear();
  };
  port.on("close", () => fail(new TroupeError("unavailable", "the other thread closed its control port")));
  return { remote: remoteOf<T>(call), fail };
}

function remoteOf<T>(call: (method: string, args: readonly unknown[]) => Promise<unknown>): Remote<T> {
  const methods = new Map<string, (...args: unknown[]) => Promise<unknown>>();
  const handler: ProxyHandler<object> = {
    get(_target, name) {
      // Not a promise, or `await remote` would call its "then" over there.
      if (typeof name === "symbol" || name === "then") return undefined;
      let method = methods.get(name);
      if (method === undefined) {
        method = (...args) => call(name, args);
        methods.set(name, method);
      }
      return method;
    },
  };
  return new Proxy({}, handler) as Remote<T>;
}

async function answer(offered: readonly object[], name: string, args: readonly unknown[]): Promise<Answer> {
  try {
    const owner = name in Object.prototype ? undefined : offered.find((candidate) => name in candidate);
    const method: unknown = owner === undefined ? undefined : Reflect.get(owner, name);
    if (owner === undefined || typeof method !== "function") {
      throw new TroupeError("unknown_method", `the other thread offers no "${name}"`, { started: "no" });
    }
    const value: unknown = await Reflect.apply(method, owner, args);
    return { value };
  } catch (error) {
    return { error: encodeError(error) };
  }
}

function unsendable(method: string, cause: unknown): TroupeError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new TroupeError("invalid_argument", `"${method}" was given or answered what threads cannot exchange: ${why}`, {
    cause,
  });
}

type Endpoint = Parameters<typeof comlink.expose>[1];

function endpointOf(port: MessagePort): NonNullable<Endpoint> {
  return {
    postMessage: (message: unknown, transfer?: TransferListItem[]) => port.postMessage(message, transfer ?? []),
    addEventListener: (_type: string, listener: (event: { data: unknown }) => void) => {
      port.on("message", (data: unknown) => listener({ data }));
    },
    removeEventListener: () => {
      // Comlink removes listeners only when a proxy is released; this conversation lives as long as its port.
    },
  };
}
