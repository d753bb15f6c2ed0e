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

void gen_remove_part(struct pair *p, struct gen *g, enum ipsec_part part)
{
	struct err e = {0};

	if (ipsec_remove(p->agent->db, g->ctx, part, &e) < 0) {
		err_in(&e, "remove an SA of epoch %llu", (unsigned long long)g->epoch);
		event_fail(&p->agent->events, EVENT_SYSTEM, p->name, &e);
	}
	if (part & IPSEC_INBOUND)
		g->has_in = false;
	if (part & IPSEC_OUTBOUND)
		g->has_out = false;
}

struct gen *gen_new(struct agent *a)
{
	struct gen *g = calloc(1, sizeof *g);

	if (g != NULL && ++a->generations > a->generations_max)
		a->generations_max = a->generations;
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
	if (--a->generations < a->generations_max / 8 && a->generations_max > TRIM_GENS) {
		a->generations_max = a->generations;
		os_trim_memory();
	}
}

void gen_remove(struct pair *p, struct gen *g)
{
	gen_remove_part(p, g, IPSEC_BOTH);
	gen_free(p->agent, g);
}

void gen_hold(struct pair *p, struct gen *g)
{
	g->next = p->held;
	p->held = g;
	p->n_held++;
}

void gen_unheld(struct pair *p, const struct gen *g)
{
	if (g->retired)
		p->n_retired--;
	else if (!g->adopted)
		p->n_held--;
}

struct gen *gen_find(struct pair *p, struct ipsec_ctx ctx)
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

const struct secret *pair_probe_key(const struct pair *p, uint64_t epoch)
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

void gens_schedule(struct pair *p)
{
	uint64_t at = p->current != NULL ? p->current->hard_ms : 0;

	for (const struct gen *g = p->held; g != NULL; g = g->next) {
		at = gens_sooner(at, gen_in_end(g));
		if (g->has_out)
			at = gens_sooner(at, gen_out_end(g));
	}
	deadline_set(&p->generations_due, at);
}

void gens_schedule_rekey(struct pair *p)
{
	const struct gen *g = p->current;
	uint64_t time_ms = (uint64_t)p->opt->rekey_time_s * 1000;
	uint64_t hard = g != NULL ? (g->hard_ms - g->since_ms) / 10 * 8 : 0;

	time_ms = gens_sooner(time_ms, hard);
	if (g == NULL || time_ms == 0) {
		deadline_set(&p->rekey_due, 0);
		return;
	}
	/* Jitter: peers that started together do not rekey together (RFC 7296 2.8). The SPI is as
	 * random as that needs. */
	time_ms -= time_ms / 10 * (g->in.n % 1024) / 1024;
	deadline_set(&p->rekey_due, g->since_ms + time_ms);
}

bool pair_rekey_in(const struct pair *p, uint64_t *s)
{
	uint64_t now = loop_now_ms(), at = p->rekey_due.at_ms;

	*s = at > now ? (at - now) / 1000 : 0;
	return p->current != NULL && at != 0;
}

bool pair_hard_in(const struct pair *p, uint64_t *s)
{
	uint64_t now = loop_now_ms();

	if (p->current == NULL)
		return false;
	*s = p->current->hard_ms > now ? (p->current->hard_ms - now) / 1000 : 0;
	return true;
}

void gens_set_limits(struct pair *p, bool esn)
{
	const struct peer_options *o = p->opt;

	p->policy->soft_bytes = o->rekey_bytes;
	p->policy->hard_bytes = o->hard_bytes;
	p->policy->soft_packets = esn ? o->rekey_packets
				      : gens_sooner(o->rekey_packets, NON_ESN_SOFT);
	p->policy->hard_packets = esn ? o->hard_packets
				      : gens_sooner(o->hard_packets, NON_ESN_HARD);
}

/* Ends that are close to each other come together: fewer turns where rekeys are many. */
static uint64_t together(uint64_t ms)
{
	return ms + TOGETHER_MS - ms % TOGETHER_MS;
}

/* Where rekeys come in quick succession: the kernel looks at each SA of the pair for each new one. */
static void drain_no_more(struct pair *p)
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

void gens_retire(struct pair *p)
{
	uint64_t now = loop_now_ms();
	uint64_t out_ms = (p->current != NULL ? p->current->since_ms : now) + p->opt->switch_ms;
	uint64_t in_ms = together(now + p->opt->drain_ms);

	out_ms = together(out_ms > now ? out_ms : now);
	/* Newest first: behind one that is retired, all are. */
	for (struct gen *g = p->held; g != NULL && !g->retired; g = g->next) {
		gen_unheld(p, g);
		g->retired = true;
		p->n_retired++;
		g->out_ms = out_ms;
		g->in_ms = in_ms;
		deadline_set_by(&p->generations_due, gens_sooner(g->has_out ? out_ms : 0, in_ms));
	}
	drain_no_more(p);
}

/* ---- views ----------------------------------------------------------------------------- */

void gen_view(const struct gen *g, struct pair_view *v)
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
	gen_view(p->current, v);
	return true;
}

bool pair_is_up(const struct pair *p)
{
	return p->current != NULL;
}

bool pair_generation(const struct pair *p, size_t i, struct pair_view *v)
{
	const struct gen *g = p->held;

	if (p->fresh != NULL && i-- == 0)
		g = p->fresh;
	else if (p->current != NULL && i-- == 0)
		g = p->current;
	else
		while (g != NULL && i-- > 0)
			g = g->next;
	if (g == NULL)
		return false;
	gen_view(g, v);
	return true;
}

bool pair_is_drained(const struct pair *p)
{
	return p->held == NULL;
}

unsigned pair_superseded(const struct pair *p)
{
	unsigned n = 0;

	for (const struct gen *g = p->held; g != NULL; g = g->next)
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
