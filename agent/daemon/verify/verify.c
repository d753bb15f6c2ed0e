/*
 * agent/daemon/verify/verify.c - probes through the SAs.
 *
 * A run sends its probes on whatever outbound SA is selected, so a run that spans rekeys shows
 * whether one packet was lost. The peer echoes each; then it is asked over the link how many
 * arrived, and what its counters say.
 */
#include "agent/daemon/verify/verify.h"

#include "agent/daemon/verify/transport.h"
#include "agent/daemon/event.h"
#include "agent/daemon/link/link.h"
#include "agent/daemon/peer/peer.h"
#include "crypto/random.h"
#include "proto/exchange/probe.h"

#include <stdlib.h>
#include <string.h>

#define BURST 64 /* probes sent in one turn of the loop */

struct verify {
	struct verify *next; /* of the peer's runs */
	struct peer *peer;
	uv_timer_t timer;
	uint64_t id;
	uint32_t count, interval_ms;
	uint32_t in_round, rounds;
	bool reporting;
	verify_done *done;
	void *arg;
	struct verify_result r;
	uint32_t rtts;
	uint32_t samples; /* places in both, at most VERIFY_SAMPLES: small runs stay small */
	struct {
		uint64_t sent_us; /* by number modulo samples; 0: echoed or free */
		uint32_t rtt_us;  /* in order of arrival, modulo samples */
	} s[];
};

static void on_tick(uv_timer_t *t);

static void on_closed(uv_handle_t *h)
{
	free(h->data);
}

static void unlist(struct verify *v)
{
	struct peer *p = v->peer;

	if (p == NULL)
		return;
	for (struct verify **at = &p->verifies; *at != NULL; at = &(*at)->next) {
		if (*at == v) {
			*at = v->next;
			break;
		}
	}
	if (p->auto_run == v)
		p->auto_run = NULL;
	v->peer = NULL;
}

void verify_cancel(struct verify *v)
{
	unlist(v);
	if (!uv_is_closing((uv_handle_t *)&v->timer))
		uv_close((uv_handle_t *)&v->timer, on_closed);
}

static int by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* ---- the result ------------------------------------------------------------------------ */

static void why_not(struct verify *v)
{
	struct verify_result *r = &v->r;
	const struct gen *g = v->peer->current;

	if (r->sent == 0) {
		if (r->why.code == ERR_NONE)
			err_set(&r->why, ERR_VERIFY, "no probe could be sent");
		return;
	}
	if (r->arrived_known && r->arrived == 0) {
		err_set(&r->why, ERR_VERIFY,
			"SAs are installed on both hosts, but nothing arrived: our out %08x sent %u "
			"probes, the peer received 0",
			g != NULL ? g->out.n : 0, r->sent);
		err_hint(&r->why, "is ESP (with the soft back end: its UDP port) filtered between "
				  "the hosts?");
	} else if (r->arrived_known) {
		err_set(&r->why, ERR_VERIFY,
			"our probes arrive (%u of %u), but no echo comes back: our in %08x received "
			"0",
			r->arrived, r->sent, g != NULL ? g->in.n : 0);
		err_hint(&r->why, "is ESP filtered on the way from the peer to this host?");
	} else {
		err_set(&r->why, ERR_VERIFY,
			"%u probes sent on %08x, no echo, and no report from the peer either",
			r->sent, g != NULL ? g->out.n : 0);
		err_hint(&r->why, "is the link up? see sapair status");
	}
}

static void own_counts(struct verify *v)
{
	struct agent *a = v->peer->agent;
	const struct gen *g = v->peer->current;
	struct sa_counts in, out;

	if (!v->r.counts_known)
		return;
	v->r.counts_known = g != NULL &&
			    ipsec_query(a->db, g->ctx, IPSEC_INBOUND, &in, NULL) == 0 &&
			    ipsec_query(a->db, g->ctx, IPSEC_OUTBOUND, &out, NULL) == 0 &&
			    (in.known & out.known & IPSEC_KNOWS_PACKETS) != 0;
	if (!v->r.counts_known)
		return;
	v->r.in_packets = in.packets;
	v->r.out_packets = out.packets;
}

static void told(struct verify *v, bool was)
{
	struct peer *p = v->peer;
	struct event_out ev;

	if (!v->r.verified) {
		event_fail(p->agent, EVENT_VERIFY_FAILED, p->cfg.name, &v->r.why);
		peer_trouble(p, &v->r.why);
		return;
	}
	if (was)
		return;
	event_begin(&ev, p->agent, EVENT_VERIFIED, p->cfg.name);
	if (ev.wanted) {
		json_put_dec64(&ev.json, "epoch", v->r.epoch);
		json_put_u64(&ev.json, "sent", v->r.sent);
		json_put_u64(&ev.json, "echoed", v->r.echoed);
		json_put_ms(&ev.json, "rtt_ms", v->r.rtt_median_us);
	}
	event_end(&ev, "verified: %u of %u probes both ways, %llu.%03llu ms", v->r.echoed,
		  v->r.sent, (unsigned long long)v->r.rtt_median_us / 1000,
		  (unsigned long long)v->r.rtt_median_us % 1000);
}

static void finish(struct verify *v)
{
	struct peer *p = v->peer;
	verify_done *done = v->done;
	struct verify_result r;
	bool was = p->verified && p->verify_epoch == p->x.current.epoch;

	if (v->rtts > 0) {
		uint32_t n = v->rtts < v->samples ? v->rtts : v->samples;
		uint32_t rtt[VERIFY_SAMPLES] = {0};

		for (uint32_t i = 0; i < n; i++)
			rtt[i] = v->s[i].rtt_us;
		qsort(rtt, n, sizeof rtt[0], by_size);
		v->r.rtt_median_us = rtt[n / 2];
	}
	v->r.epoch = p->x.current.epoch;
	v->r.verified = v->r.echoed > 0 && p->current != NULL;
	if (!v->r.verified)
		why_not(v);
	own_counts(v);
	p->verified = v->r.verified;
	p->verified_ms = loop_now_ms();
	p->verified_rtt_us = v->r.rtt_median_us;
	p->verify_epoch = v->r.epoch;
	told(v, was);
	r = v->r;
	if (done != NULL) {
		void *arg = v->arg;

		verify_cancel(v);
		done(arg, &r);
		return;
	}
	verify_cancel(v);
}

/* ---- sending --------------------------------------------------------------------------- */

static bool send_probe(struct peer *p, const struct probe *probe, struct err *e)
{
	const struct secret *key = peer_probe_key(p, probe->epoch);
	uint8_t packet[PROBE_LEN];

	if (key == NULL || !probe_make(packet, probe, key)) {
		err_set(e, ERR_DOWN, "no pair is in force");
		return false;
	}
	return carrier_send(p, packet, sizeof packet, e) == 0;
}

static void send_next(struct verify *v)
{
	struct probe probe = {.kind = PROBE_ASK,
			      .id = v->id,
			      .number = v->r.sent + 1,
			      .epoch = v->peer->x.current.epoch};

	v->in_round++;
	if (!send_probe(v->peer, &probe, &v->r.why))
		return;
	v->r.sent++;
	v->s[v->r.sent % v->samples].sent_us = loop_now_us();
}

static void ask_report(struct verify *v)
{
	struct msg m = {.type = MSG_PROBE};

	v->reporting = true;
	if (v->peer->link == NULL) {
		finish(v);
		return;
	}
	m.u.probe.id = v->id;
	m.u.probe.epoch = v->peer->x.current.epoch;
	m.u.probe.sent = v->r.sent;
	link_send(v->peer->link, &m);
	uv_timer_start(&v->timer, on_tick, VERIFY_REPORT_MS, 0);
}

static void on_tick(uv_timer_t *t)
{
	struct verify *v = t->data;

	if (v->reporting) { /* no report came */
		finish(v);
		return;
	}
	if (v->in_round < v->count) {
		/* What the interval has made due, without bursts after a stall of the loop. */
		uint32_t due = v->interval_ms == 0 ? BURST : 1;

		while (due-- > 0 && v->in_round < v->count)
			send_next(v);
		uv_timer_start(&v->timer, on_tick,
			       v->in_round < v->count ? v->interval_ms : VERIFY_ECHO_MS, 0);
		return;
	}
	if (v->r.echoed == 0 && ++v->rounds < VERIFY_ROUNDS) {
		v->in_round = 0;
		uv_timer_start(&v->timer, on_tick, 0, 0);
		return;
	}
	ask_report(v);
}

struct verify *verify_start(struct peer *p, uint32_t count, uint32_t interval_ms, verify_done *done,
			    void *arg)
{
	uint32_t samples = count < VERIFY_SAMPLES / VERIFY_ROUNDS ? count * VERIFY_ROUNDS + 1
								  : VERIFY_SAMPLES;
	struct verify *v = calloc(1, sizeof *v + samples * sizeof v->s[0]);

	if (v == NULL) { /* times of the last probes only */
		samples = VERIFY_ROUNDS + 1;
		v = calloc(1, sizeof *v + samples * sizeof v->s[0]);
	}
	if (v == NULL)
		abort(); /* bounded by the number of peers and clients: out of memory for good */
	v->peer = p;
	v->count = count;
	v->samples = samples;
	v->interval_ms = interval_ms;
	v->done = done;
	v->arg = arg;
	v->id = random_u64();
	uv_timer_init(&p->agent->loop.uv, &v->timer);
	v->timer.data = v;
	v->next = p->verifies;
	p->verifies = v;
	uv_timer_start(&v->timer, on_tick, 0, 0);
	return v;
}

/* ---- receiving ------------------------------------------------------------------------- */

static void on_echo(struct peer *p, const struct probe *probe)
{
	struct verify *v = p->verifies;
	uint64_t *sent;
	uint32_t rtt;

	while (v != NULL && v->id != probe->id)
		v = v->next;
	if (v == NULL || probe->number == 0 || probe->number > v->r.sent ||
	    v->r.sent - probe->number >= v->samples)
		return;
	sent = &v->s[probe->number % v->samples].sent_us;
	if (*sent == 0)
		return; /* counted already */
	rtt = (uint32_t)(loop_now_us() - *sent);
	*sent = 0;
	v->s[v->rtts++ % v->samples].rtt_us = rtt;
	if (v->r.echoed == 0 || rtt < v->r.rtt_min_us)
		v->r.rtt_min_us = rtt;
	if (rtt > v->r.rtt_max_us)
		v->r.rtt_max_us = rtt;
	v->r.echoed++;
	if (v->r.echoed == v->r.sent && v->in_round >= v->count && !v->reporting)
		ask_report(v);
}

/* The run moves to the front; the one that was quiet for longest makes room for a new one. */
static void count_seen(struct peer *p, uint64_t id)
{
	uint32_t count;
	size_t i = 0;

	while (i < SEEN_RUNS - 1 && p->seen[i].id != id)
		i++;
	count = p->seen[i].id == id ? p->seen[i].count : 0;
	memmove(p->seen + 1, p->seen, i * sizeof p->seen[0]);
	p->seen[0].id = id;
	p->seen[0].count = count + 1;
}

void verify_on_datagram(struct peer *p, const uint8_t *data, size_t n)
{
	const struct secret *key;
	struct probe probe;

	if (!probe_peek(data, n, &probe))
		return;
	key = peer_probe_key(p, probe.epoch);
	if (key == NULL || !probe_check(data, key))
		return;
	if (probe.kind == PROBE_ECHO) {
		on_echo(p, &probe);
		return;
	}
	count_seen(p, probe.id);
	probe.kind = PROBE_ECHO;
	send_probe(p, &probe, NULL);
}

void verify_on_probe(struct peer *p, const struct msg_probe *m)
{
	struct msg out = {.type = MSG_REPORT};
	struct msg_report *r = &out.u.report;
	const struct gen *g = p->current;
	struct sa_counts in, up;

	r->id = m->id;
	r->epoch = p->x.current.epoch;
	for (int i = 0; i < SEEN_RUNS; i++)
		if (p->seen[i].id == m->id)
			r->received = p->seen[i].count;
	r->in = p->x.current.in;
	r->out = p->x.current.out;
	if (g != NULL && ipsec_query(p->agent->db, g->ctx, IPSEC_INBOUND, &in, NULL) == 0 &&
	    ipsec_query(p->agent->db, g->ctx, IPSEC_OUTBOUND, &up, NULL) == 0 &&
	    (in.known & up.known & IPSEC_KNOWS_PACKETS) != 0) {
		r->has_counts = true;
		r->in_packets = in.packets;
		r->out_packets = up.packets;
	}
	link_send(p->link, &out);
}

void verify_on_report(struct peer *p, const struct msg_report *m)
{
	struct verify *v = p->verifies;

	while (v != NULL && v->id != m->id)
		v = v->next;
	if (v == NULL || !v->reporting)
		return;
	/* An echo shows that its probe has arrived, also where the peer has lost count. */
	v->r.arrived = m->received > v->r.echoed ? m->received : v->r.echoed;
	v->r.arrived_known = true;
	if (m->has_counts && m->epoch == p->x.current.epoch) {
		v->r.counts_known = true;
		v->r.peer_in_packets = m->in_packets;
		v->r.peer_out_packets = m->out_packets;
	}
	finish(v);
}
