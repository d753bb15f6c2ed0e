/*
 * agent/daemon/pair/driver.c - exchange driver.
 */
#include "agent/daemon/pair/inner.h"

#include "agent/os/log.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int reserve(struct pair *p, struct driver_result *r)
{
	struct generation *g = generation_new(p->agent);
	int rc;

	assert(p->fresh == NULL);
	if (g == NULL)
		return err_set(&r->system, ERR_OS, "no memory for an SA");
	rc = ipsec_reserve(p->agent->db, p->policy, &g->ctx, &g->in, &r->system);
	if (rc < 0) {
		generation_free(p->agent, g);
		err_in(&r->system, "reserve an SPI");
		return rc;
	}
	p->fresh = g;
	r->spi = g->in;
	log_line(LOG_DEBUG, "peer %s: in %08x reserved", p->name, g->in.n);
	return 0;
}

/* Keeps the key of one SA, if the config allows that it is exported. */
static void keep_key(struct pair *p, struct generation *g, const struct sa_keys *k, bool is_in)
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

static int install(struct pair *p, struct driver_result *r)
{
	const struct sa_keys *k = &p->x.sa_in;
	struct generation *g = p->fresh;
	int rc;

	generations_set_limits(p, k->esn);
	rc = ipsec_install(p->agent->db, g->ctx, k, &p->x.sa_out, &r->system);
	if (rc < 0) {
		err_in(&r->system, "install the SAs of epoch %llu", (unsigned long long)k->epoch);
		return rc;
	}
	g->has_in = true;
	keep_key(p, g, k, true);
	g->epoch = k->epoch;
	g->suite = k->suite;
	g->esn = k->esn;
	g->probe_key = p->x.probe_key;
	wipe(&p->x.probe_key, sizeof p->x.probe_key);
	g->hard_ms = loop_now_ms() + (uint64_t)k->lifetime_s * 1000;
	p->receipt.inbound_us = since_start(p);
	log_line(LOG_DEBUG, "peer %s: epoch %llu: in %08x installed, out %08x prepared", p->name,
		 (unsigned long long)g->epoch, k->spi.n, p->x.sa_out.spi.n);
	return 0;
}

static int activate(struct pair *p, struct driver_result *r)
{
	const struct sa_keys *k = &p->x.sa_out;
	struct generation *g = p->fresh;
	int rc;

	generations_set_limits(p, k->esn);
	rc = ipsec_activate(p->agent->db, g->ctx, k, &r->system);
	if (rc < 0) {
		err_in(&r->system, "activate the outbound SA %08x", k->spi.n);
		return rc;
	}
	g->has_out = true;
	keep_key(p, g, k, false);
	g->out = k->spi;
	g->since_ms = loop_now_ms();
	p->receipt.switch_us = since_start(p);
	log_line(LOG_DEBUG, "peer %s: epoch %llu: out %08x activated", p->name,
		 (unsigned long long)g->epoch, g->out.n);
	return 0;
}

static void commit(struct pair *p)
{
	if (p->current != NULL)
		generation_supersede(p, p->current);
	p->current = p->fresh;
	p->fresh = NULL;
	deadline_set_by(&p->generations_due, p->current->hard_ms);
	generations_schedule_rekey(p);
}

static void uncommit(struct pair *p)
{
	generation_remove(p, p->current); /* the system falls back to the former outbound */
	p->current = NULL;
	for (struct generation **at = &p->superseded; *at != NULL; at = &(*at)->next) {
		struct generation *g = *at;

		if (g->epoch != p->x.current.epoch || !g->has_out)
			continue;
		*at = g->next;
		generation_uncount(p, g);
		g->retired = false;
		g->next = NULL;
		p->current = g;
		break;
	}
	if (p->current == NULL)
		exchange_forget(&p->x);
	generations_schedule_rekey(p);
}

static void supersede_fresh(struct pair *p)
{
	generation_remove_part(p, p->fresh, IPSEC_OUTBOUND); /* also one that was not activated */
	generation_supersede(p, p->fresh);
	deadline_set_by(&p->generations_due, p->fresh->hard_ms);
	p->fresh = NULL;
}

static int perform_one(struct pair *p, const struct xactions *out, const struct xaction *a,
		       struct driver_result *r)
{
	switch (a->kind) {
	case XA_RESERVE:
		r->answer = true;
		return reserve(p, r);
	case XA_INSTALL:
		r->answer = true;
		return install(p, r);
	case XA_ACTIVATE:
		r->answer = true;
		return activate(p, r);
	case XA_COMMIT:
		commit(p);
		break;
	case XA_UNCOMMIT:
		uncommit(p);
		break;
	case XA_RETIRE:
		generations_retire(p);
		break;
	case XA_REMOVE:
		if (p->fresh != NULL)
			generation_remove(p, p->fresh);
		p->fresh = NULL;
		break;
	case XA_HOLD:
		supersede_fresh(p);
		break;
	case XA_SEND:
		if (!p->is_linked || !p->host->send(p->peer, out->send, out->send_len))
			r->send_failed = true;
		break;
	case XA_TIMER:
		deadline_set(&p->exchange_due, loop_now_ms() + a->ms);
		break;
	case XA_NO_TIMER:
		deadline_set(&p->exchange_due, 0);
		break;
	case XA_CLOSE:
		r->close = true;
		r->close_fault = a->fault;
		break;
	case XA_END:
		r->ended = true;
		r->result = a->fault;
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
	log_line(LOG_DEBUG, "peer %s: exchange %s + %s -> %s:%s", p->name, from,
		 xevent_name(ev->kind), xstate_name(p->x.state), actions);
}

void driver_run(struct pair *p, const struct xevent *first, struct driver_result *r)
{
	struct agent *a = p->agent;
	struct xactions *out = &a->scratch;
	struct xevent ev = *first;

	*r = (struct driver_result){.result = FAULT_NONE};
	assert(!a->is_driving);
	a->is_driving = true;
	for (;;) {
		int rc = 0;

		r->answer = false;
		feed(p, &ev, out);
		r->acted = r->acted || out->n > 0;
		for (size_t i = 0; i < out->n && rc == 0; i++)
			rc = perform_one(p, out, &out->v[i], r);
		xactions_wipe(out);
		if (!r->answer)
			break;
		memset(&ev, 0, sizeof ev);
		ev.kind = rc == 0               ? XE_IPSEC_OK
			  : rc == IPSEC_UNKNOWN ? XE_IPSEC_UNKNOWN
						: XE_IPSEC_FAILED;
		ev.spi = r->spi;
	}
	a->is_driving = false;
}
