/*
 * What a node does: its lease, its judgement of others, its claims, its turns and commits, its way back after a declared
 * death and after a reset of the store (runtime/placement, runtime/actor/activation.ts, runtime/node.ts).
 */

#define REACHES(n) (known_generation[n] == generation)

/* The activation is gone, with the turn it ran. A commit on its way stays on its way. */
inline drop(n) {
  running[n] = 0; held[n] = 0; memory[n] = 0; turn[n] = 0; dropping[n] = 0
}

inline end_claim(n) {
  claim[n] = IDLE; claim_by[n] = 0; claim_generation[n] = 0; claim_effect[n] = 0;
  from_incarnation[n] = 0; from_epoch[n] = 0;
  got_incarnation[n] = 0; got_epoch[n] = 0; got_version[n] = 0; got_state[n] = 0
}

inline end_commit(n) {
  commit[n] = IDLE; commit_by[n] = 0; commit_epoch[n] = 0; commit_version[n] = 0; commit_state[n] = 0;
  commit_op[n] = 0; commit_generation[n] = 0
}

/* ---- Lease ---- */

inline hear_renewal(n) {
  if
  :: renewal[n] == REFUSED -> lost[n] = 1; lease[n] = 0
  /* Guard: a renewal that was counted before this node's record is back proves nothing about the record. */
#ifndef REVIVE_BEFORE_RESTORE
  :: renewal[n] == COUNTED && reassertion[n] != SAME -> skip
#endif
  :: else ->
#ifdef STAMP_WHEN_ANSWERED
    lease[n] = LEASE
#else
    if
    :: LEASE - renewal_age[n] > lease[n] -> lease[n] = LEASE - renewal_age[n]
    :: else -> skip
    fi
#endif
  fi;
  renewal[n] = IDLE;
  renewal_age[n] = 0
}

/* ---- Another life ---- */

inline rejoin(n) {
  /* Guard: the new incarnation's lease may not revive what the old one ran. */
#ifdef REVIVE_BEFORE_DROP
  dropping[n] = (running[n] != 0);
#endif
  store_join(n);
  lost[n] = 0;
  lease[n] = LEASE;
  renewal[n] = IDLE;
  renewal_age[n] = 0;
  reassertion[n] = SAME;
  known_generation[n] = generation;
  slow[n] = 0
}

inline readmit(n) {
  if
  :: member[self[n]] == DEAD -> drop(n); known_generation[n] = generation; slow[n] = 0
  :: else ->
    if
    :: member[self[n]] == ABSENT -> member[self[n]] = ALIVE; quiet[self[n]] = 0
    :: else -> skip
    fi;
    reassertion[n] = READMITTED
  fi
}

inline restore(n) {
  store_restore(n);
  slow[n] = 0;
  if
  /* Guard: the reset may have swallowed this node's declared death, so its record counts only if nobody brought back a
     newer one in the whole hold. A lease that still runs is proof that it was not declared. */
#ifndef RETURN_UNSETTLED
  :: lease[n] == 0 && !settled && running[n] != 0 -> reassertion[n] = WAITING
#endif
  :: else -> reassertion[n] = SAME; known_generation[n] = generation
  fi
}

/* ---- Placement ---- */

inline ask(n, other, other_epoch) {
  claim[n] = SENT;
  claim_by[n] = self[n];
  claim_generation[n] = generation;
  claim_effect[n] = 0;
  from_incarnation[n] = other;
  from_epoch[n] = other_epoch;
  got_incarnation[n] = 0; got_epoch[n] = 0; got_version[n] = 0; got_state[n] = 0
}

/* Somebody owns it: I do (my worker died, or an answer was lost), or a dead one does by a membership read after the
   record; or it is elsewhere, and there is nothing to do. */
inline hear_owned(n) {
  if
  :: got_incarnation[n] == self[n] -> ask(n, self[n], got_epoch[n])
  :: got_incarnation[n] != self[n] && !REACHES(n) -> end_claim(n)
  :: else ->
    for (i : 1 .. joined) {
      if
      :: member[i] == DEAD -> known_dead[n] = known_dead[n] | ONE(i)
      :: else
      fi
    }
    if
#ifndef TAKEOVER_WITHOUT_DECLARATION
    :: member[self[n]] != ALIVE || member[got_incarnation[n]] == ALIVE -> end_claim(n)
#endif
    :: else -> ask(n, got_incarnation[n], got_epoch[n])
    fi
  fi
}

inline hear_claimed(n) {
  if
  /* Guard: an answer to a former life, or from a store that is gone, makes nobody an owner. */
#ifndef STALE_CLAIM_ANSWERS
  :: claim_by[n] != self[n] || claim_generation[n] != generation || !REACHES(n) -> skip
#endif
  :: else ->
    running[n] = got_epoch[n];
    held[n] = got_version[n];
    memory[n] = got_state[n];
    if
    :: from_incarnation[n] != 0 && from_incarnation[n] != self[n] -> seized[n] = seized[n] | ONE(from_incarnation[n])
    :: else -> skip
    fi
  fi;
  end_claim(n)
}

/* ---- Turns ---- */

#ifdef NO_LEASE_CHECK
#define MAY_RUN(n) true
#else
#define MAY_RUN(n) (lease[n] > 0)
#endif

inline begin_turn(n) {
  /* Promise: one effective owner. Nobody begins a turn but the activation that was placed last. */
  assert(running[n] == newest);
  turn[n] = 1
}

inline begin_commit(n) {
  memory[n] = memory[n] | ONE(operations);
  commit[n] = SENT;
  commit_by[n] = self[n];
  commit_epoch[n] = running[n];
  commit_version[n] = held[n];
  commit_state[n] = memory[n];
  commit_op[n] = operations;
  operations++
}

inline hear_commit(n) {
  if
  :: running[n] == commit_epoch[n] ->
    if
    :: commit[n] == COMMITTED ->
      held[n] = commit_version[n];
      turn[n] = 0;
      /* What a lost store had committed is only safe once it is written back, which the restore does. */
      if
      :: commit_generation[n] == generation -> acknowledged = acknowledged | commit_state[n]
      :: else -> skip
      fi
    :: else -> drop(n)
    fi
  :: else -> skip
  fi;
  end_commit(n)
}

inline straggle_commit(n) {
  late_commit_by = commit_by[n]; late_commit_epoch = commit_epoch[n]; late_commit_version = commit_version[n];
  late_commit_state = commit_state[n]; late_commit_op = commit_op[n]; late_commit_generation = known_generation[n]
}

inline straggle_claim(n) {
  late_claim_by = claim_by[n]; late_from_incarnation = from_incarnation[n]; late_from_epoch = from_epoch[n];
  late_effect = claim_effect[n]; late_claim_generation = known_generation[n]
}

/* A second fault hits an owner that has not written back what a reset lost: not covered. */
inline second_fault(n) {
  if
  :: !REACHES(n) && running[n] == newest -> acknowledged = 0
  :: else -> skip
  fi
}

inline crash(n) {
  second_fault(n);
  if
  :: commit[n] == SENT && late_commit_by == 0 -> straggle_commit(n)
  :: else -> skip
  fi;
  if
  :: claim[n] == SENT && late_claim_by == 0 -> straggle_claim(n)
  :: else -> skip
  fi;
  drop(n); end_claim(n); end_commit(n);
  mode[n] = DOWN;
  lease[n] = 0; lost[n] = 0; renewal[n] = IDLE; renewal_age[n] = 0;
  declaration[n] = IDLE; declared_who[n] = 0; counter_same[n] = 0;
  known_dead[n] = 0; seized[n] = 0; reassertion[n] = SAME; slow[n] = 0
}

/* An incarnation whose process is gone: two connections to its address were refused. */
#if NODES > 2
#define RUNS(who) ((self[0] == who && mode[0] != DOWN) || (self[1] == who && mode[1] != DOWN) || (self[2] == who && mode[2] != DOWN))
#else
#define RUNS(who) ((self[0] == who && mode[0] != DOWN) || (self[1] == who && mode[1] != DOWN))
#endif
#define DECLARES(n, who) \
  (mode[n] == UP && lease[n] > 0 && REACHES(n) && declaration[n] == IDLE && self[n] != who && member[who] == ALIVE && \
   (quiet[who] == SILENCE || !RUNS(who)))

inline declare(n, who) {
  declaration[n] = SENT; declared_who[n] = who; counter_same[n] = 1
}
