/*
 * agent/daemon/pair/generation.h - SA generations of a peer.
 *
 * p->fresh is NEW, p->current is CURRENT, p->superseded is the list of HELD and RETIRED ones, newest
 * first (proto/exchange/exchange.h). generation_remove() ends one; generation_free() leaves its SAs in
 * the system.
 */
#ifndef SAPAIR_AGENT_DAEMON_PAIR_GENERATION_H
#define SAPAIR_AGENT_DAEMON_PAIR_GENERATION_H

#include "agent/daemon/pair/inner.h"

/* NULL: no memory. generation_free() wipes its keys. */
struct generation *generation_new(struct agent *a);
void generation_free(struct agent *a, struct generation *g);
/* Removes one SA or both. The first failure is an event. What is left is removed later, by
 * generations_remove_again(): generation_remove() keeps the generation in p->unremoved until then. */
void generation_remove(struct pair *p, struct generation *g);
void generation_remove_part(struct pair *p, struct generation *g, enum ipsec_part part);
void generations_remove_again(struct pair *p);
/* The generation with this context, or NULL. */
struct generation *generation_find(struct pair *p, struct ipsec_ctx ctx);

void generation_view(const struct generation *g, struct pair_view *v);
/* Puts it at the front of the list, as HELD. */
void generation_supersede(struct pair *p, struct generation *g);
/* It leaves the list, or becomes RETIRED: updates the counters. */
void generation_uncount(struct pair *p, const struct generation *g);

/* The sooner of two times, 0 meaning never. */
uint64_t generation_sooner(uint64_t a, uint64_t b);
/* When the SAs of a superseded generation are removed; times of loop_now_ms(), 0: never. */
uint64_t generation_out_end(const struct generation *g);
uint64_t generation_in_end(const struct generation *g);
/* Sets the deadline of the next generation that ends or loses an SA. */
void generations_schedule(struct pair *p);
/* The peer is known to send on the pair in force: the older ones become RETIRED. */
void generations_retire(struct pair *p);
/* Sets the deadline of the next rekey by time. */
void generations_schedule_rekey(struct pair *p);
/* Sets the limits of the next SAs: without ESN, sequence numbers end at 2^32. */
void generations_set_limits(struct pair *p, bool esn);

#endif
