/**
 * Actor definitions, loaded by URL in every thread that runs them: a function cannot cross a thread, a module can be
 * loaded anywhere. The router is told only what it must know of a kind, as plain data.
 */
import type { PlacementPolicy } from "../actor/define.ts";
import type { RunnableDefinition } from "../actor/host.ts";
import { importModule } from "./spawn.ts";

/** A kind as a worker reports it to the router. */
export interface KindReport {
  kind: string;
  placement: PlacementPolicy;
  requireState: boolean;
  /** Version of its state's shape. */
  stateVersion: number;
}

/** The actor definitions among a module's exports. */
export function definitionsOf(module: unknown): RunnableDefinition[] {
  if (typeof module !== "object" || module === null) return [];
  return Object.values(module).filter(
    (value): value is RunnableDefinition =>
      typeof value === "object" &&
      value !== null &&
      "kind" in value &&
      "shapes" in value &&
      value.shapes instanceof Map,
  );
}

/** Loads modules and collects what they define. Rejects naming the module that fails or says a kind twice. */
export async function loadDefinitions(modules: readonly string[]): Promise<Map<string, RunnableDefinition>> {
  const definitions = new Map<string, RunnableDefinition>();
  for (const url of modules) {
    const found = definitionsOf(await importModule(new URL(url)));
    if (found.length === 0) throw new Error(`${url} exports no actor: export the result of defineActor`);
    for (const definition of found) {
      const known = definitions.get(definition.kind);
      if (known !== undefined && known !== definition) {
        throw new Error(`${url} defines actor kind "${definition.kind}", which another module defines already`);
      }
      definitions.set(definition.kind, definition);
    }
  }
  return definitions;
}

/** What the router is told of definitions. */
export function kindsOf(definitions: ReadonlyMap<string, RunnableDefinition>): KindReport[] {
  return [...definitions.values()].map(({ kind, placement, state }) => ({
    kind,
    placement,
    requireState: state?.required ?? false,
    stateVersion: state?.version ?? 1,
  }));
}
