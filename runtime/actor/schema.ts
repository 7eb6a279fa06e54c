/**
 * Checks against Standard Schema validators (zod, valibot, arktype and others), and stored state brought up to date.
 */
import type { StandardSchemaV1 } from "@standard-schema/spec";
import type { Envelope } from "./codec.ts";
import { TroupeError } from "./errors.ts";

/** What `validator` makes of `value`, or the refusal that names the first few things wrong with it. */
export function validated(validator: StandardSchemaV1, value: unknown, what: string): unknown {
  const result = validator["~standard"].validate(value);
  if (result instanceof Promise) {
    return new TroupeError("invalid_argument", `${what} has a validator that answers later; it must answer at once`, {
      started: "no",
    });
  }
  if (result.issues === undefined) return result.value;
  const issues = result.issues.slice(0, 3).map(({ message, path }) => {
    const at = path?.map((part) => String(typeof part === "object" ? part.key : part)).join(".");
    return at === undefined || at === "" ? message : `${at}: ${message}`;
  });
  return new TroupeError("invalid_argument", `${what} is not valid: ${issues.join("; ")}`, { started: "no" });
}

interface StateDefinition {
  version?: number;
  upcast?(stored: unknown, version: number): unknown;
  schema?: StandardSchemaV1;
}

/** Stored state in today's shape. Throws when it cannot be brought there. */
export function currentState(
  definition: StateDefinition | undefined,
  stored: Pick<Envelope, "schema" | "state">,
): unknown {
  const version = definition?.version ?? 1;
  let { state } = stored;
  if (stored.schema > version) {
    throw new Error(`its state has version ${stored.schema}, and this code knows versions up to ${version}`);
  }
  if (stored.schema < version) {
    if (definition?.upcast === undefined) {
      throw new Error(`its state has version ${stored.schema}, and there is no upcast to version ${version}`);
    }
    state = definition.upcast(state, stored.schema);
  }
  if (definition?.schema === undefined) return state;
  const checked = validated(definition.schema, state, "its stored state");
  if (checked instanceof TroupeError) throw checked;
  return checked;
}
