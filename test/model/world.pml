/* The processes: one per node, with its requests on the network and the faults that hit it; and time and the store. */

#ifdef LIVENESS
#define RENEWS(n) (!renewed[n])
#define ASKS(n) (!asked[n])
#define DID_RENEW(n) renewed[n] = 1
#define DID_ASK(n) asked[n] = 1
#define DECLARES_NOW(n, who) (DECLARES(n, who) && settled)
#else
#define RENEWS(n) true
#define ASKS(n) true
#define DID_RENEW(n) skip
#define DID_ASK(n) skip
#define DECLARES_NOW(n, who) DECLARES(n, who)
#endif

proctype Node(byte n) {
  byte i;
  do
  /* Lease. */
  :: d_step { mode[n] == UP && !lost[n] && renewal[n] == IDLE && (lease[n] < LEASE || quiet[self[n]] > 0) && RENEWS(n) ->
      renewal[n] = SENT; DID_RENEW(n) }
  :: d_step { renewal[n] == SENT && (REACHES(n) || reassertion[n] != SAME) -> store_renew(n) }
  :: d_step { mode[n] == UP && (renewal[n] == COUNTED || renewal[n] == REFUSED) -> hear_renewal(n) }
  :: d_step { renewal[n] == COUNTED && !CALM -> renewal[n] = IDLE; renewal_age[n] = 0 }
  :: d_step { CALM && renewal[n] == SENT && !REACHES(n) && reassertion[n] == SAME -> renewal[n] = IDLE; renewal_age[n] = 0 }

  /* Deaths of others. */
  :: d_step { DECLARES_NOW(n, 1) -> declare(n, 1) }
  :: d_step { DECLARES_NOW(n, 2) -> declare(n, 2) }
#if INCARNATIONS > 2
  :: d_step { DECLARES_NOW(n, 3) -> declare(n, 3) }
#endif
#if INCARNATIONS > 3
  :: d_step { DECLARES_NOW(n, 4) -> declare(n, 4) }
#endif
  :: d_step { declaration[n] == SENT && REACHES(n) -> store_declare(n) }
  :: d_step { declaration[n] == SENT && !REACHES(n) -> declaration[n] = IDLE; declared_who[n] = 0; counter_same[n] = 0 }

  /* Its own death, and the next life. */
  :: d_step { mode[n] == UP && (lost[n] || dropping[n]) && running[n] != 0 -> drop(n) }
#ifdef REVIVE_BEFORE_DROP
  :: d_step { mode[n] == UP && lost[n] && joined < INCARNATIONS -> rejoin(n) }
#else
  :: d_step { mode[n] == UP && lost[n] && running[n] == 0 && joined < INCARNATIONS -> rejoin(n) }
#endif

  /* After a reset. */
  :: d_step { mode[n] == UP && !lost[n] && !REACHES(n) && reassertion[n] == SAME -> readmit(n) }
  :: d_step { mode[n] == UP && !lost[n] && (reassertion[n] == READMITTED || (reassertion[n] == WAITING && settled)) -> restore(n) }

  /* Placement. */
  :: d_step { mode[n] == UP && running[n] == 0 && claim[n] == IDLE && newest < EPOCHS && REACHES(n) && ASKS(n) ->
      ask(n, 0, 0); DID_ASK(n) }
  :: d_step { claim[n] == SENT && REACHES(n) && newest < EPOCHS -> store_claim(n) }
  :: d_step { mode[n] == UP && claim[n] == OWNED -> hear_owned(n) }
  :: d_step { mode[n] == UP && claim[n] == CLAIMED -> hear_claimed(n) }
  :: d_step { claim[n] == SENT && !REACHES(n) -> end_claim(n) }
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
  :: d_step { commit[n] > SENT && losses > 0 && !CALM -> losses--; commit[n] = SENT; commit_version[n] = held[n] }
  :: d_step { claim[n] == CLAIMED && losses > 0 && !CALM ->
      losses--; claim[n] = SENT; got_epoch[n] = 0; got_version[n] = 0; got_state[n] = 0 }
  :: d_step { mode[n] == UP && commit[n] == SENT && losses > 0 && late_commit_by == 0 && !CALM -> losses--; straggle_commit(n) }
  :: d_step { mode[n] == UP && commit[n] == SENT && losses > 0 && late_commit_by == 0 && !CALM ->
      losses--; straggle_commit(n); end_commit(n); turn[n] = 0 }
  :: d_step { mode[n] == UP && claim[n] == SENT && losses > 0 && late_claim_by == 0 && !CALM ->
      losses--; straggle_claim(n); end_claim(n) }
  :: d_step { mode[n] == UP && freezes > 0 && !CALM ->
      freezes--; mode[n] = FROZEN; second_fault(n); slow[n] = slow[n] || !REACHES(n) }
  :: d_step { mode[n] == FROZEN && !CALM -> mode[n] = UP }
  :: d_step { mode[n] == UP && running[n] != 0 && worker_deaths > 0 && !CALM -> worker_deaths--; second_fault(n); drop(n) }
  :: d_step { mode[n] != DOWN && crashes > 0 && !CALM -> crashes--; crash(n) }
  :: d_step { mode[n] == DOWN && joined < INCARNATIONS && !CALM -> mode[n] = UP; rejoin(n) }
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
    :: renewal[i] != IDLE && renewal_age[i] < LEASE -> renewal_age[i]++
    :: else
    fi;
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
  byte i;
  bit claimless;
  d_step {
    for (i : 0 .. NODES - 1) {
      joined++; self[i] = joined; member[joined] = ALIVE; lease[i] = LEASE
    }
    i = 0
  }
  atomic { for (i : 0 .. NODES - 1) { run Node(i) } i = 0 }
  do
#ifdef LIVENESS
  :: d_step { !calm && TIME_MAY_PASS -> tick(); i = 0 }
  :: calm && timeout -> d_step { tick(); i = 0 }
  :: d_step { !calm && (mode[0] == UP || mode[1] == UP) -> calm = 1 }
#else
  :: d_step { TIME_MAY_PASS -> tick(); i = 0 }
#endif
  :: d_step { !settled && hold == SILENCE -> settled = 1; hold = 0 }
  :: d_step { resets > 0 && !CALM -> resets--; store_reset(); i = 0 }
  :: d_step { late_commit_by != 0 -> store_late_commit() }
  :: d_step { late_claim_by != 0 -> store_late_claim() }
  od
}
