/*
 * agent/daemon/pair/generation.c - SA generations of a peer, and when their SAs are removed.
 */
#include "agent/daemon/pair/inner.h"

#include "agent/daemon/event.h"
#include "agent/os/os.h"

#include <stdlib.h>
#include <string.h>

#define TOGETHER_MS 32       /* ends are rounded up to a multiple of this */
#define TRIM_GENERATIONS 100 /* smaller bursts leave too little to give back */
#define NON_ESN_SOFT (UINT64_C(1) << 31)
#define NON_ESN_HARD ((UINT64_C(1) << 32) - (UINT64_C(1) << 20))

void generation_remove_part(struct pair *p, struct generation *g, enum ipsec_part part)
{
	struct err e = {0};

	part = (enum ipsec_part)((unsigned)part | g->unremoved);
	if (part & IPSEC_INBOUND)
		g->has_in = false;
	if (part & IPSEC_OUTBOUND)
		g->has_out = false;
	if (ipsec_remove(p->agent->db, g->ctx, part, &e) < 0) {
		g->unremoved = part;
		err_in(&e, "remove an SA of epoch %llu", (unsigned long long)g->epoch);
		if (removal_failed(&p->removal, &e))
			event_fail(&p->agent->events, EVENT_SYSTEM, p->name, &e);
		return;
	}
	g->unremoved = 0;
	log_line(LOG_DEBUG, "peer %s: epoch %llu: removed%s%s (in %08x, out %08x)", p->name,
		 (unsigned long long)g->epoch, part & IPSEC_INBOUND ? " in" : "",
		 part & IPSEC_OUTBOUND ? " out" : "", g->in.n, g->out.n);
}

struct generation *generation_new(struct agent *a)
{
	struct generation *g = calloc(1, sizeof *g);

	if (g != NULL && ++a->generations > a->generations_max)
		a->generations_max = a->generations;
	return g;
}

static void wipe_keys(struct generation *g)
{
	if (g->keys != NULL)
		wipe(g->keys, sizeof *g->keys);
	free(g->keys);
	g->keys = NULL;
	wipe(&g->probe_key, sizeof g->probe_key);
}

void generation_free(struct agent *a, struct generation *g)
{
	wipe_keys(g);
	wipe(g, sizeof *g);
	free(g);
	/* After a burst of rekeys most of the heap is free: return it to the system. */
	if (--a->generations < a->generations_max / 8 && a->generations_max > TRIM_GENERATIONS) {
		a->generations_max = a->generations;
		os_trim_memory();
	}
}

void generation_remove(struct pair *p, struct generation *g)
{
	generation_remove_part(p, g, IPSEC_BOTH);
	if (g->unremoved == 0) {
		generation_free(p->agent, g);
		return;
	}
	wipe_keys(g);
	g->next = p->unremoved;
	p->unremoved = g;
}

/* The first generation of the list that has an SA which could not be removed. */
static struct generation *next_unremoved(struct generation *g)
{
	while (g != NULL && g->unremoved == 0)
		g = g->next;
	return g;
}

void generations_remove_again(struct pair *p)
{
	struct generation *list = p->unremoved, *next;

	p->unremoved = NULL;
	for (struct generation *g = list; g != NULL; g = next) {
		next = g->next;
		generation_remove(p, g);
	}
	for (struct generation *g = p->superseded; (g = next_unremoved(g)) != NULL; g = g->next)
		generation_remove_part(p, g, (enum ipsec_part)g->unremoved);
	if (pair_n_unremoved(p) > 0)
		return;
	removal_done(&p->removal);
	log_line(LOG_INFO, "peer %s: the SAs that could not be removed are removed", p->name);
}

void pair_forget_unremoved(struct pair *p)
{
	struct generation *g;

	while ((g = p->unremoved) != NULL) {
		p->unremoved = g->next;
		generation_free(p->agent, g);
	}
	removal_done(&p->removal);
}

void generation_supersede(struct pair *p, struct generation *g)
{
	g->next = p->superseded;
	p->superseded = g;
	p->n_superseded++;
}

void generation_uncount(struct pair *p, const struct generation *g)
{
	if (g->retired)
		p->n_retired--;
	else if (!g->recovered)
		p->n_superseded--;
}

struct generation *generation_find(struct pair *p, struct ipsec_ctx ctx)
{
	if (ctx.id == 0)
		return NULL;
	if (p->fresh != NULL && p->fresh->ctx.id == ctx.id)
		return p->fresh;
	if (p->current != NULL && p->current->ctx.id == ctx.id)
		return p->current;
	for (struct generation *g = p->superseded; g != NULL; g = g->next)
		if (g->ctx.id == ctx.id)
			return g;
	return NULL;
}

const struct secret *pair_probe_key(const struct pair *p, uint64_t epoch)
{
	if (p->fresh != NULL && p->fresh->epoch == epoch && p->fresh->has_in)
		return &p->fresh->probe_key;
	if (p->current != NULL && p->current->epoch == epoch)
		return &p->current->probe_key;
	for (const struct generation *g = p->superseded; g != NULL; g = g->next)
		if (g->epoch == epoch && !g->recovered)
			return &g->probe_key;
	return NULL;
}

uint64_t generation_sooner(uint64_t a, uint64_t b)
{
	return a == 0 || (b != 0 && b < a) ? b : a;
}

uint64_t generation_out_end(const struct generation *g)
{
	return g->retired ? generation_sooner(g->out_ms, g->hard_ms) : g->hard_ms;
}

uint64_t generation_in_end(const struct generation *g)
{
	uint64_t hard = g->hard_ms + EXCHANGE_GRACE_S * 1000;

	return g->retired ? generation_sooner(g->in_ms, hard) : hard;
}

void generations_schedule(struct pair *p)
{
	uint64_t at = p->current != NULL ? p->current->hard_ms : 0;

	for (const struct generation *g = p->superseded; g != NULL; g = g->next) {
		at = generation_sooner(at, generation_in_end(g));
		if (g->has_out)
			at = generation_sooner(at, generation_out_end(g));
	}
	deadline_set(&p->generations_due, at);
}

void generations_schedule_rekey(struct pair *p)
{
	const struct generation *g = p->current;
	uint64_t time_ms = (uint64_t)p->opt->rekey_time_s * 1000;
	uint64_t hard = g != NULL ? (g->hard_ms - g->since_ms) / 10 * 8 : 0;

	time_ms = generation_sooner(time_ms, hard);
	if (g == NULL || time_ms == 0) {
		deadline_set(&p->rekey_due, 0);
		return;
	}
	/* Jitter, so that peers that started together do not rekey together (RFC 7296 2.8). The SPI
	 * is random enough for that. */
	time_ms -= time_ms / 10 * (g->in.n % 1024) / 1024;
	deadline_set(&p->rekey_due, g->since_ms + time_ms);
}

void generations_set_limits(struct pair *p, bool esn)
{
	const struct peer_options *o = p->opt;

	p->policy->limits.soft_bytes = o->limits.soft_bytes;
	p->policy->limits.hard_bytes = o->limits.hard_bytes;
	p->policy->limits.soft_packets =
		esn ? o->limits.soft_packets
		    : generation_sooner(o->limits.soft_packets, NON_ESN_SOFT);
	p->policy->limits.hard_packets =
		esn ? o->limits.hard_packets
		    : generation_sooner(o->limits.hard_packets, NON_ESN_HARD);
}

/* Ends that are close to each other share one deadline. */
static uint64_t round_up(uint64_t ms)
{
	return ms + TOGETHER_MS - ms % TOGETHER_MS;
}

/* The kernel compares each new SA with all of the pair: keep a limited number of retired ones. */
static void limit_retired(struct pair *p)
{
	struct generation **at = &p->superseded;
	unsigned retired = 0;

	if (p->n_retired <= EXCHANGE_DRAIN_MAX + EXCHANGE_DRAIN_MORE)
		return;
	while (*at != NULL) {
		struct generation *g = *at;

		retired += g->retired;
		if (retired <= EXCHANGE_DRAIN_MAX) {
			at = &g->next;
			continue;
		}
		*at = g->next;
		generation_uncount(p, g);
		generation_remove(p, g);
	}
}

void generations_retire(struct pair *p)
{
	uint64_t now = loop_now_ms();
	uint64_t out_ms = (p->current != NULL ? p->current->since_ms : now) + p->opt->switch_ms;
	uint64_t in_ms = round_up(now + p->opt->drain_ms);

	out_ms = round_up(out_ms > now ? out_ms : now);
	/* Newest first: those after a retired one are retired, too. */
	for (struct generation *g = p->superseded; g != NULL && !g->retired; g = g->next) {
		generation_uncount(p, g);
		g->retired = true;
		p->n_retired++;
		g->out_ms = out_ms;
		g->in_ms = in_ms;
		deadline_set_by(&p->generations_due,
				generation_sooner(g->has_out ? out_ms : 0, in_ms));
	}
	limit_retired(p);
}

/* ---- views ----------------------------------------------------------------------------- */

void generation_view(const struct generation *g, struct pair_view *v)
{
	*v = (struct pair_view){.epoch = g->epoch,
				.suite = g->suite,
				.esn = g->esn,
				.has_in = g->has_in,
				.has_out = g->has_out,
				.in = g->in,
				.out = g->out,
				.ctx = g->ctx,
				.key_in = g->keys != NULL ? &g->keys->in : NULL,
				.key_out = g->keys != NULL ? &g->keys->out : NULL,
				.since_ms = g->since_ms,
				.hard_ms = g->hard_ms};
}

bool pair_in_force(const struct pair *p, struct pair_view *v)
{
	if (p->current == NULL)
		return false;
	generation_view(p->current, v);
	v->rekey_ms = p->rekey_due.at_ms;
	return true;
}

bool pair_is_up(const struct pair *p)
{
	return p->current != NULL;
}

bool pair_generation(const struct pair *p, size_t i, struct pair_view *v)
{
	const struct generation *g = p->superseded;

	if (p->fresh != NULL && i-- == 0)
		g = p->fresh;
	else if (p->current != NULL && i-- == 0)
		g = p->current;
	else
		while (g != NULL && i-- > 0)
			g = g->next;
	if (g == NULL)
		return false;
	generation_view(g, v);
	return true;
}

/* The i-th generation with an SA that could not be removed. */
static const struct generation *unremoved(const struct pair *p, size_t i)
{
	struct generation *g = next_unremoved(p->unremoved);
	bool is_superseded = false;

	for (;;) {
		if (g == NULL && !is_superseded) {
			is_superseded = true;
			g = next_unremoved(p->superseded);
			continue;
		}
		if (g == NULL || i-- == 0)
			return g;
		g = next_unremoved(g->next);
	}
}

unsigned pair_n_unremoved(const struct pair *p)
{
	unsigned n = 0;

	while (unremoved(p, n) != NULL)
		n++;
	return n;
}

bool pair_unremoved(const struct pair *p, size_t i, struct pair_view *v)
{
	const struct generation *g = unremoved(p, i);

	if (g == NULL)
		return false;
	generation_view(g, v);
	v->has_in = (g->unremoved & IPSEC_INBOUND) != 0;
	v->has_out = (g->unremoved & IPSEC_OUTBOUND) != 0;
	return true;
}

const struct err *pair_removal_error(const struct pair *p)
{
	return &p->removal.why;
}

bool pair_is_drained(const struct pair *p)
{
	return p->superseded == NULL;
}

unsigned pair_n_superseded(const struct pair *p)
{
	unsigned n = 0;

	for (const struct generation *g = p->superseded; g != NULL; g = g->next)
		n++;
	return n;
}

uint64_t pair_rekeys(const struct pair *p)
{
	return p->rekeys;
}

const struct receipt *pair_receipt(const struct pair *p)
{
	return &p->receipt;
}

const struct pair_state *pair_state(const struct pair *p)
{
	return &p->x.current;
}

uint64_t pair_last_epoch(const struct pair *p)
{
	return p->x.last;
}
