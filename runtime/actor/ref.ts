/**
 * Refs: typed handles on actors. One class per definition, made once; its methods only name the call, so that a ref
 * costs one small object and no proxy traps.
 */
import type { Calls, ParentTurn } from "./calls.ts";
import type { AnyActorDefinition, CallOptions, Ref } from "./define.ts";
import { type ActorId, actorId } from "./ids.ts";

const DEFAULTS: CallOptions = {};

class UntypedRef {
  readonly id: ActorId;
  readonly calls: Calls;
  readonly options: CallOptions;
  readonly parent: ParentTurn | null;

  constructor(calls: Calls, id: ActorId, options: CallOptions, parent: ParentTurn | null) {
    this.calls = calls;
    this.id = id;
    this.options = options;
    this.parent = parent;
  }

  with(options: CallOptions): UntypedRef {
    const RefClass = this.constructor as typeof UntypedRef;
    return new RefClass(this.calls, this.id, { ...this.options, ...options }, this.parent);
  }
}

const classes = new WeakMap<AnyActorDefinition, typeof UntypedRef>();

function classFor(definition: AnyActorDefinition): typeof UntypedRef {
  const known = classes.get(definition);
  if (known !== undefined) return known;
  const made = class extends UntypedRef {};
  for (const [name, shape] of definition.shapes) {
    const value = shape.stream
      ? function (this: UntypedRef, ...args: unknown[]) {
          return this.calls.stream(this.id, name, args, this.options, this.parent);
        }
      : function (this: UntypedRef, ...args: unknown[]) {
          return this.calls.call(this.id, name, args, this.options, this.parent);
        };
    Object.defineProperty(made.prototype, name, { value });
  }
  classes.set(definition, made);
  return made;
}

/** A ref on actor `key` whose calls leave through `calls`, in the course of `parent` where given. */
export function makeRef<D extends AnyActorDefinition>(
  calls: Calls,
  definition: D,
  key: string,
  parent: ParentTurn | null,
): Ref<D> {
  const RefClass = classFor(definition);
  // The class has exactly the methods of the definition, which is what `Ref<D>` says.
  return new RefClass(calls, actorId(definition.kind, key), DEFAULTS, parent) as UntypedRef & Ref<D>;
}
