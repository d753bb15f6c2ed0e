/*
 * agent/daemon/pair/completion.c - waiting for a peer: exchange, then proof, then drain.
 */
#include "agent/daemon/pair/completion.h"

#include "agent/daemon/event.h"
#include "agent/daemon/link/link.h"

#include <string.h>

static void unqueue(struct waiter *w)
{
	struct peer *p = w->peer;

	if (p == NULL)
		return;
	for (struct waiter **at = &p->waiters; *at != NULL; at = &(*at)->next) {
		if (*at == w) {
			*at = w->next;
			break;
		}
	}
	w->peer = NULL;
}

static void over(struct waiter *w, const struct err *e)
{
	unqueue(w);
	w->phase = PHASE_OVER;
	w->done(w, e);
}

void waiter_cancel(struct waiter *w)
{
	if (w->run != NULL)
		verify_cancel(w->run);
	w->run = NULL;
	unqueue(w);
	w->phase = PHASE_OVER;
}

/* The first waiter in this phase; calls of done() change the list, so walks start anew. */
static struct waiter *first(struct peer *p, enum waiter_phase phase)
{
	for (struct waiter *w = p->waiters; w != NULL; w = w->next)
		if (w->phase == phase && w->kind != WAIT_VERIFY)
			return w;
	return NULL;
}

static void proven(struct waiter *w)
{
	if (w->want_drain && w->peer->held != NULL)
		w->phase = PHASE_DRAIN;
	else
		over(w, NULL);
}

void waiters_on_drained(struct peer *p)
{
	struct waiter *w;

	while ((w = first(p, PHASE_DRAIN)) != NULL)
		over(w, NULL);
}

static void on_auto_run(void *arg, const struct verify_result *r)
{
	struct peer *p = arg;
	struct waiter *w;

	p->auto_run = NULL;
	while ((w = first(p, PHASE_VERIFY)) != NULL) {
		w->result = *r;
		w->has_result = true;
		if (r->verified)
			proven(w);
		else
			over(w, &r->why);
	}
}

static void start_auto_run(struct peer *p)
{
	if (p->auto_run != NULL)
		verify_cancel(p->auto_run);
	p->auto_run = verify_start(p, VERIFY_COUNT, 0, on_auto_run, p);
}

void waiters_on_exchange(struct peer *p, const struct err *e)
{
	bool prove = p->cfg.opt.verify;
	struct waiter *w;

	if (e != NULL) {
		while ((w = first(p, PHASE_EXCHANGE)) != NULL)
			over(w, e);
		return;
	}
	/* Phases first, calls of done() after: a callback may queue a new waiter. */
	for (w = p->waiters; w != NULL; w = w->next) {
		if (w->kind == WAIT_VERIFY || w->phase != PHASE_EXCHANGE)
			continue;
		w->receipt = p->receipt;
		w->changed = true;
		w->phase = w->want_verify ? PHASE_VERIFY : PHASE_DRAIN;
		prove = prove || w->want_verify;
	}
	if (prove)
		start_auto_run(p);
	for (;;) {
		for (w = p->waiters; w != NULL; w = w->next)
			if (w->kind != WAIT_VERIFY && w->phase == PHASE_DRAIN &&
			    (!w->want_drain || p->held == NULL))
				break;
		if (w == NULL)
			break;
		over(w, NULL);
	}
}

void waiters_on_agreed(struct peer *p)
{
	if (p->cfg.opt.verify && p->current != NULL && !p->verified && p->auto_run == NULL)
		start_auto_run(p);
}

void waiters_fail(struct peer *p, const struct err *e)
{
	while (p->waiters != NULL) {
		struct waiter *w = p->waiters;

		if (w->run != NULL)
			verify_cancel(w->run);
		w->run = NULL;
		over(w, e);
	}
}

static void on_own_run(void *arg, const struct verify_result *r)
{
	struct waiter *w = arg;

	w->run = NULL;
	w->result = *r;
	w->has_result = true;
	over(w, r->verified ? NULL : &r->why);
}

static void not_up(const struct peer *p, struct err *e)
{
	err_set(e, ERR_DOWN, "the pair with %s is %s", p->cfg.name, peer_state_word(p));
	err_hint(e, p->wanted ? "sapair up waits for it; sapair status shows what is in the way"
			      : "sapair up brings it back");
}

static void wait_up(struct peer *p, struct waiter *w)
{
	if (p->current == NULL) {
		w->phase = PHASE_EXCHANGE;
		return;
	}
	if (!w->want_verify || p->verified) {
		over(w, NULL);
		return;
	}
	w->phase = PHASE_VERIFY;
	if (p->auto_run == NULL)
		start_auto_run(p);
}

static void wait_rekey(struct peer *p, struct waiter *w)
{
	struct err e = {0};

	if (p->current == NULL && p->x.state == XS_IDLE) {
		not_up(p, &e);
		over(w, &e);
		return;
	}
	w->phase = PHASE_EXCHANGE;
	w->joined = p->x.state != XS_IDLE || p->want_exchange;
	/* One that waits for its turn after failures begins now: the user does not wait for it. */
	if (!w->joined || (p->x.state == XS_IDLE && !p->asked))
		peer_want_exchange(p, REASON_REQUEST);
}

void peer_wait(struct peer *p, struct waiter *w)
{
	struct err e = {0};

	w->since_us = loop_now_us();
	w->peer = p;
	w->next = p->waiters;
	p->waiters = w;
	if (!p->wanted || p->removed) {
		not_up(p, &e);
		over(w, &e);
		return;
	}
	switch (w->kind) {
	case WAIT_UP:
		wait_up(p, w);
		break;
	case WAIT_REKEY:
		wait_rekey(p, w);
		break;
	case WAIT_VERIFY:
		if (p->current == NULL) {
			not_up(p, &e);
			over(w, &e);
			return;
		}
		w->phase = PHASE_VERIFY;
		w->run = verify_start(p, w->count, w->interval_ms, on_own_run, w);
		break;
	}
}

void waiter_why(const struct waiter *w, struct err *e)
{
	const struct peer *p = w->peer;
	char who[ENDPOINT_TEXT];

	if (p == NULL) {
		err_set(e, ERR_TIMEOUT, "no result in time");
		return;
	}
	endpoint_put(who, &p->cfg.remote);
	if (w->phase == PHASE_VERIFY) {
		err_set(e, ERR_VERIFY, "the SAs are installed, but no proof came in time");
		return;
	}
	if (w->phase == PHASE_DRAIN) {
		err_set(e, ERR_TIMEOUT, "the new pair is in force; the old SAs are not gone yet");
		return;
	}
	if (p->link != NULL) {
		err_set(e, ERR_TIMEOUT, "%s answers, but no exchange ended in time", who);
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
