/**
 * Where a client's request goes.
 *
 * One upstream under its own names: everything passes through, cursors included. Several (or one with a prefix): lists
 * are gathered, names are resolved to one upstream, resources go to the upstream that owns the URI or, when that is not
 * known, to each in turn until one has it. A method of a capability that nobody has is refused here, as the
 * specification asks.
 */
import { TroupeError } from "../../runtime/actor/errors.ts";
import { RpcError } from "../../transports/upstream/contract.ts";
import { type Gathered, gather, type Item, LIST_FIELDS } from "./aggregate.ts";
import { type ClientCall, cancelledCall } from "./calls.ts";
import { offers } from "./capabilities.ts";
import { MAX_NAME, NameIndex, prefixedName, type ResolvedName, splitName } from "./naming.ts";
import { ResourceOwners } from "./resource_owners.ts";
import { isObject, RpcCode } from "./rpc.ts";
import type { SessionUpstreams } from "./upstreams.ts";

type Params = Record<string, unknown> | undefined;
type NameKind = "tools" | "prompts";

export class Router {
  readonly #upstreams: SessionUpstreams;
  readonly #prefixed: boolean;
  readonly #nextRelated: () => number;
  /** The only upstream, if everything passes through to it. */
  readonly #only: string | undefined;
  #names: { tools: NameIndex; prompts: NameIndex } | undefined;
  #owners: ResourceOwners | undefined;
  /** Lists under way to learn names. */
  #learning: Map<NameKind, Promise<unknown>> | undefined;

  /** `nextRelated` numbers the requests that the router makes itself. */
  constructor(upstreams: SessionUpstreams, prefixed: boolean, nextRelated: () => number) {
    this.#upstreams = upstreams;
    this.#prefixed = prefixed;
    this.#nextRelated = nextRelated;
    this.#only = upstreams.names.length === 1 && !prefixed ? upstreams.names[0] : undefined;
  }

  /** The result of `method`, as the client may see it. Rejects with `RpcError` or `TroupeError`. */
  route(call: ClientCall, method: string, params: Params): Promise<unknown> {
    if (method.startsWith("tasks/")) return Promise.reject(methodNotFound(method));
    if (this.#only !== undefined) {
      const catalogue = this.#upstreams.known(this.#only);
      if (catalogue !== undefined && !offers(catalogue, method)) return Promise.reject(methodNotFound(method));
      const result = this.#send(this.#only, call, method, params);
      return method === "tools/list" ? this.#learnFrom(this.#only, params, result) : result;
    }
    return this.#routeReadable(call, method, params) ?? this.#routeAmongSeveral(call, method, params);
  }

  /** Whether any upstream that can be reached may be sent `method`. */
  async offered(method: string): Promise<boolean> {
    return (await this.#responsible(method)).length > 0;
  }

  /** The upstream that owns `uri`, as far as is known. */
  ownerOf(uri: string): string | undefined {
    return this.#only ?? this.#owners?.owner(uri);
  }

  /** The upstream that has tool `name`, and what it is called there; undefined where none has. */
  async toolOf(name: string): Promise<ResolvedName | undefined> {
    if (this.#only !== undefined) return { upstream: this.#only, name };
    return this.#resolve(name, "tools", await this.#responsible("tools/call"));
  }

  /** The tools of `upstream` that may be run twice; asks where no list has told. */
  async repeatableTools(upstream: string): Promise<ReadonlySet<string>> {
    const known = this.#upstreams.repeatable(upstream);
    if (known !== undefined) return known;
    const method = "tools/list";
    const options = { related: this.#nextRelated(), progress: false };
    const gathered = await this.#gather(method, "tools", [upstream], (_upstream, cursor) =>
      this.#upstreams.client(upstream).request(method, cursor === undefined ? {} : { cursor }, options),
    );
    return this.#upstreams.learnTools(upstream, gathered[0]?.items ?? []);
  }

  /** A list of `upstream` changed: what was learned from it is stale. */
  listChanged(upstream: string, notification: string): void {
    if (notification === "notifications/tools/list_changed") {
      this.#names?.tools.clear();
      this.#upstreams.forgetTools(upstream);
    } else if (notification === "notifications/prompts/list_changed") this.#names?.prompts.clear();
    else this.#owners?.forget(upstream);
  }

  /** Learns from a list that passes by, if it is whole. */
  async #learnFrom(upstream: string, params: Params, listed: Promise<unknown>): Promise<unknown> {
    const result = await listed;
    const whole = params?.cursor === undefined && isObject(result) && result.nextCursor === undefined;
    if (whole && Array.isArray(result.tools)) this.#upstreams.learnTools(upstream, result.tools.filter(isObject));
    return result;
  }

  /** Sends `method` to one upstream in the course of `call`. */
  #send(upstream: string, call: ClientCall, method: string, params: Params): Promise<unknown> {
    call.upstream = upstream;
    const options = { related: call.related, progress: call.token !== undefined };
    return this.#upstreams.client(upstream).request(method, params, options);
  }

  /** The short way for the usual call: a tool whose name tells its upstream, which is known to have tools. */
  #routeReadable(call: ClientCall, method: string, params: Params): Promise<unknown> | undefined {
    const name = params?.name;
    if (method !== "tools/call" || !this.#prefixed || typeof name !== "string" || name.length >= MAX_NAME)
      return undefined;
    const resolved = splitName(name, this.#upstreams.names);
    if (resolved === undefined) return undefined;
    const catalogue = this.#upstreams.known(resolved.upstream);
    if (catalogue === undefined || !offers(catalogue, method)) return undefined;
    return this.#send(resolved.upstream, call, method, { ...params, name: resolved.name });
  }

  async #routeAmongSeveral(call: ClientCall, method: string, params: Params): Promise<unknown> {
    const upstreams = await this.#responsible(method);
    // Of an unknown method only a single upstream can be asked.
    if (upstreams.length === 0 || (!KNOWN.has(method) && upstreams.length > 1)) throw methodNotFound(method);
    if (call.settled) throw cancelledCall();
    const field = LIST_FIELDS[method];
    if (field !== undefined) return this.#list(call, method, field, params, upstreams);
    switch (method) {
      case "tools/call":
        return this.#byName(call, method, params, "tools", upstreams);
      case "prompts/get":
        return this.#byName(call, method, params, "prompts", upstreams);
      case "resources/read":
      case "resources/subscribe":
      case "resources/unsubscribe":
        return this.#byUri(call, method, params, params?.uri, upstreams);
      case "completion/complete":
        return this.#complete(call, params, upstreams);
      default:
        return this.#send(upstreams[0] ?? "", call, method, params);
    }
  }

  async #responsible(method: string): Promise<string[]> {
    const catalogues = await this.#upstreams.describeAll((name) => this.#upstreams.describe(name));
    return catalogues.filter((catalogue) => offers(catalogue, method)).map(({ name }) => name);
  }

  async #list(
    call: ClientCall,
    method: string,
    field: string,
    params: Params,
    upstreams: readonly string[],
  ): Promise<unknown> {
    if (params?.cursor !== undefined) throw invalidParams("this list has one page, so no cursor is valid");
    const gathered = await this.#gather(method, field, upstreams, (upstream, cursor) => {
      if (call.settled) throw cancelledCall();
      return this.#send(upstream, call, method, cursor === undefined ? {} : { cursor });
    });
    return { [field]: this.#merge(field, gathered) };
  }

  #gather(
    method: string,
    field: string,
    upstreams: readonly string[],
    page: (upstream: string, cursor: string | undefined) => Promise<unknown>,
  ): Promise<Gathered[]> {
    return gather({
      upstreams,
      field,
      page,
      incomplete: (upstream, what, error) => this.#upstreams.warn(upstream, `${method}: ${what}`, error),
    });
  }

  #merge(field: string, gathered: readonly Gathered[]): Item[] {
    if (field === "tools" || field === "prompts") return this.#mergeNames(field, gathered);
    this.#owners ??= new ResourceOwners();
    const seen = new Set<unknown>();
    const merged: Item[] = [];
    for (const { upstream, items } of gathered) {
      for (const item of items) {
        const key = item.uri ?? item.uriTemplate;
        if (seen.has(key)) continue;
        seen.add(key);
        if (typeof item.uri === "string") this.#owners.learn(item.uri, upstream);
        else if (typeof item.uriTemplate === "string") this.#owners.learnTemplate(item.uriTemplate, upstream);
        merged.push(item);
      }
    }
    return merged;
  }

  #mergeNames(kind: NameKind, gathered: readonly Gathered[]): Item[] {
    const index = this.#index(kind);
    const owners = new Map<string, string>();
    const merged: Item[] = [];
    for (const { upstream, items } of gathered) {
      if (kind === "tools") this.#upstreams.learnTools(upstream, items);
      for (const item of items) {
        if (typeof item.name !== "string") continue;
        const name = this.#prefixed ? prefixedName(upstream, item.name) : item.name;
        const owner = owners.get(name);
        if (owner !== undefined) {
          const message = `two upstreams have the same name in ${kind}/list, the first keeps it`;
          this.#upstreams.warn(upstream, message, undefined, { name, owner });
          continue;
        }
        owners.set(name, upstream);
        if (!this.#prefixed || name.length >= MAX_NAME) index.set(name, { upstream, name: item.name });
        merged.push(this.#prefixed ? { ...item, name } : item);
      }
    }
    return merged;
  }

  #index(kind: NameKind): NameIndex {
    this.#names ??= { tools: new NameIndex(), prompts: new NameIndex() };
    return this.#names[kind];
  }

  async #byName(
    call: ClientCall,
    method: string,
    params: Params,
    kind: NameKind,
    upstreams: readonly string[],
  ): Promise<unknown> {
    const name = params?.name;
    if (typeof name !== "string") throw invalidParams('"name" must be a string');
    const resolved = await this.#resolve(name, kind, upstreams);
    if (resolved === undefined) {
      throw invalidParams(`Unknown ${kind === "tools" ? "tool" : "prompt"}: ${name}`);
    }
    if (call.settled) throw cancelledCall();
    return this.#send(resolved.upstream, call, method, { ...params, name: resolved.name });
  }

  async #resolve(name: string, kind: NameKind, upstreams: readonly string[]): Promise<ResolvedName | undefined> {
    const index = this.#index(kind);
    const known = index.get(name);
    if (known !== undefined) return known;
    // Only a name of full length can be a shortened one; without prefixes only a list knows who has the name.
    if (this.#prefixed && name.length < MAX_NAME) return splitName(name, upstreams);
    await this.#learn(kind, upstreams);
    return index.get(name) ?? (this.#prefixed ? splitName(name, upstreams) : undefined);
  }

  /** Lists `kind` once for everybody who waits to learn its names. */
  #learn(kind: NameKind, upstreams: readonly string[]): Promise<unknown> {
    this.#learning ??= new Map();
    const learning = this.#learning;
    const known = learning.get(kind);
    if (known !== undefined) return known;
    const method = `${kind}/list`;
    const options = { related: this.#nextRelated(), progress: false };
    const listed = this.#gather(method, kind, upstreams, (upstream, cursor) =>
      this.#upstreams.client(upstream).request(method, cursor === undefined ? {} : { cursor }, options),
    )
      .then((gathered) => this.#merge(kind, gathered))
      .finally(() => learning.delete(kind));
    learning.set(kind, listed);
    return listed;
  }

  async #byUri(
    call: ClientCall,
    method: string,
    params: Params,
    uri: unknown,
    upstreams: readonly string[],
  ): Promise<unknown> {
    if (typeof uri !== "string") throw invalidParams('"uri" must be a string');
    const owner = this.#owners?.owner(uri);
    const candidates = owner !== undefined && upstreams.includes(owner) ? [owner] : upstreams;
    let refusal: unknown;
    for (const upstream of candidates) {
      if (call.settled) throw cancelledCall();
      try {
        const result = await this.#send(upstream, call, method, params);
        this.#owners ??= new ResourceOwners();
        this.#owners.learn(uri, upstream);
        return result;
      } catch (error) {
        if (TroupeError.is(error, "cancelled") || candidates.length === 1) throw error;
        if (!(error instanceof RpcError)) this.#upstreams.warn(upstream, `${method} failed`, error);
        // "I do not have it" says the least; any other answer is a better one to give.
        if (refusal === undefined || isNotFound(refusal)) refusal = error;
      }
    }
    throw refusal;
  }

  async #complete(call: ClientCall, params: Params, upstreams: readonly string[]): Promise<unknown> {
    const ref = params?.ref;
    if (isObject(ref) && ref.type === "ref/prompt" && typeof ref.name === "string") {
      const resolved = await this.#resolve(ref.name, "prompts", upstreams);
      if (resolved === undefined) throw invalidParams(`Unknown prompt: ${ref.name}`);
      if (call.settled) throw cancelledCall();
      const inner = { ...params, ref: { ...ref, name: resolved.name } };
      return this.#send(resolved.upstream, call, "completion/complete", inner);
    }
    if (isObject(ref) && ref.type === "ref/resource") {
      return this.#byUri(call, "completion/complete", params, ref.uri, upstreams);
    }
    throw invalidParams('"ref" must be a ref/prompt or a ref/resource');
  }
}

/** Methods that are routed by what they name. */
const KNOWN: ReadonlySet<string> = new Set([
  ...Object.keys(LIST_FIELDS),
  "tools/call",
  "prompts/get",
  "resources/read",
  "resources/subscribe",
  "resources/unsubscribe",
  "completion/complete",
]);

export function methodNotFound(method: string): RpcError {
  return new RpcError({ code: RpcCode.methodNotFound, message: `Method not found: ${method}` });
}

export function invalidParams(what: string): RpcError {
  return new RpcError({ code: RpcCode.invalidParams, message: `Invalid params: ${what}` });
}

function isNotFound(error: unknown): boolean {
  return error instanceof RpcError && (error.code === RpcCode.resourceNotFound || error.code === RpcCode.invalidParams);
}
