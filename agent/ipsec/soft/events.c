/*
 * agent/ipsec/soft/events.c - events of the back end soft.
 */
#include "agent/ipsec/soft/db.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REPORT_MS 1000 /* IPSEC_EV_DROPPED comes at most so often */

static const char *const drop_texts[DROPS] = {
	[DROP_UNKNOWN] = "unknown SPI",
	[DROP_SOURCE] = "wrong sender for its SA",
	[DROP_REPLAYED] = "replayed or too old",
	[DROP_INTEGRITY] = "wrong integrity check value",
	[DROP_SHAPE] = "malformed",
};

void soft_raise(struct soft *db, const struct ipsec_event *ev)
{
	db->env.on_event(db->env.arg, ev);
}

static void on_wake(uv_timer_t *t)
{
	struct soft *db = t->data;

	while (!db->closing && db->waiting != NULL) {
		struct waiting *w = db->waiting;

		db->waiting = w->next;
		if (db->waiting == NULL)
			db->last_waiting = &db->waiting;
		soft_raise(db, &w->ev);
		free(w);
	}
}

void soft_raise_later(struct soft *db, struct pair *pair, enum ipsec_event_kind kind,
		      enum ipsec_part part, enum rekey_reason reason, const char *text)
{
	struct waiting *w = calloc(1, sizeof *w);

	if (w == NULL)
		w = calloc(1, sizeof *w);
	if (w == NULL)
		abort(); /* without the event, an expired pair would not be rekeyed */
	w->policy = pair->policy;
	w->ev.kind = kind;
	w->ev.owner = pair->policy->p->owner;
	w->ev.ctx.id = pair->id;
	w->ev.part = part;
	w->ev.reason = reason;
	w->ev.spi = part == IPSEC_INBOUND ? pair->spi : pair->out->esp.spi;
	w->ev.text = text;
	*db->last_waiting = w;
	db->last_waiting = &w->next;
	uv_timer_start(&db->wake, on_wake, 0, 0);
}

void soft_forget_events(struct soft *db, const struct soft_policy *pol, uint64_t id, unsigned parts)
{
	struct waiting **at = &db->waiting;

	while (*at != NULL) {
		struct waiting *w = *at;

		if (w->policy == pol &&
		    (parts == 0 || (w->ev.ctx.id == id && ((unsigned)w->ev.part & parts) != 0))) {
			*at = w->next;
			free(w);
		} else {
			at = &w->next;
		}
	}
	db->last_waiting = at;
}

static void on_report(uv_timer_t *t)
{
	struct soft *db = t->data;
	struct ipsec_event ev = {.kind = IPSEC_EV_DROPPED};
	char text[320], from[ENDPOINT_TEXT];
	size_t n = 0;

	for (size_t i = 0; i < DROPS; i++)
		if (db->dropped.n[i] > 0)
			n += (size_t)snprintf(text + n, sizeof text - n, "%s%u %s",
					      n > 0 ? ", " : "", db->dropped.n[i], drop_texts[i]);
	endpoint_put(from, &db->dropped.from);
	snprintf(text + n, sizeof text - n, "; last from %s, SPI %08" PRIx32, from,
		 db->dropped.spi.n);
	ev.owner = db->dropped.policy != NULL ? db->dropped.policy->p->owner : NULL;
	ev.spi = db->dropped.spi;
	ev.n = db->dropped.all;
	ev.text = text;

	memset(&db->dropped, 0, sizeof db->dropped);
	db->dropped.told_ms = uv_now(t->loop);
	soft_raise(db, &ev);
}

void soft_dropped(struct soft *db, enum drop why, struct soft_policy *pol,
		  const struct endpoint *from, struct spi spi)
{
	if (db->dropped.all == 0) {
		uint64_t since_ms = uv_now(db->env.loop) - db->dropped.told_ms;
		bool quiet = db->dropped.told_ms == 0 || since_ms >= REPORT_MS;

		uv_timer_start(&db->report, on_report, quiet ? 0 : REPORT_MS - since_ms, 0);
		db->dropped.policy = pol;
	} else if (db->dropped.policy != pol) {
		db->dropped.policy = NULL;
	}
	db->dropped.n[why]++;
	db->dropped.all++;
	db->dropped.from = *from;
	db->dropped.spi = spi;
}
