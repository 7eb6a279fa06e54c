/**
 * What is checked with which bounds. A check is the model with some macros set; an ablation is one with a guard of the
 * protocol removed, and names the promise that must then be found broken.
 */

/** A promise, as the text of its assertion in the model; see README.md. */
export const PROMISES = {
  oneOwner: "running[n]==placed",
  fencedCommit: "commit_epoch[n]==placed",
  nothingLost: "acknowledged& ~(state)",
  firstAnswer: "effects&(1<<commit_op[n])",
  staleFrame: "seized[n]&(1<<frame_by)",
  ownerAgain: "acceptance cycle",
} as const;

export interface Check {
  name: string;
  macros: readonly string[];
  /** Checks the LTL formula, not only assertions. */
  liveness?: boolean;
}

export interface Ablation extends Check {
  breaks: keyof typeof PROMISES;
}

const NO_FAULTS = ["FREEZES=0", "CRASHES=0", "WORKER_DEATHS=0", "RESETS=0", "LOSSES=0", "RELEASES=0"];

/** Of macros with the same name the last one counts. */
function check(name: string, ...macros: string[]): Check {
  const last = new Map([...NO_FAULTS, ...macros].map((macro) => [macro.split("=")[0], macro]));
  return { name, macros: [...last.values()] };
}

function live(name: string, ...macros: string[]): Check {
  return { ...check(name, ...macros), liveness: true };
}

const WORKER = ["INCARNATIONS=2", "EPOCHS=3", "WORKER_DEATHS=1", "RELEASES=1", "LOSSES=1"];
const SILENCE = ["INCARNATIONS=3", "EPOCHS=2", "COMMITS=1", "FREEZES=1"];
const RESET = ["INCARNATIONS=2", "EPOCHS=2", "COMMITS=1", "RESETS=1"];
const THREE = ["NODES=3", "INCARNATIONS=3", "EPOCHS=2"];
const OWNER_AGAIN = ["LIVENESS", "INCARNATIONS=4", "COMMITS=0", "FREEZES=1"];

/** The whole protocol: no promise is broken. */
export const CHECKS: readonly Check[] = [
  check("a node freezes", "INCARNATIONS=3", "EPOCHS=2", "COMMITS=2", "FREEZES=1"),
  check("a node crashes", "INCARNATIONS=3", "EPOCHS=2", "COMMITS=1", "CRASHES=1"),
  check("frames of a node that crashes", "INCARNATIONS=3", "EPOCHS=2", "COMMITS=0", "CRASHES=1", "FRAMES"),
  check("a worker dies, an actor is given up, an answer is lost", ...WORKER, "COMMITS=1"),
  check("the store is emptied and a node freezes", ...RESET, "FREEZES=1"),
  check("three nodes", ...THREE, "COMMITS=0"),
  live("some node owns the actor again after the last fault", ...OWNER_AGAIN, "EPOCHS=6", "CRASHES=1"),
];

/** Larger bounds, up to minutes and gigabytes each; with `MODEL_DEEP=1`. */
export const DEEP_CHECKS: readonly Check[] = [
  check("deep: a node freezes, three epochs", "INCARNATIONS=3", "EPOCHS=3", "COMMITS=2", "FREEZES=1"),
  check("deep: a node freezes, an answer is lost", ...SILENCE, "COMMITS=2", "LOSSES=1"),
  check("deep: a node crashes, with frames", "INCARNATIONS=3", "EPOCHS=3", "COMMITS=1", "CRASHES=1", "FRAMES"),
  check("deep: a worker dies, an actor is given up, an answer is lost", ...WORKER, "COMMITS=2"),
  check("deep: the store is emptied, an answer is lost", ...RESET, "COMMITS=2", "LOSSES=1"),
  check("deep: the store is emptied, a worker dies", ...RESET, "WORKER_DEATHS=1"),
  check("deep: the store is emptied, a node freezes and joins again", ...RESET, "FREEZES=1", "INCARNATIONS=3"),
  check("deep: the store is emptied, a node crashes", ...RESET, "CRASHES=1", "INCARNATIONS=3"),
  check("deep: three nodes", ...THREE, "COMMITS=1"),
  live("deep: some node owns the actor again after a reset", ...OWNER_AGAIN, "EPOCHS=5", "RESETS=1"),
];

function ablation(guard: string, breaks: Ablation["breaks"], ...macros: string[]): Ablation {
  return { ...check(guard, ...macros, guard), breaks };
}

/** The protocol without one of its guards: a promise is broken. */
export const ABLATIONS: readonly Ablation[] = [
  ablation("NO_LEASE_CHECK", "oneOwner", ...SILENCE),
  ablation("NO_COMMIT_FENCE", "fencedCommit", ...SILENCE),
  ablation("NO_INCARNATION_CHECK", "staleFrame", ...SILENCE, "FRAMES"),
  ablation("TAKEOVER_WITHOUT_DECLARATION", "oneOwner", ...SILENCE),
  ablation("CLAIM_DURING_HOLD", "nothingLost", ...RESET),
  ablation("NO_OPERATION_IDS", "firstAnswer", ...SILENCE, "FREEZES=0", "LOSSES=1"),
  ablation("DECLARE_WITHOUT_COMPARE", "oneOwner", ...SILENCE),
  ablation("STAMP_WHEN_ANSWERED", "oneOwner", ...SILENCE),
  ablation("REVIVE_BEFORE_DROP", "oneOwner", ...SILENCE),
  ablation("STALE_CLAIMS", "oneOwner", ...SILENCE),
  ablation("REVIVE_BEFORE_RESTORE", "oneOwner", ...RESET, "FREEZES=1"),
  ablation("RETURN_UNSETTLED", "oneOwner", ...RESET, "FREEZES=1"),
  ablation("RESTORE_OVER_SETTLED", "oneOwner", ...RESET, "FREEZES=1"),
  { ...ablation("NO_DECLARATIONS", "ownerAgain", ...OWNER_AGAIN, "EPOCHS=5"), liveness: true },
];
