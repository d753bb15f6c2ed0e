/*
 * agent/daemon/pair/driver.c - events into the exchange machine, its actions into the system and the link.
 */
#include "agent/daemon/pair/driver.h"

#include "agent/os/log.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int reserve(struct pair *p, struct step *st)
{
	struct gen *g = gen_new(p->agent);

	assert(p->fresh == NULL);
	if (g == NULL)
		return err_set(&st->system, ERR_OS, "no memory for an SA");
	if (ipsec_reserve(p->agent->db, p->policy, &g->ctx, &g->in, &st->system) < 0) {
		gen_free(p->agent, g);
		return err_in(&st->system, "reserve an SPI");
	}
	p->fresh = g;
	st->spi = g->in;
	return 0;
}

/* The key of one half, if the config says that it may be exported. */
static void keep_key(struct pair *p, struct gen *g, const struct sa_keys *k, bool is_in)
{
	if (!p->agent->cfg.export_keys)
		return;
	if (g->keys == NULL)
		g->keys = calloc(1, sizeof *g->keys);
	if (g->keys != NULL)
		*(is_in ? &g->keys->in : &g->keys->out) = k->key;
}

static uint64_t since_start(const struct pair *p)
{
	return loop_now_us() - p->receipt.started_us;
}

static int install(struct pair *p, struct step *st)
{
	const struct sa_keys *k = &p->x.sa_in;
	struct gen *g = p->fresh;

	gens_set_limits(p, k->esn);
	if (ipsec_install(p->agent->db, g->ctx, k, &p->x.sa_out, &st->system) < 0)
		return err_in(&st->system, "install the SAs of epoch %llu",
			      (unsigned long long)k->epoch);
	g->has_in = true;
	keep_key(p, g, k, true);
	g->epoch = k->epoch;
	g->suite = k->suite;
	g->esn = k->esn;
	g->probe_key = p->x.probe_key;
	wipe(&p->x.probe_key, sizeof p->x.probe_key);
	g->hard_ms = loop_now_ms() + (uint64_t)k->lifetime_s * 1000;
	p->receipt.inbound_us = since_start(p);
	return 0;
}

static int activate(struct pair *p, struct step *st)
{
	const struct sa_keys *k = &p->x.sa_out;
	struct gen *g = p->fresh;

	gens_set_limits(p, k->esn);
	if (ipsec_activate(p->agent->db, g->ctx, k, &st->system) < 0)
		return err_in(&st->system, "activate the outbound SA %08x", k->spi.n);
	g->has_out = true;
	keep_key(p, g, k, false);
	g->out = k->spi;
	g->since_ms = loop_now_ms();
	p->receipt.switch_us = since_start(p);
	return 0;
}

static void commit(struct pair *p)
{
	if (p->current != NULL)
		gen_hold(p, p->current);
	p->current = p->fresh;
	p->fresh = NULL;
	deadline_set_by(&p->generations_due, p->current->hard_ms);
	gens_schedule_rekey(p);
}

static void uncommit(struct pair *p)
{
	gen_remove(p, p->current); /* the system falls back to the former outbound */
	p->current = NULL;
	for (struct gen **at = &p->held; *at != NULL; at = &(*at)->next) {
		struct gen *g = *at;

		if (g->epoch != p->x.current.epoch || !g->has_out)
			continue;
		*at = g->next;
		gen_unheld(p, g);
		g->retired = false;
		g->next = NULL;
		p->current = g;
		break;
	}
	if (p->current == NULL)
		exchange_forget(&p->x);
	gens_schedule_rekey(p);
}

static void hold_fresh(struct pair *p)
{
	gen_remove_part(p, p->fresh, IPSEC_OUTBOUND); /* one that only waits, too */
	gen_hold(p, p->fresh);
	deadline_set_by(&p->generations_due, p->fresh->hard_ms);
	p->fresh = NULL;
}

static int perform_one(struct pair *p, const struct xactions *out, const struct xaction *a,
		       struct step *st)
{
	switch (a->kind) {
	case XA_RESERVE:
		st->answer = true;
		return reserve(p, st);
	case XA_INSTALL:
		st->answer = true;
		return install(p, st);
	case XA_ACTIVATE:
		st->answer = true;
		return activate(p, st);
	case XA_COMMIT:
		commit(p);
		break;
	case XA_UNCOMMIT:
		uncommit(p);
		break;
	case XA_RETIRE:
		gens_retire(p);
		break;
	case XA_REMOVE:
		if (p->fresh != NULL)
			gen_remove(p, p->fresh);
		p->fresh = NULL;
		break;
	case XA_HOLD:
		hold_fresh(p);
		break;
	case XA_SEND:
		if (!p->is_linked || !p->host->send(p->host_arg, out->send, out->send_len))
			st->send_failed = true;
		break;
	case XA_TIMER:
		deadline_set(&p->exchange_due, loop_now_ms() + a->ms);
		break;
	case XA_NO_TIMER:
		deadline_set(&p->exchange_due, 0);
		break;
	case XA_CLOSE:
		st->close = true;
		st->close_fault = a->fault;
		break;
	case XA_END:
		st->ended = true;
		st->result = a->fault;
		break;
	}
	return 0;
}

/* Feeds one event into the machine. Logs the transition, as the trace of tests/sim does. */
static void feed(struct pair *p, const struct xevent *ev, struct xactions *out)
{
	const char *from = xstate_name(p->x.state);
	char actions[XACTIONS_MAX * 16] = "";
	size_t len = 0;

	exchange_step(&p->x, ev, out);
	if (!log_wants(LOG_DEBUG))
		return;
	for (size_t i = 0; i < out->n && len < sizeof actions; i++)
		len += (size_t)snprintf(actions + len, sizeof actions - len, " %s",
					xaction_name(out->v[i].kind));
	log_line(LOG_DEBUG, "peer %s: %s + %s -> %s:%s", p->name, from, xevent_name(ev->kind),
		 xstate_name(p->x.state), actions);
}

void step_run(struct pair *p, const struct xevent *first, struct step *st)
{
	struct agent *a = p->agent;
	struct xactions *out = &a->scratch;
	struct xevent ev = *first;

	*st = (struct step){.result = FAULT_NONE};
	assert(!a->is_driving);
	a->is_driving = true;
	for (;;) {
		bool failed = false;

		st->answer = false;
		feed(p, &ev, out);
		st->acted = st->acted || out->n > 0;
		for (size_t i = 0; i < out->n && !failed; i++)
			failed = perform_one(p, out, &out->v[i], st) < 0;
		xactions_wipe(out);
		if (!st->answer)
			break;
		memset(&ev, 0, sizeof ev);
		ev.kind = failed ? XE_IPSEC_FAILED : XE_IPSEC_OK;
		ev.spi = st->spi;
	}
	a->is_driving = false;
}
