/*
 * agent/daemon/verify/verify.c - probes through the SAs.
 *
 *     base     the peer is asked for the counters of its SAs
 *     proof    a few probes, which the peer echoes
 *     report   the peer is asked again: the counters of both ends must have grown by the probes, which
 *              else have come and gone beside the SAs
 *     rest     all further probes, and another report: how many were lost
 *
 * A probe leaves on the outbound SA that is selected at the time, so that a run that spans rekeys shows
 * whether a packet was lost.
 */
#include "agent/daemon/verify/verify.h"

#include "agent/daemon/verify/transport.h"
#include "crypto/random.h"
#include "proto/exchange/probe.h"

#include <stdlib.h>
#include <string.h>

#define VERIFY_PROOFS 3 /* tries, when a rekey comes between */
#define BURST 64        /* probes sent in one callback */
#define SEEN_RUNS 4     /* of the peer that may overlap: its users' and that of each new pair */

struct prober {
	struct agent *agent;
	const char *name;
	const struct verify_host *host;
	void *host_arg;
	struct transport transport;
	struct verify *runs;
	struct verify_state last;
	uint64_t last_epoch; /* that it is about */
	struct {
		uint64_t id;
		uint32_t count;
	} seen[SEEN_RUNS]; /* probes of the peer that arrived, by run: last one first */
};

/* Counters of the pair of an epoch at one end. */
struct counters {
	bool are_known;
	uint64_t epoch, in, out;
};

enum phase { RUN_NEW, RUN_BASE, RUN_PROOF, RUN_PROOF_REPORT, RUN_REST, RUN_REST_REPORT };

struct verify {
	struct verify *next;   /* of the prober's runs */
	struct prober *prober; /* NULL: cancelled */
	uv_timer_t timer;
	uint64_t id;
	uint32_t count, interval_ms;
	enum phase phase;
	uint32_t want; /* probes of this phase */
	uint32_t in_round, rounds;
	uint32_t asked;  /* sent, as the last request for a report says */
	uint32_t asks;   /* requests for this report */
	uint32_t proofs; /* begun */
	struct counters base, peer_base;
	uint32_t base_arrived, base_echoed;
	bool is_answered; /* the peer has sent a report */
	bool is_judged;   /* the counters have been compared */
	bool is_beside;   /* probes came back that the SAs did not carry */
	verify_done *done;
	void *arg;
	struct verify_result r;
	uint32_t rtts;
	uint32_t samples; /* length of s, at most VERIFY_SAMPLES */
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
	struct prober *p = v->prober;

	if (p == NULL)
		return;
	for (struct verify **at = &p->runs; *at != NULL; at = &(*at)->next) {
		if (*at == v) {
			*at = v->next;
			break;
		}
	}
	v->prober = NULL;
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

static bool current_pair(const struct prober *p, struct verify_pair *out)
{
	*out = (struct verify_pair){.epoch = 0};
	return p->host->pair(p->host_arg, out);
}

/* ---- the result ------------------------------------------------------------------------ */

static void explain_silence(struct verify *v, const struct verify_pair *pair)
{
	struct verify_result *r = &v->r;

	if (r->arrived_known && r->arrived == 0) {
		err_set(&r->why, ERR_VERIFY,
			"SAs are installed on both hosts, but nothing arrived: our out %08x sent %u "
			"probes, the peer received 0",
			pair->out.n, r->sent);
		err_hint(&r->why, "is ESP (with the soft back end: its UDP port) filtered between "
				  "the hosts?");
	} else if (r->arrived_known) {
		err_set(&r->why, ERR_VERIFY,
			"our probes arrive (%u of %u), but no echo comes back: our in %08x received "
			"0",
			r->arrived, r->sent, pair->in.n);
		err_hint(&r->why, "is ESP filtered on the way from the peer to this host?");
	} else {
		err_set(&r->why, ERR_VERIFY,
			"%u probes sent on %08x, no echo, and no report from the peer either",
			r->sent, pair->out.n);
		err_hint(&r->why, "is the link up? see sapair status");
	}
}

static void explain_failure(struct verify *v)
{
	struct verify_result *r = &v->r;
	struct verify_pair pair;

	(void)current_pair(v->prober, &pair);
	if (r->sent == 0) {
		if (r->why.code == ERR_NONE)
			err_set(&r->why, ERR_VERIFY, "no probe could be sent");
	} else if (r->echoed == 0) {
		explain_silence(v, &pair);
	} else if (v->is_beside) {
		err_set(&r->why, ERR_VERIFY,
			"%u probes came back, but not through the SAs: the counters of out %08x or "
			"in %08x did not grow at both ends",
			r->echoed, pair.out.n, pair.in.n);
		err_hint(&r->why, "sapair doctor says what lets packets pass in clear: run it on "
				  "both hosts");
	} else if (!r->arrived_known) {
		err_set(&r->why, ERR_VERIFY,
			"%u probes came back, but the peer sent no report of its SAs", r->echoed);
		err_hint(&r->why, "is the link up? see sapair status");
	} else {
		err_set(&r->why, ERR_VERIFY, "the pair ended during the run");
	}
}

/* Both counters of packets of the pair in force; false where the system does not know them. */
static bool count_packets(const struct prober *p, uint64_t *in_packets, uint64_t *out_packets)
{
	struct verify_pair pair;
	struct sa_counts in, out;

	if (!current_pair(p, &pair) ||
	    ipsec_query(p->agent->db, pair.ctx, IPSEC_INBOUND, &in, NULL) < 0 ||
	    ipsec_query(p->agent->db, pair.ctx, IPSEC_OUTBOUND, &out, NULL) < 0 ||
	    (in.known & out.known & IPSEC_KNOWS_PACKETS) == 0)
		return false;
	*in_packets = in.packets;
	*out_packets = out.packets;
	return true;
}

static void read_counters(const struct prober *p, struct counters *c)
{
	struct verify_pair pair;

	*c = (struct counters){.are_known = false};
	c->are_known = count_packets(p, &c->in, &c->out);
	if (current_pair(p, &pair))
		c->epoch = pair.epoch;
}

static bool grew(const struct counters *from, const struct counters *to, uint64_t in, uint64_t out)
{
	return to->in - from->in >= in && to->out - from->out >= out;
}

static void report_result(struct verify *v, bool was_verified)
{
	struct prober *p = v->prober;
	struct event_out ev;

	if (!v->r.verified) {
		event_fail(&p->agent->events, EVENT_VERIFY_FAILED, p->name, &v->r.why);
		p->host->trouble(p->host_arg, &v->r.why);
		return;
	}
	if (was_verified)
		return;
	event_begin(&ev, &p->agent->events, EVENT_VERIFIED, p->name);
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

static uint64_t median_rtt(const struct verify *v)
{
	uint32_t n = v->rtts < v->samples ? v->rtts : v->samples;
	uint32_t rtt[VERIFY_SAMPLES] = {0};

	if (n == 0)
		return 0;
	for (uint32_t i = 0; i < n; i++)
		rtt[i] = v->s[i].rtt_us;
	qsort(rtt, n, sizeof rtt[0], by_size);
	return rtt[n / 2];
}

static void finish(struct verify *v)
{
	struct prober *p = v->prober;
	verify_done *done = v->done;
	void *arg = v->arg;
	struct verify_result r;
	struct verify_pair pair;
	bool is_up = current_pair(p, &pair);
	bool was_verified = p->last.verified && p->last_epoch == pair.epoch;

	v->r.rtt_median_us = median_rtt(v);
	v->r.epoch = pair.epoch;
	v->r.verified = v->r.echoed > 0 && is_up && v->r.arrived_known && !v->is_beside;
	if (!v->r.verified)
		explain_failure(v);
	v->r.counts_known = v->r.counts_known &&
			    count_packets(p, &v->r.in_packets, &v->r.out_packets);
	p->last =
		(struct verify_state){v->r.verified, v->r.shown, loop_now_ms(), v->r.rtt_median_us};
	p->last_epoch = pair.epoch;
	report_result(v, was_verified);
	r = v->r;
	verify_cancel(v);
	if (done != NULL)
		done(arg, &r);
}

void prober_state(const struct prober *p, uint64_t epoch, struct verify_state *s)
{
	*s = p->last;
	s->verified = s->verified && p->last_epoch == epoch;
}

/* ---- sending --------------------------------------------------------------------------- */

static bool send_probe(struct prober *p, const struct probe *probe, struct err *e)
{
	const struct secret *key = p->host->probe_key(p->host_arg, probe->epoch);
	uint8_t packet[PROBE_LEN];

	if (key == NULL || !probe_make(packet, probe, key)) {
		err_set(e, ERR_DOWN, "no pair is in force");
		return false;
	}
	return transport_send(&p->transport, packet, sizeof packet, e) == 0;
}

static void send_next(struct verify *v)
{
	struct probe probe = {.kind = PROBE_ASK, .id = v->id, .number = v->r.sent + 1};
	struct verify_pair pair;

	(void)current_pair(v->prober, &pair); /* no key for epoch 0: send_probe() fails */
	probe.epoch = pair.epoch;
	v->in_round++;
	if (!send_probe(v->prober, &probe, &v->r.why))
		return;
	v->r.sent++;
	v->s[v->r.sent % v->samples].sent_us = loop_now_us();
}

/* Without a link the request is repeated as if it had been lost. */
static void ask_report(struct verify *v)
{
	struct prober *p = v->prober;
	struct msg m = {.type = MSG_PROBE};
	struct verify_pair pair;

	(void)current_pair(p, &pair);
	v->asks++;
	v->asked = v->r.sent;
	m.u.probe.id = v->id;
	m.u.probe.epoch = pair.epoch;
	m.u.probe.sent = v->asked;
	(void)p->host->send(p->host_arg, &m);
	uv_timer_start(&v->timer, on_tick, VERIFY_REPORT_MS, 0);
}

static void begin_phase(struct verify *v, enum phase phase, uint32_t want)
{
	v->phase = phase;
	v->want = want;
	v->in_round = v->rounds = v->asks = 0;
	uv_timer_start(&v->timer, on_tick, 0, 0);
}

static void begin_base(struct verify *v)
{
	v->phase = RUN_BASE;
	v->proofs++;
	v->asks = 0;
	v->base.are_known = v->peer_base.are_known = false;
	transport_require_sa(&v->prober->transport);
	ask_report(v);
}

static void begin_proof(struct verify *v)
{
	begin_phase(v, RUN_PROOF, v->count < VERIFY_COUNT ? v->count : VERIFY_COUNT);
}

/* After a report, or without one. */
static void go_on(struct verify *v)
{
	const bool is_proof = v->phase == RUN_PROOF || v->phase == RUN_PROOF_REPORT;
	const bool needs_proof = !v->is_judged && v->is_answered && v->r.echoed > 0 &&
				 v->proofs < VERIFY_PROOFS;

	if (needs_proof && (is_proof || v->proofs == 1))
		begin_base(v);
	else if (!v->is_beside && is_proof && v->count > v->r.sent)
		begin_phase(v, RUN_REST, v->count - v->r.sent);
	else
		finish(v);
}

static void end_sending(struct verify *v)
{
	if (v->phase == RUN_PROOF && v->r.echoed == 0 && !v->is_answered && v->count > v->r.sent) {
		go_on(v);
		return;
	}
	v->phase = v->phase == RUN_PROOF ? RUN_PROOF_REPORT : RUN_REST_REPORT;
	v->asks = 0;
	ask_report(v);
}

static bool is_sending(const struct verify *v)
{
	return v->phase == RUN_PROOF || v->phase == RUN_REST;
}

static void send_more(struct verify *v)
{
	if (v->in_round < v->want) {
		/* One for each interval: no burst after a stall of the loop. */
		uint32_t due = v->interval_ms == 0 ? BURST : 1;

		while (due-- > 0 && v->in_round < v->want)
			send_next(v);
		uv_timer_start(&v->timer, on_tick,
			       v->in_round < v->want ? v->interval_ms : VERIFY_ECHO_MS, 0);
		return;
	}
	if (v->r.echoed == v->base_echoed && ++v->rounds < VERIFY_ROUNDS) {
		v->in_round = 0;
		uv_timer_start(&v->timer, on_tick, 0, 0);
		return;
	}
	end_sending(v);
}

static void on_tick(uv_timer_t *t)
{
	struct verify *v = t->data;

	switch (v->phase) {
	case RUN_NEW:
		begin_base(v);
		break;
	case RUN_BASE: /* no report came: the counters will not be compared */
		begin_proof(v);
		break;
	case RUN_PROOF:
	case RUN_REST:
		send_more(v);
		break;
	case RUN_PROOF_REPORT:
	case RUN_REST_REPORT:
		if (v->asks < VERIFY_REPORTS && v->r.echoed > 0)
			ask_report(v);
		else
			go_on(v);
		break;
	}
}

struct verify *verify_start(struct prober *p, uint32_t count, uint32_t interval_ms,
			    verify_done *done, void *arg)
{
	uint32_t samples = count < VERIFY_SAMPLES / VERIFY_ROUNDS ? count * VERIFY_ROUNDS + 1
								  : VERIFY_SAMPLES;
	struct verify *v = calloc(1, sizeof *v + samples * sizeof v->s[0]);

	if (v == NULL) { /* keep the times of the last probes only */
		samples = VERIFY_ROUNDS + 1;
		v = calloc(1, sizeof *v + samples * sizeof v->s[0]);
	}
	if (v == NULL)
		abort(); /* out of memory: runs are bounded by the number of peers and clients */
	v->prober = p;
	v->count = count;
	v->samples = samples;
	v->interval_ms = interval_ms;
	v->done = done;
	v->arg = arg;
	v->id = random_u64();
	uv_timer_init(&p->agent->loop, &v->timer);
	v->timer.data = v;
	v->next = p->runs;
	p->runs = v;
	uv_timer_start(&v->timer, on_tick, 0, 0);
	return v;
}

/* ---- receiving ------------------------------------------------------------------------- */

static void on_echo(struct prober *p, const struct probe *probe)
{
	struct verify *v = p->runs;
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
	if (v->r.echoed == v->r.sent && v->in_round >= v->want && is_sending(v))
		end_sending(v);
}

/* Moves the run to the front; a new one replaces the run that was silent for longest. */
static void count_seen(struct prober *p, uint64_t id)
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

void verify_on_datagram(struct prober *p, const uint8_t *data, size_t n)
{
	const struct secret *key;
	struct probe probe;

	if (!probe_peek(data, n, &probe))
		return;
	key = p->host->probe_key(p->host_arg, probe.epoch);
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

void verify_on_probe(struct prober *p, const struct msg_probe *m)
{
	struct msg out = {.type = MSG_REPORT};
	struct msg_report *r = &out.u.report;
	struct verify_pair pair;

	if (m->sent == 0)
		transport_require_sa(&p->transport);
	(void)current_pair(p, &pair);
	r->id = m->id;
	r->epoch = pair.epoch;
	r->sent = m->sent;
	r->closed = transport_is_closed(&p->transport);
	for (int i = 0; i < SEEN_RUNS; i++)
		if (p->seen[i].id == m->id)
			r->received = p->seen[i].count;
	r->in = pair.in;
	r->out = pair.out;
	r->has_counts = count_packets(p, &r->in_packets, &r->out_packets);
	(void)p->host->send(p->host_arg, &out); /* the run there ends without a report */
}

static void take_base(struct verify *v, const struct msg_report *m)
{
	v->is_answered = true;
	read_counters(v->prober, &v->base);
	v->peer_base = (struct counters){m->has_counts, m->epoch, m->in_packets, m->out_packets};
	v->base_arrived = m->received;
	v->base_echoed = v->r.echoed;
}

/* Have the SAs of both ends carried the probes since the base? False: a rekey came between, and that
 * cannot be said. */
static bool judge_proof(struct verify *v, const struct msg_report *m)
{
	const struct counters peer = {m->has_counts, m->epoch, m->in_packets, m->out_packets};
	const uint32_t echoed = v->r.echoed - v->base_echoed;
	const uint32_t arrived = m->received - v->base_arrived;
	struct counters own;
	bool is_own_known, is_peer_known;

	read_counters(v->prober, &own);
	if (own.epoch != v->base.epoch || peer.epoch != v->peer_base.epoch ||
	    own.epoch != peer.epoch)
		return false;
	is_own_known = own.are_known && v->base.are_known;
	is_peer_known = peer.are_known && v->peer_base.are_known;
	v->is_beside = (is_own_known && !grew(&v->base, &own, echoed, arrived)) ||
		       (is_peer_known && !grew(&v->peer_base, &peer, arrived, echoed));
	if (echoed > 0 && is_own_known && is_peer_known && !v->is_beside)
		v->r.shown |= SHOWN_COUNTERS;
	if (echoed > 0 && m->closed && transport_is_closed(&v->prober->transport))
		v->r.shown |= SHOWN_CLOSED;
	return true;
}

static void take_report(struct verify *v, const struct msg_report *m)
{
	struct verify_pair pair;

	(void)current_pair(v->prober, &pair);
	/* An echo shows that its probe has arrived, even if the peer no longer counts the run. */
	v->r.arrived = m->received > v->r.echoed ? m->received : v->r.echoed;
	v->r.arrived_known = true;
	v->r.counts_known = m->has_counts && m->epoch == pair.epoch;
	if (v->r.counts_known) {
		v->r.peer_in_packets = m->in_packets;
		v->r.peer_out_packets = m->out_packets;
	}
	if (v->r.echoed > 0)
		v->r.shown |= SHOWN_PATH;
}

void verify_on_report(struct prober *p, const struct msg_report *m)
{
	struct verify *v = p->runs;

	while (v != NULL && v->id != m->id)
		v = v->next;
	if (v == NULL || v->phase == RUN_NEW || is_sending(v) || v->asked != m->sent)
		return;
	if (v->phase == RUN_BASE) {
		take_base(v, m);
		begin_proof(v);
		return;
	}
	if (v->phase == RUN_PROOF_REPORT && v->r.echoed > v->base_echoed)
		v->is_judged = judge_proof(v, m);
	take_report(v, m);
	go_on(v);
}

/* ---- life ------------------------------------------------------------------------------ */

static void on_datagram(void *arg, const uint8_t *data, size_t n)
{
	verify_on_datagram(arg, data, n);
}

struct prober *prober_new(struct agent *a, const char *name, struct policy *policy,
			  const struct verify_host *host, void *host_arg)
{
	struct prober *p = calloc(1, sizeof *p);

	if (p == NULL)
		return NULL;
	p->agent = a;
	p->name = name;
	p->host = host;
	p->host_arg = host_arg;
	p->transport =
		(struct transport){.agent = a, .policy = policy, .receive = on_datagram, .arg = p};
	return p;
}

void prober_free(struct prober *p)
{
	free(p);
}

int prober_open(struct prober *p, struct err *e)
{
	return transport_open(&p->transport, e);
}

void prober_close(struct prober *p)
{
	transport_close(&p->transport);
}

void verify_cancel_all(struct prober *p)
{
	while (p->runs != NULL)
		verify_cancel(p->runs);
}
