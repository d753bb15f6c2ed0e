/*
 * agent/daemon/pair/rekey.h - the exchanges of one peer, and what becomes of the SAs that they made.
 */
#ifndef SAPAIR_AGENT_DAEMON_PAIR_REKEY_H
#define SAPAIR_AGENT_DAEMON_PAIR_REKEY_H

#include "agent/daemon/pair/generation.h"

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
/* Takes over half a pair of an earlier run: in force until a new pair is, or its lifetime ends. */
int pair_adopt(struct peer *p, const struct ipsec_leftover *l, struct err *e);
/* Takes every SA of the peer away; nothing is in force then. */
void pair_clear(struct peer *p);
/* Frees the bookkeeping and leaves the SAs to the system. */
void pair_leave(struct peer *p);
/* The system ended the SAs of this generation (hard limit, removal by others). */
void pair_lost_gen(struct peer *p, struct gen *g);
/* What the exchange machine offers, from the peer's options. */
void pair_configure(struct peer *p);

#endif
