/*
 * The ownership protocol of one actor: who may run it, and whose writes count. README.md says what is left out, what the
 * bounds are, and what spin explored; model.test.ts runs it.
 *
 * NODES nodes and one store. A verb is a request that the store executes in one step at any later time, and an answer
 * that the node hears at any time after that; answers get lost and are asked for again, and requests of the dead or
 * impatient arrive late. A node is UP, FROZEN (time passes, nothing is done) or DOWN. Time is in ticks: an owner trusts
 * LEASE ticks from when a renewal of its own was counted, an observer waits SILENCE ticks from then. Every step of a node
 * is optional, so a slow node, a cut link, a late look and a lost request need no steps of their own.
 *
 * What must hold, as assertions where it could break (look for "Promise"), and one LTL formula (LIVENESS).
 * Each guard of the protocol stands in an #ifndef: the name removes it, and spin must then find an error.
 */
#ifndef NODES
#define NODES 2
#endif
/* Faults and commits per run. */
#ifndef FREEZES
#define FREEZES 1
#endif
#ifndef CRASHES
#define CRASHES 0
#endif
#ifndef WORKER_DEATHS
#define WORKER_DEATHS 0
#endif
#ifndef RESETS
#define RESETS 0
#endif
#ifndef LOSSES
#define LOSSES 0
#endif
#ifndef COMMITS
#define COMMITS 2
#endif
#ifndef RELEASES
#define RELEASES 0
#endif
/* Incarnations and epochs that may be handed out. */
#ifndef INCARNATIONS
#define INCARNATIONS 3
#endif
#ifndef EPOCHS
#define EPOCHS 3
#endif

#define LEASE 1
#define SILENCE 2

#define ONE(i) (1 << (i))
#define WITHIN(part, whole) (((part) & ~(whole)) == 0)

/* ---- The store ---- */

/* Membership by incarnation. The heartbeat counter itself is not needed: `quiet` is the time since it changed, and every
   declaration on its way ends when the counter changes, because it is not the one that was observed any more. */
#define ABSENT 0
#define ALIVE 1
#define DEAD 2
byte member[INCARNATIONS + 1];
byte quiet[INCARNATIONS + 1];
byte joined;        /* incarnations handed out */

/* Generation; in an unsettled one first claims and declarations are refused until `hold` reaches SILENCE. */
bit generation;
bit settled = 1;
byte hold;

/* The actor's record. State is a set of commits; `last_commit` remembers one operation with its version. */
byte owner;         /* incarnation; 0: nobody */
byte epoch;
byte version;
byte state;
byte last_commit;   /* operation + 1 */
byte last_version;
byte newest;        /* epochs handed out */

/* ---- Nodes ---- */

#define UP 0
#define FROZEN 1
#define DOWN 2
byte mode[NODES];
byte self[NODES];   /* incarnation */
byte lease[NODES];  /* ticks left; 0: parked */
bit lost[NODES];    /* was told that it is dead: drops its activation, then joins again */

#define IDLE 0
#define SENT 1
/* A renewal that was counted and whose answer is on its way, and since when. */
bit counted[NODES];
byte counted_age[NODES];

/* What it knows of the store's generation. */
#define SAME 0
#define READMITTED 1 /* its incarnation is back, its record is not */
#define WAITING 2    /* its record is back, but its lease had run out: wait until the generation settles, and look again */
bit known_generation[NODES];
byte reassertion[NODES];
bit slow[NODES];     /* was frozen since the reset, so it may miss the hold */

/* Whom its declaration on the way is about; 0: none. */
byte declaring[NODES];

/* The activation on the node's worker. `held` is the version it knows, `memory` its state with what is not committed. */
byte running[NODES]; /* epoch; 0: none */
byte held[NODES];
byte memory[NODES];
bit turn[NODES];
bit dropping[NODES]; /* the I/O thread dropped it, its worker has not heard of it yet */

/* Claim: claim-or-get, with the owner to take over from (0: nobody) and what it got. */
#define CLAIMED 2
#define OWNED 3
byte claim[NODES];
byte claim_by[NODES];
bit claim_generation[NODES];
byte from_incarnation[NODES];
byte from_epoch[NODES];
byte claim_effect[NODES]; /* epoch it was given the first time it was executed */
byte got_incarnation[NODES];
byte got_epoch[NODES];
byte got_version[NODES];
byte got_state[NODES];

/* Commit. */
#define COMMITTED 2
#define FENCED 3
#define CONFLICT 4
byte commit[NODES];
byte commit_by[NODES];
byte commit_epoch[NODES];
byte commit_version[NODES];
byte commit_state[NODES];
byte commit_op[NODES];
bit commit_generation[NODES];

/* Requests that arrive late; nobody waits for their answers. One of each sort. */
byte late_commit_by, late_commit_epoch, late_commit_version, late_commit_state, late_commit_op;
bit late_commit_generation;
byte late_claim_by, late_from_incarnation, late_from_epoch, late_effect;
bit late_claim_generation;

#ifdef FRAMES
/* A frame of an activation on its way to any other node. */
byte frame_by;
byte known_dead[NODES]; /* incarnations that a node has read to be dead */
byte seized[NODES];     /* incarnations whose death a node used for a takeover */
#endif

/* ---- Ghosts: what the promises are about ---- */

byte placed;        /* the epoch whose activation alone may take effect: the one handed out last, while it stands */
byte acknowledged;  /* commits whose callers were told so */
byte effects;       /* commit operations that took effect in this store */
byte declared;      /* incarnations declared in this generation */
byte operations;    /* commit operations begun */
byte freezes = FREEZES, crashes = CRASHES, worker_deaths = WORKER_DEATHS, resets = RESETS, losses = LOSSES;
byte releases = RELEASES;

/* Scratch, no part of a state; -DSCRATCH= for a breadth-first search, which cannot hide it. */
#ifndef SCRATCH
#define SCRATCH hidden
#endif
SCRATCH byte i, kept;

#ifdef LIVENESS
/* From `calm` on there are no faults, and time passes only when nothing else is left to do. */
bit calm;
bit renewed[NODES], asked[NODES];
#define CALM calm
#define SERVED(n) (mode[n] == UP && running[n] != 0 && lease[n] > 0 && !lost[n] && known_generation[n] == generation)
#if NODES > 2
#error "the formula is written out for two nodes"
#endif
ltl owner_again { [] (calm -> <> (SERVED(0) || SERVED(1))) }
#else
#define CALM false
#endif

#include "store.pml"
#include "node.pml"
#include "world.pml"
