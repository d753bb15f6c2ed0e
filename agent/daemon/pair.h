/*
 * agent/daemon/pair.h - the SAs of one peer: runs the exchange machine, performs its actions,
 * keeps the generations and their clocks.
 */
#ifndef SAPAIR_AGENT_PAIR_H
#define SAPAIR_AGENT_PAIR_H

#include "agent/daemon/peer.h"

/* A link is up: exchanges may run on it. */
void pair_link_up(struct peer *p);
/* The link of the pair is gone (or another one takes its place): an exchange ends. */
void pair_link_lost(struct peer *p);
/* One of offer, answer, confirm, done, reject. */
void pair_on_message(struct peer *p, const struct msg *m, const char *body, size_t len);
/* An exchange should begin: now if we lead and may, else later or by asking the leader. */
void pair_due_start(struct peer *p);
void pair_due_exchange(struct peer *p);
void pair_due_rekey(struct peer *p);
void pair_due_gens(struct peer *p);
/* The peer is known to send on the pair in force: the older ones start their clocks. */
void pair_retire_held(struct peer *p);
/* Takes over half a pair of an earlier run: in force until a new pair is, or its lifetime ends. */
int pair_adopt(struct peer *p, const struct sadb_leftover *l, struct err *e);
/* A pair with a host that has no agent, whose half somebody carries there: all of it is chosen here.
 * Only with a lab identity, and while the peer is not paired. g->keys are there until
 * pair_manual_told(). */
int pair_manual(struct peer *p, struct gen **out, struct err *e);
void pair_manual_told(struct peer *p, struct gen *g);
/* Takes every SA of the peer away; nothing is in force then. */
void pair_clear(struct peer *p);
/* Frees the bookkeeping and leaves the SAs to the system. */
void pair_leave(struct peer *p);
/* The generation with this context, or NULL. */
struct gen *pair_find(struct peer *p, struct sadb_ctx ctx);
/* The system ended the SAs of this generation (hard limit, removal by others). */
void pair_lost_gen(struct peer *p, struct gen *g);
/* What the exchange machine offers, from the peer's options. */
void pair_configure(struct peer *p);
/* The pair's remaining time: seconds until rekey and until its hard end; false: none set. */
bool pair_rekey_in(const struct peer *p, uint64_t *s);
bool pair_hard_in(const struct peer *p, uint64_t *s);

#endif
