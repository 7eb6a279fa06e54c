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
  /* Guard: a renewal that was counted before this node's record is back proves nothing about the record. */
#ifndef REVIVE_BEFORE_RESTORE
  :: reassertion[n] != SAME -> skip
#endif
  :: else ->
#ifdef STAMP_WHEN_ANSWERED
    lease[n] = LEASE
#else
    if
    :: LEASE - counted_age[n] > lease[n] -> lease[n] = LEASE - counted_age[n]
    :: else -> skip
    fi
#endif
  fi;
  counted[n] = 0;
  counted_age[n] = 0
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
  counted[n] = 0;
  counted_age[n] = 0;
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

/* Guard: a claim of a former life, or one that was asked of a store that is gone, makes nobody an owner; nor does a death
   that was read there allow a takeover here. */
#ifdef STALE_CLAIMS
#define IN_TIME(n) true
#else
#define IN_TIME(n) (claim_by[n] == self[n] && claim_generation[n] == generation)
#endif

/* Somebody owns it: I do (my worker died, or an answer was lost), or a dead one does by a membership read after the
   record; or it is elsewhere, and there is nothing to do. */
inline hear_owned(n) {
  if
  :: got_incarnation[n] == self[n] -> ask(n, self[n], got_epoch[n])
  :: got_incarnation[n] != self[n] && (!REACHES(n) || !IN_TIME(n)) -> end_claim(n)
  :: else ->
#ifdef FRAMES
    for (i : 1 .. joined) {
      if
      :: member[i] == DEAD -> known_dead[n] = known_dead[n] | ONE(i)
      :: else
      fi
    }
#endif
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
  :: !IN_TIME(n) || !REACHES(n) -> skip
  :: else ->
    running[n] = got_epoch[n];
    held[n] = got_version[n];
    memory[n] = got_state[n];
#ifdef FRAMES
    if
    :: from_incarnation[n] != 0 && from_incarnation[n] != self[n] -> seized[n] = seized[n] | ONE(from_incarnation[n])
    :: else -> skip
    fi
#endif
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
  assert(running[n] == placed);
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
  late_effect = claim_effect[n]; late_claim_generation = claim_generation[n]
}

/* Stands at the end of a fault. If it hit an owner that had not written back what a reset lost, that is gone: two faults
   at once are not covered. */
inline second_fault(n) {
  if
  :: !settled && !REACHES(n) -> forget()
  :: else -> skip
  fi
}

inline crash(n) {
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
  lease[n] = 0; lost[n] = 0; counted[n] = 0; counted_age[n] = 0;
  declaring[n] = 0;
#ifdef FRAMES
  known_dead[n] = 0; seized[n] = 0;
#endif
  reassertion[n] = SAME; slow[n] = 0;
  second_fault(n)
}

/* An incarnation whose process is gone: two connections to its address were refused. */
#if NODES > 2
#define RUNS(who) ((self[0] == who && mode[0] != DOWN) || (self[1] == who && mode[1] != DOWN) || (self[2] == who && mode[2] != DOWN))
#else
#define RUNS(who) ((self[0] == who && mode[0] != DOWN) || (self[1] == who && mode[1] != DOWN))
#endif
#ifdef NO_DECLARATIONS
#define DECLARES(n, who) false
#else
#define DECLARES(n, who) \
  (mode[n] == UP && lease[n] > 0 && REACHES(n) && declaring[n] == 0 && self[n] != who && member[who] == ALIVE && \
   (quiet[who] == SILENCE || !RUNS(who)))
#endif
