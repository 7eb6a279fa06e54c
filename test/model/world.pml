/* The processes: one per node, with its requests on the network and the faults that hit it; and time and the store. */

#ifdef LIVENESS
#define RENEWS(n) (!renewed[n])
#define ASKS(n) (!asked[n] && !(calm && lost[n]))
#define DID_RENEW(n) renewed[n] = 1
#define DID_ASK(n) asked[n] = 1
#define DECLARES_NOW(n, who) (DECLARES(n, who) && settled)
/* What is left for the calm: two epochs and an incarnation for each node. */
#define EPOCH_LEFT (newest < (calm -> EPOCHS : EPOCHS - 2 * NODES))
#define INCARNATION_LEFT (joined < (calm -> INCARNATIONS : INCARNATIONS - NODES))
#else
#define RENEWS(n) true
#define ASKS(n) true
#define DID_RENEW(n) skip
#define DID_ASK(n) skip
#define DECLARES_NOW(n, who) DECLARES(n, who)
#define EPOCH_LEFT (newest < EPOCHS)
#define INCARNATION_LEFT (joined < INCARNATIONS)
#endif

proctype Node(byte n) {
  do
  /* Lease: counted while it runs, or heard of its death. */
  :: d_step { mode[n] == UP && !lost[n] && !counted[n] && member[self[n]] == ALIVE && (REACHES(n) || reassertion[n] != SAME) &&
      (lease[n] < LEASE || quiet[self[n]] > 0) && RENEWS(n) -> store_renew(n); DID_RENEW(n) }
  :: d_step { mode[n] == UP && counted[n] -> hear_renewal(n) }
  :: d_step { mode[n] == UP && !lost[n] && member[self[n]] == DEAD && (REACHES(n) || reassertion[n] != SAME) ->
      lost[n] = 1; lease[n] = 0; counted[n] = 0; counted_age[n] = 0 }

  /* Deaths of others. */
  :: d_step { DECLARES_NOW(n, 1) -> declaring[n] = 1 }
  :: d_step { DECLARES_NOW(n, 2) -> declaring[n] = 2 }
#if INCARNATIONS > 2
  :: d_step { DECLARES_NOW(n, 3) -> declaring[n] = 3 }
#endif
#if INCARNATIONS > 3
  :: d_step { DECLARES_NOW(n, 4) -> declaring[n] = 4 }
#endif
#if INCARNATIONS > 4
  :: d_step { DECLARES_NOW(n, 5) -> declaring[n] = 5 }
#endif
#if INCARNATIONS > 5
#error "declarations of more than five incarnations are not written out"
#endif
  :: d_step { declaring[n] != 0 && REACHES(n) -> store_declare(n) }
  :: d_step { declaring[n] != 0 && !REACHES(n) -> declaring[n] = 0 }

  /* Its own death, and the next life. */
  :: d_step { mode[n] == UP && (lost[n] || dropping[n]) && running[n] != 0 -> drop(n) }
#ifdef REVIVE_BEFORE_DROP
  :: d_step { mode[n] == UP && lost[n] && INCARNATION_LEFT -> rejoin(n) }
#else
  :: d_step { mode[n] == UP && lost[n] && running[n] == 0 && INCARNATION_LEFT -> rejoin(n) }
#endif

  /* After a reset. */
  :: d_step { mode[n] == UP && !lost[n] && !REACHES(n) && reassertion[n] == SAME -> readmit(n) }
  :: d_step { mode[n] == UP && !lost[n] && (reassertion[n] == READMITTED || (reassertion[n] == WAITING && settled)) -> restore(n) }

  /* Placement. */
  :: d_step { mode[n] == UP && running[n] == 0 && claim[n] == IDLE && EPOCH_LEFT && REACHES(n) && ASKS(n) ->
      ask(n, 0, 0); DID_ASK(n) }
  :: d_step { claim[n] == SENT && REACHES(n) && IN_TIME(n) && EPOCH_LEFT -> store_claim(n) }
  :: d_step { mode[n] == UP && claim[n] == OWNED -> hear_owned(n) }
  :: d_step { mode[n] == UP && claim[n] == CLAIMED -> hear_claimed(n) }
  :: d_step { claim[n] == SENT && (!REACHES(n) || !IN_TIME(n)) -> end_claim(n) }
  :: d_step { mode[n] == UP && running[n] != 0 && !turn[n] && commit[n] == IDLE && REACHES(n) && releases > 0 && !CALM ->
      releases--; store_release(n); drop(n) }

  /* Turns: one that only reads ends with a frame; one that writes with a commit. */
  :: d_step { mode[n] == UP && running[n] != 0 && !turn[n] && MAY_RUN(n) && !CALM -> begin_turn(n) }
  :: d_step { mode[n] == UP && turn[n] && commit[n] == IDLE -> turn[n] = 0 }
#ifdef FRAMES
  :: d_step { mode[n] == UP && turn[n] && commit[n] == IDLE && frame_by == 0 -> turn[n] = 0; frame_by = self[n] }
#endif
  :: d_step { mode[n] == UP && turn[n] && commit[n] == IDLE && !dropping[n] && operations < COMMITS && !CALM -> begin_commit(n) }
  :: d_step { commit[n] == SENT && REACHES(n) -> store_commit(n) }
  :: d_step { mode[n] == UP && commit[n] > SENT -> hear_commit(n) }

#ifdef FRAMES
  /* Guard: a frame of an incarnation that is known to be dead is refused. */
#ifdef NO_INCARNATION_CHECK
  :: d_step { mode[n] == UP && frame_by != 0 && frame_by != self[n] ->
#else
  :: d_step { mode[n] == UP && frame_by != 0 && frame_by != self[n] && !(known_dead[n] & ONE(frame_by)) ->
#endif
      /* Promise: who took an actor over from a dead one hears nothing more of it. */
      assert(!(seized[n] & ONE(frame_by)));
      frame_by = 0 }
  :: d_step { mode[n] == UP && frame_by != 0 && (known_dead[n] & ONE(frame_by)) -> frame_by = 0 }
#endif

  /* Faults. An answer is lost, and asked for again; a request is given up or asked twice, and arrives late. */
  :: d_step { commit[n] > SENT && losses > 0 && !CALM ->
      losses--; commit_version[n] = commit_version[n] - (commit[n] == COMMITTED); commit[n] = SENT }
  :: d_step { claim[n] == CLAIMED && losses > 0 && !CALM ->
      losses--; claim[n] = SENT; got_epoch[n] = 0; got_version[n] = 0; got_state[n] = 0 }
  :: d_step { mode[n] == UP && commit[n] == SENT && losses > 0 && late_commit_by == 0 && !CALM -> losses--; straggle_commit(n) }
  :: d_step { mode[n] == UP && commit[n] == SENT && losses > 0 && late_commit_by == 0 && !CALM ->
      losses--; straggle_commit(n); end_commit(n); turn[n] = 0 }
  :: d_step { mode[n] == UP && claim[n] == SENT && losses > 0 && late_claim_by == 0 && !CALM ->
      losses--; straggle_claim(n); end_claim(n) }
  :: d_step { mode[n] == UP && freezes > 0 && !CALM ->
      freezes--; mode[n] = FROZEN; slow[n] = slow[n] || !REACHES(n); second_fault(n) }
  :: d_step { mode[n] == FROZEN && !CALM -> mode[n] = UP }
  :: d_step { mode[n] == UP && running[n] != 0 && worker_deaths > 0 && !CALM -> worker_deaths--; drop(n); second_fault(n) }
  :: d_step { mode[n] != DOWN && crashes > 0 && !CALM -> crashes--; crash(n) }
  :: d_step { mode[n] == DOWN && INCARNATION_LEFT && !CALM -> mode[n] = UP; rejoin(n) }
  od
}

/* Timing assumption: a node that runs re-asserts itself before the hold ends. */
#define OVERDUE(n) (mode[n] == UP && !lost[n] && !slow[n] && !REACHES(n) && reassertion[n] != WAITING)
#if NODES > 2
#define ANY_OVERDUE (OVERDUE(0) || OVERDUE(1) || OVERDUE(2))
#else
#define ANY_OVERDUE (OVERDUE(0) || OVERDUE(1))
#endif
#define TIME_MAY_PASS (settled || hold + 1 != SILENCE || !ANY_OVERDUE)

inline tick() {
  for (i : 0 .. NODES - 1) {
    if
    :: lease[i] > 0 -> lease[i]--
    :: else
    fi;
    if
    :: counted[i] && counted_age[i] < LEASE -> counted_age[i]++
    :: else
    fi;
#ifndef STAMP_WHEN_ANSWERED
    if
    /* An answer that comes now is worth nothing. */
    :: counted_age[i] == LEASE -> counted[i] = 0; counted_age[i] = 0
    :: else
    fi;
#endif
#ifdef LIVENESS
    renewed[i] = 0;
    asked[i] = 0
#endif
  }
  for (i : 1 .. INCARNATIONS) {
    if
    :: member[i] == ALIVE && quiet[i] < SILENCE -> quiet[i]++
    :: else
    fi
  }
  if
  :: !settled && hold < SILENCE -> hold++
  :: else
  fi
}

active proctype World() {
  d_step {
    for (i : 0 .. NODES - 1) {
      joined++; self[i] = joined; member[joined] = ALIVE; lease[i] = LEASE
    }
  }
  atomic { for (i : 0 .. NODES - 1) { run Node(i) } }
  do
#ifdef LIVENESS
  :: d_step { !calm && TIME_MAY_PASS -> tick() }
  :: calm && timeout -> d_step { tick() }
  :: d_step { !calm && (mode[0] == UP || mode[1] == UP) -> calm = 1 }
#else
  :: d_step { TIME_MAY_PASS -> tick() }
#endif
  :: d_step { !settled && hold == SILENCE -> store_settle() }
  :: d_step { resets > 0 && !CALM -> resets--; store_reset() }
  :: d_step { late_commit_by != 0 -> store_late_commit() }
  :: d_step { late_claim_by != 0 -> store_late_claim() }
  od
}
