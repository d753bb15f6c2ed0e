/*
 * agent/daemon/pair/generation.h - generations: the SAs of a peer, what becomes of them and when.
 *
 * p->fresh is NEW, p->current is CURRENT, p->held is the list of HELD and RETIRED ones, newest first
 * (proto/exchange/exchange.h). A generation leaves through gen_remove(), or gen_free() where its SAs stay.
 */
#ifndef SAPAIR_AGENT_DAEMON_PAIR_GENERATION_H
#define SAPAIR_AGENT_DAEMON_PAIR_GENERATION_H

#include "agent/daemon/peer/peer.h"

/* NULL: no memory. gen_free() wipes its keys; gen_remove() takes its SAs away, too. */
struct gen *gen_new(struct agent *a);
void gen_free(struct agent *a, struct gen *g);
void gen_remove(struct peer *p, struct gen *g);
/* What cannot be removed is an event. */
void gen_remove_part(struct peer *p, struct gen *g, enum ipsec_part part);
/* The generation with this context, or NULL. */
struct gen *gen_find(struct peer *p, struct ipsec_ctx ctx);

/* Puts it in front of the HELD ones; one that was HELD no longer counts as such. */
void gen_hold(struct peer *p, struct gen *g);
void gen_unheld(struct peer *p, const struct gen *g);

/* The sooner of two times, 0 meaning never. */
uint64_t gens_sooner(uint64_t a, uint64_t b);
/* When the halves of a held generation end: retired, or at the end of their lifetime; ms as of
 * loop_now_ms(), 0: never. */
uint64_t gen_out_end(const struct gen *g);
uint64_t gen_in_end(const struct gen *g);
/* Looks again when the next generation ends or loses a half; at the time given, if that is sooner. */
void gens_schedule(struct peer *p);
void gens_due_by(struct peer *p, uint64_t at);
/* The peer is known to send on the pair in force: the older ones start their clocks. */
void gens_retire(struct peer *p);
/* The next rekey by time of the pair in force. */
void gens_schedule_rekey(struct peer *p);
/* Seconds until that, and until the hard end of the pair in force; false: none set. */
bool gens_rekey_in(const struct peer *p, uint64_t *s);
bool gens_hard_in(const struct peer *p, uint64_t *s);

/* The policy's limits are those of SAs to come: without ESN the numbers end at 2^32. */
void gens_set_limits(struct peer *p, bool esn);

#endif
