/*
 * agent/daemon/pair/generation.h - generations: the SAs of a peer, what becomes of them and when.
 *
 * p->fresh is NEW, p->current is CURRENT, p->held is the list of HELD and RETIRED ones, newest first
 * (proto/exchange/exchange.h). A generation leaves through gen_remove(), or gen_free() where its SAs stay.
 */
#ifndef SAPAIR_AGENT_DAEMON_PAIR_GENERATION_H
#define SAPAIR_AGENT_DAEMON_PAIR_GENERATION_H

#include "agent/daemon/pair/inner.h"

/* NULL: no memory. gen_free() wipes its keys; gen_remove() takes its SAs away, too. */
struct gen *gen_new(struct agent *a);
void gen_free(struct agent *a, struct gen *g);
void gen_remove(struct pair *p, struct gen *g);
/* What cannot be removed is an event. */
void gen_remove_part(struct pair *p, struct gen *g, enum ipsec_part part);
/* The generation with this context, or NULL. */
struct gen *gen_find(struct pair *p, struct ipsec_ctx ctx);

void gen_view(const struct gen *g, struct pair_view *v);
/* Puts it in front of the HELD ones; one that was HELD no longer counts as such. */
void gen_hold(struct pair *p, struct gen *g);
void gen_unheld(struct pair *p, const struct gen *g);

/* The sooner of two times, 0 meaning never. */
uint64_t gens_sooner(uint64_t a, uint64_t b);
/* When the halves of a held generation end: retired, or at the end of their lifetime; ms as of
 * loop_now_ms(), 0: never. */
uint64_t gen_out_end(const struct gen *g);
uint64_t gen_in_end(const struct gen *g);
/* Sets the deadline of the next generation that ends or loses an SA. */
void gens_schedule(struct pair *p);
/* The peer is known to send on the pair in force: the older ones start their clocks. */
void gens_retire(struct pair *p);
/* The next rekey by time of the pair in force. */
void gens_schedule_rekey(struct pair *p);
/* The policy's limits are those of SAs to come: without ESN the numbers end at 2^32. */
void gens_set_limits(struct pair *p, bool esn);

#endif
