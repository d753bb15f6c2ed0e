/*
 * agent/daemon/pair/generation.c - generations: the SAs of a peer, what becomes of them and when.
 */
#include "agent/daemon/pair/generation.h"

#include "agent/daemon/event.h"
#include "agent/os/os.h"

#include <stdlib.h>
#include <string.h>

#define TOGETHER_MS 32
#define TRIM_GENS 100 /* smaller bursts leave nothing worth the trouble */
#define NON_ESN_SOFT (UINT64_C(1) << 31)
#define NON_ESN_HARD ((UINT64_C(1) << 32) - (UINT64_C(1) << 20))

void gen_remove_part(struct peer *p, struct gen *g, enum ipsec_part part)
{
	struct err e = {0};

	if (ipsec_remove(p->agent->db, g->ctx, part, &e) < 0) {
		err_in(&e, "remove an SA of epoch %llu", (unsigned long long)g->epoch);
		event_fail(p->agent, EVENT_SYSTEM, p->cfg.name, &e);
	}
	if (part & IPSEC_INBOUND)
		g->has_in = false;
	if (part & IPSEC_OUTBOUND)
		g->has_out = false;
}

struct gen *gen_new(struct agent *a)
{
	struct gen *g = calloc(1, sizeof *g);

	if (g != NULL && ++a->gens > a->gens_most)
		a->gens_most = a->gens;
	return g;
}

void gen_free(struct agent *a, struct gen *g)
{
	if (g->keys != NULL)
		wipe(g->keys, sizeof *g->keys);
	free(g->keys);
	wipe(g, sizeof *g);
	free(g);
	/* After a burst of rekeys the heap is mostly free, and scattered: give it back. */
	if (--a->gens < a->gens_most / 8 && a->gens_most > TRIM_GENS) {
		a->gens_most = a->gens;
		os_trim_memory();
	}
}

void gen_remove(struct peer *p, struct gen *g)
{
	gen_remove_part(p, g, IPSEC_BOTH);
	gen_free(p->agent, g);
}

void gen_hold(struct peer *p, struct gen *g)
{
	g->next = p->held;
	p->held = g;
	p->n_held++;
}

void gen_unheld(struct peer *p, const struct gen *g)
{
	if (g->retired)
		p->n_retired--;
	else if (!g->adopted)
		p->n_held--;
}

struct gen *gen_find(struct peer *p, struct ipsec_ctx ctx)
{
	if (ctx.id == 0)
		return NULL;
	if (p->fresh != NULL && p->fresh->ctx.id == ctx.id)
		return p->fresh;
	if (p->current != NULL && p->current->ctx.id == ctx.id)
		return p->current;
	for (struct gen *g = p->held; g != NULL; g = g->next)
		if (g->ctx.id == ctx.id)
			return g;
	return NULL;
}

const struct secret *peer_probe_key(const struct peer *p, uint64_t epoch)
{
	if (p->fresh != NULL && p->fresh->epoch == epoch && p->fresh->has_in)
		return &p->fresh->probe_key;
	if (p->current != NULL && p->current->epoch == epoch)
		return &p->current->probe_key;
	for (const struct gen *g = p->held; g != NULL; g = g->next)
		if (g->epoch == epoch && !g->adopted)
			return &g->probe_key;
	return NULL;
}

uint64_t gens_sooner(uint64_t a, uint64_t b)
{
	return a == 0 || (b != 0 && b < a) ? b : a;
}

uint64_t gen_out_end(const struct gen *g)
{
	return g->retired ? gens_sooner(g->out_ms, g->hard_ms) : g->hard_ms;
}

uint64_t gen_in_end(const struct gen *g)
{
	uint64_t hard = g->hard_ms + EXCHANGE_GRACE_S * 1000;

	return g->retired ? gens_sooner(g->in_ms, hard) : hard;
}

void gens_due_by(struct peer *p, uint64_t at)
{
	if (p->due[DUE_GENS] == 0 || at < p->due[DUE_GENS])
		peer_due(p, DUE_GENS, at);
}

void gens_schedule(struct peer *p)
{
	uint64_t at = p->current != NULL ? p->current->hard_ms : 0;

	for (const struct gen *g = p->held; g != NULL; g = g->next) {
		at = gens_sooner(at, gen_in_end(g));
		if (g->has_out)
			at = gens_sooner(at, gen_out_end(g));
	}
	peer_due(p, DUE_GENS, at);
}

void gens_schedule_rekey(struct peer *p)
{
	const struct gen *g = p->current;
	uint64_t time_ms = (uint64_t)p->cfg.opt.rekey_time_s * 1000;
	uint64_t hard = g != NULL ? (g->hard_ms - g->since_ms) / 10 * 8 : 0;

	time_ms = gens_sooner(time_ms, hard);
	if (g == NULL || time_ms == 0) {
		peer_due(p, DUE_REKEY, 0);
		return;
	}
	/* Jitter: peers that started together do not rekey together (RFC 7296 2.8). The SPI is as
	 * random as that needs. */
	time_ms -= time_ms / 10 * (g->in.n % 1024) / 1024;
	peer_due(p, DUE_REKEY, g->since_ms + time_ms);
}

bool gens_rekey_in(const struct peer *p, uint64_t *s)
{
	uint64_t now = loop_now_ms(), at = p->due[DUE_REKEY];

	*s = at > now ? (at - now) / 1000 : 0;
	return p->current != NULL && at != 0;
}

bool gens_hard_in(const struct peer *p, uint64_t *s)
{
	uint64_t now = loop_now_ms();

	if (p->current == NULL)
		return false;
	*s = p->current->hard_ms > now ? (p->current->hard_ms - now) / 1000 : 0;
	return true;
}

void gens_set_limits(struct peer *p, bool esn)
{
	const struct peer_options *o = &p->cfg.opt;

	p->policy.soft_bytes = o->rekey_bytes;
	p->policy.hard_bytes = o->hard_bytes;
	p->policy.soft_packets = esn ? o->rekey_packets
				     : gens_sooner(o->rekey_packets, NON_ESN_SOFT);
	p->policy.hard_packets = esn ? o->hard_packets : gens_sooner(o->hard_packets, NON_ESN_HARD);
}

/* Ends that are close to each other come together: fewer turns where rekeys are many. */
static uint64_t together(uint64_t ms)
{
	return ms + TOGETHER_MS - ms % TOGETHER_MS;
}

/* Where rekeys come in quick succession: the kernel looks at each SA of the pair for each new one. */
static void drain_no_more(struct peer *p)
{
	struct gen **at = &p->held;
	unsigned retired = 0;

	if (p->n_retired <= EXCHANGE_DRAIN_MAX + EXCHANGE_DRAIN_MORE)
		return;
	while (*at != NULL) {
		struct gen *g = *at;

		retired += g->retired;
		if (retired <= EXCHANGE_DRAIN_MAX) {
			at = &g->next;
			continue;
		}
		*at = g->next;
		gen_unheld(p, g);
		gen_remove(p, g);
	}
}

void gens_retire(struct peer *p)
{
	uint64_t now = loop_now_ms();
	uint64_t out_ms = (p->current != NULL ? p->current->since_ms : now) + p->cfg.opt.switch_ms;
	uint64_t in_ms = together(now + p->cfg.opt.drain_ms);

	out_ms = together(out_ms > now ? out_ms : now);
	/* Newest first: behind one that is retired, all are. */
	for (struct gen *g = p->held; g != NULL && !g->retired; g = g->next) {
		gen_unheld(p, g);
		g->retired = true;
		p->n_retired++;
		g->out_ms = out_ms;
		g->in_ms = in_ms;
		gens_due_by(p, gens_sooner(g->has_out ? out_ms : 0, in_ms));
	}
	drain_no_more(p);
}
