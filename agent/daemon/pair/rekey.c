/*
 * agent/daemon/pair/rekey.c - the exchanges of one peer: when they begin, what their ends mean, and the
 * ends of the SAs that they made.
 */
#include "agent/daemon/pair/inner.h"

#include "crypto/random.h"

#include <stdlib.h>
#include <string.h>

#define RETRY_FIRST_MS 250
#define RETRY_MAX_MS 30000
#define ASK_AGAIN_MS 3000 /* interval at which a follower that waits for an offer checks */
#define OFFERS_BURST 8    /* offers that a leader may send beyond the minimum interval */

static void end_exchange(struct pair *p, const struct driver_result *r);

/* Feeds the machine one event; ends the exchange or the link if that follows. False: no change. */
static bool run_event(struct pair *p, const struct xevent *ev)
{
	struct driver_result r;

	driver_run(p, ev, &r);
	if (r.ended)
		end_exchange(p, &r);
	if (p->is_linked && (r.close || r.send_failed)) {
		struct err why = {0};

		if (r.send_failed)
			err_set(&why, ERR_DOWN, "the send queue of the link is full");
		else
			err_set(&why, fault_class(r.close_fault), "exchange: %s",
				fault_text(r.close_fault));
		p->host->close_link(p->peer, r.close ? r.close_fault : FAULT_NONE, &why);
	}
	return r.acted;
}

/* ---- begin and end of exchanges -------------------------------------------------------- */

static void begin_receipt(struct pair *p, bool leader, enum rekey_reason reason, uint64_t xid)
{
	struct event_out ev;

	memset(&p->receipt, 0, sizeof p->receipt);
	p->receipt.reason = reason;
	p->receipt.leader = leader;
	p->receipt.limited = p->limited;
	p->receipt.started_us = loop_now_us();
	p->receipt.old_epoch = p->x.current.epoch;
	p->receipt.old_in = p->x.current.in;
	p->receipt.old_out = p->x.current.out;
	if (p->x.current.epoch != 0) /* the first pairing is no rekey */
		p->last_start_ms = loop_now_ms();
	p->limited = false;
	event_begin(&ev, &p->agent->events, EVENT_REKEY_BEGIN, p->name);
	if (ev.wanted) {
		json_put_text(&ev.json, "reason", reason_word(reason));
		json_put_dec64(&ev.json, "epoch", p->x.current.epoch);
		json_put_text(&ev.json, "role", leader ? "leader" : "follower");
	}
	event_end(&ev, "exchange begins: %s, %s, xid %016llx, epoch %llu in force",
		  reason_word(reason), leader ? "leader" : "follower", (unsigned long long)xid,
		  (unsigned long long)p->x.current.epoch);
}

static void report_success(struct pair *p)
{
	const struct receipt *r = &p->receipt;
	struct event_out ev;

	event_begin(&ev, &p->agent->events, r->old_epoch == 0 ? EVENT_UP : EVENT_REKEY_DONE,
		    p->name);
	if (ev.wanted) {
		json_put_text(&ev.json, "reason", reason_word(r->reason));
		json_put_dec64(&ev.json, "old_epoch", r->old_epoch);
		json_put_dec64(&ev.json, "epoch", r->epoch);
		json_put_spi(&ev.json, "in", r->in);
		json_put_spi(&ev.json, "out", r->out);
		json_put_text(&ev.json, "suite", suite_info(r->suite)->name);
		json_put_ms(&ev.json, "ms", r->total_us);
	}
	if (r->old_epoch == 0)
		event_end(&ev, "up: epoch %llu, in %08x, out %08x, %s",
			  (unsigned long long)r->epoch, r->in.n, r->out.n,
			  suite_info(r->suite)->name);
	else
		event_end(&ev, "rekeyed (%s): epoch %llu -> %llu, in %08x, out %08x",
			  reason_word(r->reason), (unsigned long long)r->old_epoch,
			  (unsigned long long)r->epoch, r->in.n, r->out.n);
}

static void succeeded(struct pair *p)
{
	p->failures = 0;
	p->rekeys++;
	p->want_exchange = p->asked = false;
	deadline_set(&p->start_due, 0);
	p->receipt.epoch = p->x.current.epoch;
	p->receipt.in = p->x.current.in;
	p->receipt.out = p->x.current.out;
	p->receipt.suite = p->current->suite;
	p->receipt.total_us = loop_now_us() - p->receipt.started_us;
	p->host->trouble(p->peer, NULL);
	report_success(p);
	p->host->ended(p->peer, NULL);
}

static uint64_t backoff(unsigned failures)
{
	uint64_t ms = (uint64_t)RETRY_FIRST_MS << (failures > 7 ? 7 : failures);

	if (ms > RETRY_MAX_MS)
		ms = RETRY_MAX_MS;
	return ms / 2 + random_u32() % (unsigned)ms; /* half to one and a half of it */
}

/* Rejected for a temporary reason. FAULT_LINK: of two links that came up at once one was closed, and
 * the first exchange is repeated on the other. */
static bool is_temporary(const struct pair *p, enum fault f)
{
	return f == FAULT_EPOCH || f == FAULT_BUSY || f == FAULT_LIMIT || f == FAULT_SPI ||
	       (f == FAULT_LINK && p->x.current.epoch == 0);
}

static void failed(struct pair *p, const struct driver_result *r)
{
	struct err e = p->x.why;

	if (r->system.code != ERR_NONE)
		e = r->system;
	if (e.code == ERR_NONE)
		err_set(&e, fault_class(r->result), "%s", fault_text(r->result));
	if (p->x.current.epoch != 0)
		err_in(&e, "rekey failed, epoch %llu is in force",
		       (unsigned long long)p->x.current.epoch);
	else
		err_in(&e, "pairing");
	p->failures++;
	p->asked = false;
	p->host->trouble(p->peer, &e);
	event_fail(&p->agent->events, EVENT_REKEY_FAILED, p->name, &e);
	if (!is_temporary(p, r->result))
		p->host->ended(p->peer, &e);
	/* A rekey on demand is the user's to repeat, unless the pair needs it anyway. */
	if (is_temporary(p, r->result) || p->x.current.epoch == 0 ||
	    p->receipt.reason != REASON_REQUEST) {
		p->want_exchange = true;
		p->want_reason = p->receipt.reason;
		deadline_set(&p->start_due, loop_now_ms() + backoff(p->failures - 1));
	}
}

static void end_exchange(struct pair *p, const struct driver_result *r)
{
	if (r->result == FAULT_NONE)
		succeeded(p);
	else
		failed(p, r);
}

static void lead(struct pair *p)
{
	uint8_t fresh[SHARE_LEN + sizeof(uint64_t)];
	SECRET(share);
	struct xevent ev = {.kind = XE_START,
			    .peer_last = p->peer_last,
			    .held = generations_held(p),
			    .reason = p->want_reason};

	if (!p->host->may_rekey(p->peer))
		return;
	random_bytes(fresh, sizeof fresh);
	secret_set(&share, fresh, SHARE_LEN);
	memcpy(&ev.xid, fresh + SHARE_LEN, sizeof ev.xid);
	wipe(fresh, sizeof fresh);
	ev.xid |= ev.xid == 0;
	ev.share = &share;
	begin_receipt(p, true, p->want_reason, ev.xid);
	p->want_exchange = false;
	p->peer_last = 0; /* the exchange machine knows it now */
	if (run_event(p, &ev) || !p->is_linked)
		return;
	/* Too many superseded generations: wait until some have been removed. */
	p->want_exchange = true;
	deadline_set(&p->start_due, loop_now_ms() + RETRY_MAX_MS / 4);
	event_plain(&p->agent->events, EVENT_LIMIT, p->name, "too many unfinished rekeys: waiting");
}

/* A link that cannot send is closed by its own write callback. */
static void send_message(struct pair *p, const struct msg *m)
{
	char body[512];
	size_t n = msg_encode(m, body, sizeof body);

	if (n > 0)
		(void)p->host->send(p->peer, body, n);
}

static void ask_leader(struct pair *p)
{
	struct msg m = {.type = MSG_REKEY};

	if (!p->asked) {
		m.u.rekey.reason = (int)p->want_reason;
		send_message(p, &m);
		p->asked = true;
	} else {
		p->asked = false; /* no offer came: ask again at the next check */
	}
	deadline_set(&p->start_due, loop_now_ms() + ASK_AGAIN_MS);
}

static void start_exchange(struct pair *p)
{
	deadline_set(&p->start_due, 0);
	if (!p->want_exchange || !p->is_linked || p->x.state != XS_IDLE)
		return;
	if (p->leads)
		lead(p);
	else
		ask_leader(p);
}

static void on_start_due(void *arg)
{
	start_exchange(arg);
}

void pair_want(struct pair *p, enum rekey_reason reason)
{
	uint64_t now = loop_now_ms(), at = now;
	bool paced = reason != REASON_START && reason != REASON_MISMATCH;

	if (p->x.state != XS_IDLE)
		return; /* the running exchange makes a new pair, too */
	if (!p->want_exchange)
		p->want_reason = reason;
	p->want_exchange = true;
	if (!p->is_linked)
		return; /* begins when the link is up */
	if (p->leads && paced && p->last_start_ms != 0 &&
	    p->last_start_ms + p->opt->rekey_min_interval_ms > now) {
		at = p->last_start_ms + p->opt->rekey_min_interval_ms;
		p->limited = true;
	}
	if (p->failures > 1 && !paced) /* after the first failure, retry at once */
		at = now + backoff(p->failures - 2);
	if (p->start_due.at_ms == 0 || at < p->start_due.at_ms)
		deadline_set(&p->start_due, at);
	if (at == now && !p->agent->is_driving && !p->asked)
		start_exchange(p);
}

/* ---- events ---------------------------------------------------------------------------- */

void pair_configure(struct pair *p)
{
	const struct peer_options *o = p->opt;
	struct exchange_config cfg = {.lifetime_s = o->hard_time_s,
				      .window = o->window,
				      .esn = o->esn && p->agent->can.esn};

	for (uint8_t i = 0; i < o->suites.n; i++)
		if (suite_list_has(&p->agent->can.suites, (enum suite)o->suites.v[i]))
			suite_list_add(&cfg.suites, (enum suite)o->suites.v[i]);
	if (cfg.window > p->agent->can.window_max)
		cfg.window = p->agent->can.window_max;
	if (cfg.lifetime_s == 0)
		cfg.lifetime_s = 7 * 86400;
	if (p->agent->can.lifetime_max_s != 0 && cfg.lifetime_s > p->agent->can.lifetime_max_s)
		cfg.lifetime_s = p->agent->can.lifetime_max_s;
	exchange_configure(&p->x, &cfg);
}

void pair_link_up(struct pair *p, const struct pair_link *l)
{
	p->is_linked = true;
	p->leads = l->leads;
	p->peer_last = l->peer_last;
	p->asked = false;
	generations_on_hello(p, l->peer_out);
	exchange_link(&p->x, l->leads, l->exporter, secret_len(p->ppk) > 0 ? p->ppk : NULL,
		      l->own_pin, l->peer_pin);
}

void pair_on_hello(struct pair *p, bool is_equal, bool is_stale)
{
	if (is_equal) {
		generations_retire(p);
		/* Wanted only because the last link was lost before both hosts knew that they agree. */
		if (p->want_reason == REASON_START || p->want_reason == REASON_MISMATCH)
			p->want_exchange = false;
	}
	deadline_set(&p->generations_due, loop_now_ms());
	if (!is_equal && p->leads)
		pair_want(p, p->x.current.epoch == 0 ? REASON_START : REASON_MISMATCH);
	else if (!is_equal && is_stale)
		pair_want(p, REASON_MISMATCH); /* tell the leader */
	else if (p->want_exchange)
		pair_want(p, p->want_reason);
}

void pair_link_lost(struct pair *p)
{
	struct xevent ev = {.kind = XE_LINK_LOST};

	p->asked = false;
	deadline_set(&p->exchange_due, 0);
	run_event(p, &ev);
	p->is_linked = false;
}

static bool out_spi_known(const struct pair *p, struct spi spi)
{
	if (p->current != NULL && p->current->has_out && spi_equal(p->current->out, spi))
		return true;
	/* Newest first: once a retired one has no outbound SA, no older one has. */
	for (const struct generation *g = p->superseded; g != NULL && (g->has_out || !g->retired);
	     g = g->next)
		if (g->has_out && spi_equal(g->out, spi))
			return true;
	return false;
}

/* Token bucket against a leader that floods us with offers. */
static bool offer_allowed(struct pair *p, uint64_t xid)
{
	uint64_t every_us = (uint64_t)p->opt->rekey_min_interval_ms * 1000;
	struct msg m = {.type = MSG_REJECT};

	if (every_us == 0 || bucket_try(&p->offers, OFFERS_BURST, every_us))
		return true;
	event_plain(&p->agent->events, EVENT_LIMIT, p->name, "offers arrive too fast: rejected");
	m.u.reject.xid = xid;
	m.u.reject.reason = (int)FAULT_LIMIT;
	send_message(p, &m);
	return false;
}

void pair_on_message(struct pair *p, const struct msg *m, const char *body, size_t len)
{
	static const enum xevent_kind kinds[MSG_COUNT] = {[MSG_OFFER] = XE_OFFER,
							  [MSG_ANSWER] = XE_ANSWER,
							  [MSG_CONFIRMATION] = XE_CONFIRM,
							  [MSG_DONE] = XE_DONE,
							  [MSG_REJECT] = XE_REJECT};
	SECRET(share);
	struct xevent ev = {.kind = kinds[m->type], .msg = m, .body = body, .body_len = len};

	if (m->type == MSG_OFFER) {
		bool idle = p->x.state == XS_IDLE;

		if (!p->host->may_rekey(p->peer) || !offer_allowed(p, m->u.offer.xid))
			return;
		random_secret(&share, SHARE_LEN);
		ev.share = &share;
		ev.held = generations_held(p);
		ev.spi_in_use = out_spi_known(p, m->u.offer.spi);
		if (idle && !p->leads)
			begin_receipt(p, false, (enum rekey_reason)m->u.offer.reason,
				      m->u.offer.xid);
	} else if (m->type == MSG_ANSWER) {
		ev.spi_in_use = out_spi_known(p, m->u.answer.spi);
	}
	run_event(p, &ev);
}

static void on_exchange_due(void *arg)
{
	struct pair *p = arg;
	struct xevent ev = {.kind = XE_TIMEOUT};

	run_event(p, &ev);
}

static void on_rekey_due(void *arg)
{
	struct pair *p = arg;

	/* Again, in case no exchange can begin. */
	deadline_set(&p->rekey_due, loop_now_ms() + RETRY_MAX_MS);
	pair_want(p, REASON_TIME);
}

/* No pair is in force any more: the policy blocks traffic until a new one is. */
static void current_ended(struct pair *p, const char *why)
{
	struct generation *g = p->current;
	struct err e = {0};

	/* The peer may send on its outbound SA for some seconds more: keep our inbound (I1). */
	generation_remove_part(p, g, IPSEC_OUTBOUND);
	generation_supersede(p, g);
	p->current = NULL;
	/* The running exchange, if any, is now one that brings the pair up. */
	p->receipt.old_epoch = 0;
	p->receipt.old_in = p->receipt.old_out = (struct spi){0};
	deadline_set(&p->rekey_due, 0);
	exchange_forget(&p->x);
	err_set(&e, ERR_DOWN, "%s: the pair is down until a new one is agreed", why);
	p->host->trouble(p->peer, &e);
	event_fail(&p->agent->events, EVENT_DOWN, p->name, &e);
	pair_want(p, REASON_REPAIR);
}

static void on_generations_due(void *arg)
{
	struct pair *p = arg;
	uint64_t now = loop_now_ms();
	struct generation **at = &p->superseded;

	while (*at != NULL) {
		struct generation *g = *at;

		if (now >= generation_in_end(g)) {
			*at = g->next;
			generation_uncount(p, g);
			generation_remove(p, g);
			continue;
		}
		if (g->has_out && now >= generation_out_end(g))
			generation_remove_part(p, g, IPSEC_OUTBOUND);
		at = &g->next;
	}
	if (p->current != NULL && now >= p->current->hard_ms)
		current_ended(p, "the hard lifetime of the SAs has ended");
	generations_schedule(p);
	if (p->superseded == NULL)
		p->host->drained(p->peer);
}

void pair_on_sa_lost(struct pair *p, struct ipsec_ctx ctx)
{
	struct generation *g = generation_find(p, ctx);

	if (g == NULL)
		return;
	if (g == p->current) {
		current_ended(p, "the system ended an SA of the pair");
		generations_schedule(p);
		return;
	}
	if (g == p->fresh)
		return; /* its exchange fails, or times out */
	for (struct generation **at = &p->superseded; *at != NULL; at = &(*at)->next) {
		if (*at != g)
			continue;
		*at = g->next;
		generation_uncount(p, g);
		generation_remove(p, g);
		break;
	}
	generations_schedule(p);
}

void pair_on_acquire(struct pair *p)
{
	struct sa_counts ignored;

	if (p->current != NULL &&
	    ipsec_query(p->agent->db, p->current->ctx, IPSEC_OUTBOUND, &ignored, NULL) == 0)
		return; /* said before the pair in force was there */
	pair_want(p, REASON_REPAIR);
}

int pair_recover(struct pair *p, const struct ipsec_leftover *l, struct err *e)
{
	struct generation *g = generation_new(p->agent), **at = &p->superseded;

	if (g == NULL)
		return err_set(e, ERR_OS, "no memory for an SA");
	g->recovered = true;
	g->ctx = l->ctx;
	g->has_in = (l->part & IPSEC_INBOUND) != 0;
	g->has_out = (l->part & IPSEC_OUTBOUND) != 0;
	if (g->has_in)
		g->in = l->spi;
	else
		g->out = l->spi;
	g->hard_ms = loop_now_ms() + (uint64_t)l->left_s * 1000;
	while (*at != NULL) /* newest first: this is the oldest */
		at = &(*at)->next;
	*at = g;
	deadline_set_by(&p->generations_due, g->hard_ms);
	return 0;
}

static void on_removal_due(void *arg)
{
	generations_remove_again(arg);
}

static void forget_all(struct pair *p, bool remove_sas)
{
	struct generation *g;

	while ((g = p->superseded) != NULL) {
		p->superseded = g->next;
		if (remove_sas)
			generation_remove(p, g);
		else
			generation_free(p->agent, g);
	}
	p->n_superseded = p->n_retired = 0;
	if (p->current != NULL) {
		if (remove_sas)
			generation_remove(p, p->current);
		else
			generation_free(p->agent, p->current);
	}
	if (p->fresh != NULL) {
		if (remove_sas)
			generation_remove(p, p->fresh);
		else
			generation_free(p->agent, p->fresh);
	}
	p->current = p->fresh = NULL;
	exchange_forget(&p->x);
	deadline_set(&p->rekey_due, 0);
	deadline_set(&p->generations_due, 0);
}

void pair_clear(struct pair *p)
{
	if (p->x.state != XS_IDLE)
		pair_link_lost(p);
	forget_all(p, true);
	exchange_forget_epochs(&p->x);
}

void pair_leave(struct pair *p)
{
	forget_all(p, false);
	pair_forget_unremoved(p);
	exchange_wipe(&p->x);
}

void pair_calm(struct pair *p)
{
	p->want_exchange = false;
	p->failures = 0;
}

void pair_demand(struct pair *p)
{
	if (!pair_has_demand(p) || (p->x.state == XS_IDLE && !p->asked))
		pair_want(p, REASON_REQUEST);
}

bool pair_is_exchanging(const struct pair *p)
{
	return p->x.state != XS_IDLE;
}

bool pair_has_demand(const struct pair *p)
{
	return p->x.state != XS_IDLE || p->want_exchange;
}

void pair_on_soft_limit(struct pair *p, struct ipsec_ctx ctx, enum rekey_reason reason)
{
	const struct generation *g = generation_find(p, ctx);

	if (g != NULL && g == p->current)
		pair_want(p, reason);
}

/* ---- life ------------------------------------------------------------------------------ */

struct pair *pair_new(const struct pair_env *env)
{
	struct pair *p = calloc(1, sizeof *p);
	struct exchange_config none = {.lifetime_s = 0};

	if (p == NULL)
		return NULL;
	p->agent = env->agent;
	p->name = env->name;
	p->opt = env->opt;
	p->policy = env->policy;
	p->ppk = env->ppk;
	p->host = env->host;
	p->peer = env->peer;
	deadlines_add(env->deadlines, &p->exchange_due, on_exchange_due, p);
	deadlines_add(env->deadlines, &p->start_due, on_start_due, p);
	deadlines_add(env->deadlines, &p->rekey_due, on_rekey_due, p);
	deadlines_add(env->deadlines, &p->generations_due, on_generations_due, p);
	deadlines_add(env->deadlines, &p->removal.due, on_removal_due, p);
	exchange_init(&p->x, &none);
	pair_configure(p);
	return p;
}

void pair_free(struct pair *p)
{
	if (p == NULL)
		return;
	pair_leave(p);
	wipe(p, sizeof *p);
	free(p);
}
