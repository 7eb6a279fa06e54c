/*
 * The store's verbs, each in one step, in the order of the rules in runtime/coordinator/redis/*_scripts.ts and
 * membership.ts. A request of another generation is never executed: its sender waits until it has re-asserted itself.
 */

inline store_renew(n) {
  quiet[self[n]] = 0;
#ifndef DECLARE_WITHOUT_COMPARE
  /* Compare-and-set: whoever observed the counter before this observed another one. */
  for (i : 0 .. NODES - 1) {
    if
    :: declaring[i] == self[n] -> declaring[i] = 0
    :: else
    fi
  }
#endif
  counted[n] = 1;
  counted_age[n] = 0
}

inline store_declare(n) {
  if
  :: settled && member[declaring[n]] == ALIVE ->
    /* Promise: an incarnation is declared dead at most once. */
    assert(!(declared & ONE(declaring[n])));
    declared = declared | ONE(declaring[n]);
    member[declaring[n]] = DEAD;
    quiet[declaring[n]] = 0
  :: else
  fi;
  declaring[n] = 0
}

inline store_join(n) {
  joined++;
  self[n] = joined;
  member[joined] = ALIVE;
  quiet[joined] = 0
}

/* An owner is replaced: it must be dead, or the claimer itself, or nobody. */
inline hand_over(by) {
  /* Promise: what was acknowledged is in what the next owner starts from. */
  assert(WITHIN(acknowledged, state));
  newest++;
  placed = newest;
  epoch = newest;
  owner = by
}

inline store_claim(n) {
  if
#ifndef NO_OPERATION_IDS
  :: claim_effect[n] != 0 ->
    claim[n] = CLAIMED; got_epoch[n] = claim_effect[n]; got_version[n] = version; got_state[n] = state
#endif
  :: else ->
    if
    :: owner != 0 && !(owner == from_incarnation[n] && epoch == from_epoch[n]) ->
      /* Promise: the replay of a claim that took effect is told so. */
      assert(claim_effect[n] == 0);
      claim[n] = OWNED; got_incarnation[n] = owner; got_epoch[n] = epoch
#ifndef CLAIM_DURING_HOLD
    :: !(owner != 0 && !(owner == from_incarnation[n] && epoch == from_epoch[n])) && !settled -> end_claim(n)
#endif
    :: else ->
      /* Promise: one operation, one effect. */
      assert(claim_effect[n] == 0);
      hand_over(claim_by[n]);
      claim_effect[n] = epoch;
      claim[n] = CLAIMED; got_epoch[n] = epoch; got_version[n] = version; got_state[n] = state
    fi
  fi
}

inline store_late_claim() {
  if
  :: late_claim_generation != generation -> skip
#ifndef NO_OPERATION_IDS
  :: late_effect != 0 -> skip
#endif
  :: owner != 0 && !(owner == late_from_incarnation && epoch == late_from_epoch) -> skip
  :: !settled || newest == EPOCHS -> skip
  :: else ->
    assert(late_effect == 0);
    hand_over(late_claim_by)
  fi
  late_claim_by = 0; late_from_incarnation = 0; late_from_epoch = 0; late_effect = 0; late_claim_generation = 0
}

/* The write itself, once owner and version were found to be right. */
inline write(by_epoch, op, what) {
  /* Promise: only the commits of the activation that was placed last are accepted; a fenced one's never. */
  assert(by_epoch == placed);
  /* Promise: nothing acknowledged is overwritten. */
  assert(WITHIN(acknowledged, what));
  /* Promise: one operation, one effect. */
  assert(!(effects & ONE(op)));
  effects = effects | ONE(op);
  version++;
  state = what;
  last_commit = op + 1;
  last_version = version
}

#ifdef NO_OPERATION_IDS
#define IS_REPLAY(op) false
#else
#define IS_REPLAY(op) (last_commit == (op) + 1)
#endif
#ifdef NO_COMMIT_FENCE
#define IS_OWNER(by, by_epoch) true
#else
#define IS_OWNER(by, by_epoch) (owner == (by) && epoch == (by_epoch))
#endif

inline store_commit(n) {
  commit_generation[n] = generation;
  if
  :: IS_REPLAY(commit_op[n]) -> commit[n] = COMMITTED; commit_version[n] = last_version
  :: !IS_REPLAY(commit_op[n]) && !IS_OWNER(commit_by[n], commit_epoch[n]) -> commit[n] = FENCED
  :: else ->
    if
    :: version != commit_version[n] ->
      /* Promise: the owner is never told that a commit of its own, which took effect, was refused. */
      assert(!(effects & ONE(commit_op[n])));
      commit[n] = CONFLICT
    :: else ->
      write(commit_epoch[n], commit_op[n], commit_state[n]);
      commit[n] = COMMITTED;
      commit_version[n] = version
    fi
  fi
}

inline store_late_commit() {
  if
  :: late_commit_generation == generation && !IS_REPLAY(late_commit_op) &&
     IS_OWNER(late_commit_by, late_commit_epoch) && version == late_commit_version ->
    write(late_commit_epoch, late_commit_op, late_commit_state)
  :: else -> skip
  fi
  late_commit_by = 0; late_commit_epoch = 0; late_commit_version = 0; late_commit_state = 0; late_commit_op = 0;
  late_commit_generation = 0
}

inline store_release(n) {
  if
  :: owner == self[n] && epoch == running[n] -> owner = 0
  :: else -> skip
  fi
}

/* After a reset: an owner writes back its record where nothing newer stands; otherwise it has lost the actor. */
inline store_restore(n) {
  if
  :: running[n] == 0 -> skip
  :: running[n] != 0 && (member[self[n]] != ALIVE || epoch > running[n] || (epoch == running[n] && owner != self[n] && owner != 0)) ->
    drop(n)
  /* Guard: once the generation has settled, what stands in it is not pushed aside any more, not even by a newer epoch. */
#ifndef RESTORE_OVER_SETTLED
  :: running[n] != 0 && settled && epoch != 0 && epoch < running[n] -> drop(n)
#endif
  :: else ->
    if
    :: held[n] > 0 && (epoch != running[n] || held[n] > version) -> version = held[n]; state = memory[n]; last_commit = 0
    :: else -> skip
    fi
    owner = self[n];
    epoch = running[n];
    if
    :: settled -> placed = epoch
    :: else -> skip
    fi
  fi
}

inline store_reset() {
  generation = 1 - generation;
  settled = 0;
  hold = 0;
  for (i : 1 .. INCARNATIONS) { member[i] = ABSENT; quiet[i] = 0 }
  owner = 0; epoch = 0; version = 0; state = 0; last_commit = 0; last_version = 0;
  effects = 0; declared = 0;
  for (i : 0 .. NODES - 1) { slow[i] = (mode[i] == FROZEN) }
  forget()
}

/* What no activation holds is gone with the store's data, and so is the claim on its epoch: the store's own durability
   is not the protocol's. */
inline forget() {
  placed = 0;
  for (i : 0 .. NODES - 1) {
    if
    :: running[i] > placed && !lost[i] && !dropping[i] -> placed = running[i]; kept = (mode[i] == UP -> memory[i] : 0)
    :: else
    fi
  }
  acknowledged = acknowledged & kept;
  kept = 0
}

inline store_settle() {
  settled = 1;
  hold = 0;
  placed = epoch
}
