/**
 * Version skew: nodes of one cluster that do not run the same code. Two adjacent versions of Troupe work together, and so
 * do nodes with different actor kinds (a kind is only placed where it is known). What goes wrong unseen is one kind with
 * two versions of its state: the older code refuses state that the newer one stored, until every node has the newer. So
 * it is told, once for each node.
 */
import type { NodeRecord } from "../coordinator/contract.ts";

type Versions = Pick<NodeRecord, "version" | "kinds" | "stateVersions">;

/** How `other` differs from `self`, as sentences; none: it does not. */
export function skewBetween(self: Versions, other: Versions): string[] {
  const found: string[] = [];
  if (other.version !== self.version) found.push(`it runs Troupe ${other.version}, this node ${self.version}`);
  for (const kind of self.kinds) {
    if (!other.kinds.includes(kind)) continue;
    const [mine, theirs] = [self.stateVersions?.[kind] ?? 1, other.stateVersions?.[kind] ?? 1];
    if (mine === theirs) continue;
    const older = mine < theirs ? "this node" : "it";
    found.push(
      `its state of kind "${kind}" has version ${theirs}, this node's ${mine}: ${older} cannot activate what the other stored`,
    );
  }
  return found;
}
