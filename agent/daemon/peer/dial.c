/*
 * agent/daemon/peer/dial.c - dialler of a peer.
 */
#include "agent/daemon/peer/dial.h"

#include "agent/os/log.h"
#include "crypto/random.h"

#define DIAL_FIRST_MS 250
#define DIAL_MAX_MS 30000
#define DIAL_COURTESY_MS 20 /* the host with the greater address lets the other one dial first */
#define FAILURES_SLOW 3

/* ---- slots ----------------------------------------------------------------------------- */

static void dial(struct dialler *d)
{
	struct err e = {0};

	if (d->link != NULL || d->dialling != NULL || !d->is_enabled || d->agent->stopping)
		return;
	d->has_deferred = false;
	d->dialling = link_dial(d->agent, d->ops, d->owner, &d->policy->local, &d->cfg->remote, &e);
	if (d->dialling != NULL) {
		d->has_slot = true;
		d->agent->dials++;
		return;
	}
	d->failed(d->owner, &e);
	d->failures++;
	deadline_set(&d->due, loop_now_ms() + DIAL_MAX_MS / 4);
}

/* The peer is connecting to us: wait for the outcome, but not twice in a row. */
static bool defer_to_half_open(struct dialler *d)
{
	if (d->n_half_open == 0 || d->has_deferred)
		return false;
	d->has_deferred = true;
	deadline_set(&d->due, loop_now_ms() + DIAL_FIRST_MS);
	return true;
}

static void free_slot(struct dialler *d)
{
	struct agent *a = d->agent;

	if (!d->has_slot)
		return;
	d->has_slot = false;
	a->dials--;
	while (a->dials < DIALS_MAX && a->dial_first != NULL) {
		struct dialler *next = a->dial_first;

		a->dial_first = next->next;
		if (a->dial_first == NULL)
			a->dial_last = NULL;
		next->next = NULL;
		next->is_queued = false;
		if (!defer_to_half_open(next))
			dial(next);
	}
}

static void leave_queue(struct dialler *d)
{
	struct agent *a = d->agent;
	struct dialler *before = NULL;

	if (!d->is_queued)
		return;
	for (struct dialler **at = &a->dial_first; *at != NULL; at = &(*at)->next) {
		if (*at == d) {
			*at = d->next;
			if (a->dial_last == d)
				a->dial_last = before;
			break;
		}
		before = *at;
	}
	d->next = NULL;
	d->is_queued = false;
}

/* Of the two hosts, the one that lets the other dial first. */
static bool is_courteous(const struct dialler *d)
{
	int order = addr_compare(&d->policy->local, &d->cfg->remote.addr);

	if (order == 0)
		order = (int)d->policy->control_port - (int)d->cfg->remote.port;
	return order > 0;
}

static void join_queue(struct dialler *d)
{
	struct agent *a = d->agent;
	/* Two hosts that share many pairs go through them from opposite ends, so that they
	 * seldom dial each other at once. Only new ones may overtake: those that failed wait. */
	bool first = is_courteous(d) && d->failures == 0;

	d->is_queued = true;
	if (first || a->dial_last == NULL) {
		d->next = a->dial_first;
		a->dial_first = d;
		if (a->dial_last == NULL)
			a->dial_last = d;
		return;
	}
	a->dial_last->next = d;
	a->dial_last = d;
}

/* ---- times ----------------------------------------------------------------------------- */

static void on_due(void *arg)
{
	struct dialler *d = arg;

	if (d->cfg->opt.role == ROLE_LISTEN || d->link != NULL || d->dialling != NULL ||
	    d->is_queued || !d->is_enabled || d->agent->stopping)
		return;
	if (defer_to_half_open(d))
		return;
	if (d->agent->dials < DIALS_MAX)
		dial(d);
	else
		join_queue(d);
}

void dialler_retry(struct dialler *d)
{
	uint64_t ms = (uint64_t)DIAL_FIRST_MS << (d->failures > 7 ? 7 : d->failures);

	if (ms > DIAL_MAX_MS)
		ms = DIAL_MAX_MS;
	ms = ms / 2 + random_u32() % ((unsigned)ms / 2); /* half of it to the whole */
	deadline_set(&d->due, loop_now_ms() + ms);
}

void dialler_retry_slowly(struct dialler *d)
{
	d->failures = FAILURES_SLOW;
	dialler_retry(d);
}

bool dialler_is_waiting(const struct dialler *d)
{
	return d->due.at_ms != 0;
}

void dialler_hurry(struct dialler *d)
{
	if (d->link == NULL && d->dialling == NULL && d->is_enabled &&
	    d->due.at_ms > loop_now_ms() + DIAL_FIRST_MS)
		deadline_set(&d->due, loop_now_ms());
}

void dialler_reset_failures(struct dialler *d)
{
	d->failures = 0;
}

void dialler_init(struct dialler *d, struct agent *a, const struct peer_config *cfg,
		  const struct policy *policy, struct deadlines *deadlines,
		  const struct link_owner *ops, struct peer *owner,
		  void (*failed)(struct peer *owner, const struct err *e))
{
	*d = (struct dialler){.agent = a,
			      .cfg = cfg,
			      .policy = policy,
			      .ops = ops,
			      .owner = owner,
			      .failed = failed};
	deadlines_add(deadlines, &d->due, on_due, d);
}

void dialler_enable(struct dialler *d)
{
	d->is_enabled = true;
	if (d->cfg->opt.role != ROLE_LISTEN) /* saves most of the double handshakes */
		deadline_set(&d->due, loop_now_ms() + (is_courteous(d) ? DIAL_COURTESY_MS : 0));
}

void dialler_disable(struct dialler *d)
{
	d->is_enabled = false;
	leave_queue(d);
	deadline_set(&d->due, 0);
}

/* ---- links ----------------------------------------------------------------------------- */

struct link *dialler_link(const struct dialler *d)
{
	return d->link;
}

bool dialler_is_dialling(const struct dialler *d)
{
	return d->dialling != NULL;
}

bool dialler_is_first_failure(const struct dialler *d)
{
	return d->failures == 1;
}

bool dialler_has_other(const struct dialler *d)
{
	return d->link != NULL ||
	       (d->dialling != NULL && link_facts(d->dialling)->state == LINK_GREETING);
}

static void forget_half_open(struct dialler *d, const struct link *l)
{
	for (unsigned i = 0; i < d->n_half_open; i++) {
		if (d->half_open[i] != l)
			continue;
		d->n_half_open--;
		for (; i < d->n_half_open; i++)
			d->half_open[i] = d->half_open[i + 1];
		return;
	}
}

/* Closes one if there are too many of the kind of l: the least far on, of those the oldest. */
static void limit_half_open(struct dialler *d, const struct link *l)
{
	struct link *victim = NULL;
	char who[ADDR_TEXT];
	unsigned n = 0;

	for (unsigned i = 0; i < d->n_half_open; i++) { /* newest first */
		const struct link_facts *f = link_facts(d->half_open[i]);

		if (f->has_answered != link_facts(l)->has_answered)
			continue;
		n++;
		if (d->half_open[i] != l &&
		    (victim == NULL || f->state <= link_facts(victim)->state))
			victim = d->half_open[i];
	}
	if (n <= HALF_OPEN_MAX || victim == NULL)
		return;
	addr_put(who, &d->cfg->remote.addr);
	log_limited(loop_now_ms(), LOG_WARN, "%s: too many unfinished handshakes, oldest closed",
		    who);
	link_close(victim, FAULT_NONE);
}

void dialler_accept(struct dialler *d, struct link *l)
{
	for (unsigned i = d->n_half_open; i > 0; i--)
		d->half_open[i] = d->half_open[i - 1];
	d->half_open[0] = l;
	d->n_half_open++;
	limit_half_open(d, l);
}

void dialler_on_answered(struct dialler *d, const struct link *l)
{
	limit_half_open(d, l);
}

void dialler_on_hello(struct dialler *d, const struct link *l)
{
	if (d->dialling == l)
		free_slot(d);
}

void dialler_set_link(struct dialler *d, struct link *l)
{
	forget_half_open(d, l);
	if (d->dialling == l)
		d->dialling = NULL;
	d->link = l;
	d->failures = 0;
	deadline_set(&d->due, 0);
	leave_queue(d);
	/* A dial whose hello is sent may be up at the peer: that is for the election, on both hosts
	 * alike. Before that it is not needed any more. */
	if (d->dialling != NULL && link_facts(d->dialling)->state < LINK_GREETING)
		link_close(d->dialling, FAULT_NONE);
}

void dialler_on_lost(struct dialler *d, const struct link *l)
{
	if (d->dialling == l)
		d->failures++;
}

void dialler_on_gone(struct dialler *d, const struct link *l)
{
	if (d->link == l)
		d->link = NULL;
	forget_half_open(d, l);
	if (d->dialling == l) {
		d->dialling = NULL;
		free_slot(d);
	}
}

void dialler_close_links(struct dialler *d, enum fault fault)
{
	if (d->link != NULL)
		link_close(d->link, fault);
	if (d->dialling != NULL)
		link_close(d->dialling, FAULT_NONE);
	while (d->n_half_open > 0)
		link_close(d->half_open[0], FAULT_NONE);
}
