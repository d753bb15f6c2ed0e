/*
 * agent/daemon/peer/completion.c - waiting for a peer: exchange, then probes, then drain.
 */
#include "agent/daemon/peer/completion.h"

#include "agent/daemon/peer/inner.h"
#include "agent/daemon/peer/peer.h"

static void unqueue(struct completion *c)
{
	if (c->peer == NULL)
		return;
	for (struct completion **at = &c->peer->completions.first; *at != NULL; at = &(*at)->next) {
		if (*at == c) {
			*at = c->next;
			break;
		}
	}
	c->peer = NULL;
}

static void finish(struct completion *c, const struct err *e)
{
	unqueue(c);
	c->phase = PHASE_OVER;
	c->done(c, e);
}

void completion_cancel(struct completion *c)
{
	if (c->run != NULL)
		verify_cancel(c->run);
	c->run = NULL;
	unqueue(c);
	c->phase = PHASE_OVER;
}

/* The first in this phase. Calls of done() change the list: start again after each. */
static struct completion *find_in_phase(const struct completions *s, enum completion_phase phase)
{
	for (struct completion *c = s->first; c != NULL; c = c->next)
		if (c->phase == phase && c->kind != COMPLETE_VERIFY)
			return c;
	return NULL;
}

/* An exit status of 0 says that nothing passes in clear. */
static void finish_well(struct completion *c)
{
	struct err e = {0};

	finish(c, c->kind != COMPLETE_REKEY && protection_check(c->peer, &e) < 0 ? &e : NULL);
}

static void on_verified(struct completion *c)
{
	if (c->want_drain && !pair_is_drained(c->peer->pair))
		c->phase = PHASE_DRAIN;
	else
		finish_well(c);
}

void completions_on_drained(struct completions *s)
{
	struct completion *c;

	while ((c = find_in_phase(s, PHASE_DRAIN)) != NULL)
		finish_well(c);
}

static void on_auto_run(void *arg, const struct verify_result *r)
{
	struct completions *s = arg;
	struct completion *c;

	s->auto_run = NULL;
	while ((c = find_in_phase(s, PHASE_VERIFY)) != NULL) {
		c->result = *r;
		c->has_result = true;
		if (r->verified)
			on_verified(c);
		else
			finish(c, &r->why);
	}
}

static void start_auto_run(struct completions *s)
{
	completions_stop_run(s);
	s->auto_run = verify_start(s->peer->prober, VERIFY_COUNT, 0, on_auto_run, s);
}

void completions_stop_run(struct completions *s)
{
	if (s->auto_run != NULL)
		verify_cancel(s->auto_run);
	s->auto_run = NULL;
}

void completions_on_exchange(struct completions *s, const struct err *e)
{
	const struct pair *pair = s->peer->pair;
	bool verify = s->peer->cfg.opt.verify;
	struct completion *c;

	if (e != NULL) {
		while ((c = find_in_phase(s, PHASE_EXCHANGE)) != NULL)
			finish(c, e);
		return;
	}
	/* Phases first, calls of done() after: they may queue new ones. */
	for (c = s->first; c != NULL; c = c->next) {
		if (c->kind == COMPLETE_VERIFY || c->phase != PHASE_EXCHANGE)
			continue;
		c->receipt = *pair_receipt(pair);
		c->changed = true;
		c->phase = c->want_verify ? PHASE_VERIFY : PHASE_DRAIN;
		verify = verify || c->want_verify;
	}
	if (verify)
		start_auto_run(s);
	for (;;) {
		for (c = s->first; c != NULL; c = c->next)
			if (c->kind != COMPLETE_VERIFY && c->phase == PHASE_DRAIN &&
			    (!c->want_drain || pair_is_drained(pair)))
				break;
		if (c == NULL)
			break;
		finish_well(c);
	}
}

static bool is_verified(const struct peer *p)
{
	struct verify_state v;

	prober_state(p->prober, pair_state(p->pair)->epoch, &v);
	return v.verified;
}

void completions_on_agreed(struct completions *s)
{
	const struct peer *p = s->peer;

	if (p->cfg.opt.verify && pair_is_up(p->pair) && !is_verified(p) && s->auto_run == NULL)
		start_auto_run(s);
}

void completions_fail(struct completions *s, const struct err *e)
{
	while (s->first != NULL) {
		struct completion *c = s->first;

		if (c->run != NULL)
			verify_cancel(c->run);
		c->run = NULL;
		finish(c, e);
	}
}

void completions_init(struct completions *s, struct peer *p)
{
	*s = (struct completions){.peer = p};
}

static void on_own_run(void *arg, const struct verify_result *r)
{
	struct completion *c = arg;

	c->run = NULL;
	c->result = *r;
	c->has_result = true;
	if (r->verified)
		finish_well(c);
	else
		finish(c, &r->why);
}

static void not_up(const struct peer *p, struct err *e)
{
	err_set(e, ERR_DOWN, "the pair with %s is %s", p->cfg.name, peer_state_word(p));
	err_hint(e, p->is_wanted ? "sapair up waits for it; sapair status shows the cause"
				 : "sapair up brings it back");
}

static void start_up(struct peer *p, struct completion *c)
{
	if (!pair_is_up(p->pair)) {
		c->phase = PHASE_EXCHANGE;
		return;
	}
	if (!c->want_verify || is_verified(p)) {
		finish_well(c);
		return;
	}
	c->phase = PHASE_VERIFY;
	if (p->completions.auto_run == NULL)
		start_auto_run(&p->completions);
}

static void start_rekey(struct peer *p, struct completion *c)
{
	struct err e = {0};

	if (!pair_is_up(p->pair) && !pair_is_exchanging(p->pair)) {
		not_up(p, &e);
		finish(c, &e);
		return;
	}
	c->phase = PHASE_EXCHANGE;
	c->joined = pair_has_demand(p->pair);
	pair_demand(p->pair);
}

static void start_verify(struct peer *p, struct completion *c)
{
	struct err e = {0};

	if (!pair_is_up(p->pair)) {
		not_up(p, &e);
		finish(c, &e);
		return;
	}
	c->phase = PHASE_VERIFY;
	c->run = verify_start(p->prober, c->count, c->interval_ms, on_own_run, c);
}

void completion_start(struct peer *p, struct completion *c)
{
	struct err e = {0};

	c->since_us = loop_now_us();
	c->peer = p;
	c->next = p->completions.first;
	p->completions.first = c;
	if (!p->is_wanted || p->is_removed) {
		not_up(p, &e);
		finish(c, &e);
		return;
	}
	switch (c->kind) {
	case COMPLETE_UP:
		start_up(p, c);
		break;
	case COMPLETE_REKEY:
		start_rekey(p, c);
		break;
	case COMPLETE_VERIFY:
		start_verify(p, c);
		break;
	}
}

void completion_why(const struct completion *c, struct err *e)
{
	const struct peer *p = c->peer;
	char who[ENDPOINT_TEXT];

	if (p == NULL) {
		err_set(e, ERR_TIMEOUT, "no result in time");
		return;
	}
	endpoint_put(who, &p->cfg.remote);
	if (c->phase == PHASE_VERIFY) {
		err_set(e, ERR_VERIFY, "the SAs are installed, but could not be verified in time");
		return;
	}
	if (c->phase == PHASE_DRAIN) {
		err_set(e, ERR_TIMEOUT,
			"the new pair is in force, but old SAs are still being drained");
		return;
	}
	if (dialler_link(&p->dialler) != NULL) {
		err_set(e, ERR_TIMEOUT, "%s answers, but the exchange timed out", who);
		return;
	}
	if (p->trouble != NULL && (p->trouble->code == ERR_AUTH ||
				   p->trouble->code == ERR_REFUSED || p->trouble->code == ERR_OS)) {
		*e = *p->trouble;
		return;
	}
	err_set(e, ERR_TIMEOUT, "%s was not reached%s%s", who, p->trouble != NULL ? ": " : "",
		p->trouble != NULL ? p->trouble->cause : "");
	err_hint(e, "is the agent there running, and its port open?");
}
