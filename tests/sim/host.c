/*
 * tests/sim/host.c - an agent, reduced to the exchange and its SAs: links, hellos, actions and timers,
 * as in the daemon.
 */
#include "tests/sim/sim.h"
#include "tests/suites.h"

#include <stdio.h>
#include <string.h>

enum brk breaks;
struct tally tally;

static const uint8_t ids[2][PIN_LEN] = {{1}, {2}};

const uint8_t *host_id(int h)
{
	return ids[h];
}

static char name(int h)
{
	return (char)('A' + h);
}

/* ---- generations ----------------------------------------------------------------------- */

static struct gen *gen_in(struct host *o, enum gen_state state)
{
	for (unsigned i = 0; i < GENS; i++)
		if (o->gen[i].state == state)
			return &o->gen[i];
	return NULL;
}

static unsigned held(const struct host *o)
{
	unsigned n = 0;

	for (unsigned i = 0; i < GENS; i++)
		n += o->gen[i].state == GEN_HELD;
	return n < HELD_LIMIT ? n : EXCHANGE_HELD_MAX;
}

static void gen_remove(struct world *w, int h, struct gen *g)
{
	if (db_remove(w, h, g->ctx, PART_BOTH) == DB_OK) {
		memset(g, 0, sizeof *g);
		return;
	}
	g->state = breaks == BREAK_LEAK_FAILED ? GEN_FREE : GEN_DYING;
	g->in_end = g->out_end = w->now + RETRY_MS;
}

static void gen_remove_out(struct world *w, int h, struct gen *g)
{
	if (!g->has_out)
		return;
	if (db_remove(w, h, g->ctx, PART_OUT) == DB_OK)
		g->has_out = false;
	else
		g->out_end = w->now + RETRY_MS;
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void retire_held(struct world *w, int h)
{
	struct host *o = &w->host[h];
	const struct gen *current = gen_in(o, GEN_CURRENT);
	uint64_t out_end = current != NULL ? current->switched + SWITCH_MS : w->now;

	for (unsigned i = 0; i < GENS; i++) {
		struct gen *g = &o->gen[i];

		if (g->state != GEN_HELD || breaks == BREAK_NO_RETIRE)
			continue;
		g->state = GEN_RETIRED;
		g->out_end = sooner(g->out_end, out_end > w->now ? out_end : w->now);
		g->in_end = sooner(g->in_end, w->now + (breaks == BREAK_NO_DRAIN ? 1 : DRAIN_MS));
	}
}

/* ---- actions --------------------------------------------------------------------------- */

/* The effects of one event of the exchange. */
struct step {
	const struct xevent *first;
	enum xstate before;
	bool asked; /* an IPsec call was made; its result follows */
	uint32_t spi;
	bool close;
};

/* BREAK_EARLY_ANSWER: the inbound SA that is not installed yet. */
static struct sa_keys postponed;

static int reserve(struct world *w, int h, struct step *s)
{
	struct host *o = &w->host[h];
	struct gen *g = gen_in(o, GEN_FREE), *current = gen_in(o, GEN_CURRENT);
	uint32_t ctx;
	int rc;

	if (breaks == BREAK_BREAK_FIRST && current != NULL)
		gen_remove_out(w, h, current);
	rc = g == NULL ? DB_FAILED : db_reserve(w, h, &ctx, &s->spi);
	if (rc != DB_OK)
		return rc;
	db_find(&o->db, ctx)->xid = o->x.xid_;
	*g = (struct gen){.state = GEN_NEW, .ctx = ctx};
	return DB_OK;
}

static void break_key(struct sa_keys *k, bool inbound, bool is_leader)
{
	size_t n = secret_len(&k->key);

	if (breaks == BREAK_SAME_KEY)
		memset(secret_room(&k->key, n), inbound == is_leader, n);
	if (breaks == BREAK_WRONG_KEY && !inbound && is_leader)
		memset(secret_room(&k->key, n), 7, n);
}

static int install(struct world *w, int h)
{
	struct host *o = &w->host[h];
	struct gen *g = gen_in(o, GEN_NEW);
	struct sa_keys k = o->x.sa_in;
	int rc;

	secret_wipe(&o->x.probe_key);
	break_key(&k, true, o->x.is_leader);
	g->epoch = k.epoch;
	g->has_in = true;
	if (breaks == BREAK_EARLY_ANSWER && !o->x.is_leader) {
		postponed = k;
		return DB_OK;
	}
	rc = db_add(w, h, g->ctx, &k, PART_IN);
	if (rc == DB_OK)
		g->in_end = db_find(&o->db, g->ctx)->in_end;
	return rc;
}

static int activate(struct world *w, int h)
{
	struct host *o = &w->host[h];
	struct gen *g = gen_in(o, GEN_NEW);
	struct sa_keys k = o->x.sa_out;
	int rc;

	if (breaks == BREAK_EARLY_ANSWER && !o->x.is_leader) {
		rc = db_add(w, h, g->ctx, &postponed, PART_IN);
		if (rc != DB_OK)
			return rc;
		g->in_end = db_find(&o->db, g->ctx)->in_end;
	}
	break_key(&k, false, o->x.is_leader);
	rc = db_add(w, h, g->ctx, &k, PART_OUT);
	if (rc == DB_FAILED)
		return rc;
	g->has_out = true;
	g->out_unknown = rc == DB_UNKNOWN;
	g->spi_out = k.spi.n;
	g->switched = w->now;
	g->out_end = w->now + (uint64_t)k.lifetime_s * 1000;
	return rc;
}

static void commit(struct world *w, int h)
{
	struct host *o = &w->host[h];
	struct gen *former = gen_in(o, GEN_CURRENT), *g = gen_in(o, GEN_NEW);

	if (former != NULL)
		former->state = GEN_HELD;
	g->state = GEN_CURRENT;
	o->committed = db_find(&o->db, g->ctx)->xid;
	o->rekey_at = w->now + LIFETIME_S * 800;
	if (breaks == BREAK_EARLY_RETIRE && o->x.is_leader)
		retire_held(w, h);
}

static void note_refused(struct host *o, const struct gen *g)
{
	struct sim_ctx *c = db_find(&o->db, g->ctx);

	if (c != NULL)
		c->refused = true;
}

static void uncommit(struct world *w, int h)
{
	struct host *o = &w->host[h];
	struct gen *g = gen_in(o, GEN_CURRENT);

	o->excused = true;
	if (g != NULL) {
		note_refused(o, g);
		gen_remove(w, h, g);
	}
	for (unsigned i = 0; i < GENS; i++) {
		g = &o->gen[i];
		if (g->state == GEN_HELD && g->has_out && g->epoch != 0 &&
		    g->epoch == o->x.current.epoch) {
			g->state = GEN_CURRENT;
			return;
		}
	}
	exchange_forget(&o->x);
}

static void remove_fresh(struct world *w, int h, bool was_refused)
{
	struct host *o = &w->host[h];
	struct gen *g = gen_in(o, GEN_NEW);

	if (g == NULL)
		return;
	if (was_refused)
		note_refused(o, g);
	if (breaks == BREAK_LEAK_DROP)
		memset(g, 0, sizeof *g);
	else
		gen_remove(w, h, g);
}

static void hold(struct world *w, int h)
{
	struct gen *g = gen_in(&w->host[h], GEN_NEW);

	if (breaks == BREAK_DROP_HELD) {
		remove_fresh(w, h, false);
		return;
	}
	g->state = GEN_HELD;
	gen_remove_out(w, h, g);
}

/* From now on the peer may send to the inbound SA of the new pair (I6). */
static void expose(struct host *o)
{
	struct gen *g = o->x.state == XS_F_ANSWERED    ? gen_in(o, GEN_NEW)
			: o->x.state == XS_L_CONFIRMED ? gen_in(o, GEN_CURRENT)
						       : NULL;
	struct sim_ctx *c = g != NULL ? db_find(&o->db, g->ctx) : NULL;

	if (c != NULL)
		c->exposed = true;
}

static void over(struct world *w, int h, enum fault fault, const struct step *s)
{
	struct host *o = &w->host[h];
	struct gen *current = gen_in(o, GEN_CURRENT);

	o->retry = fault != FAULT_NONE && breaks != BREAK_NO_RETRY;
	o->retry_at = w->now + RETRY_MS;
	if (fault == FAULT_NONE)
		tally.exchanges++;
	else
		tally.failed++;
	/* The follower rejects with busy, the leader ends with limit. Superseded pairs that the peer has left
	 * do not give way here: they stay until they expire. */
	if (fault == FAULT_LIMIT ||
	    (fault == FAULT_BUSY && held(&w->host[OTHER(h)]) >= EXCHANGE_HELD_MAX)) {
		tally.held_limit++;
		o->retry_at = w->now + (uint64_t)60 * 1000;
	}
	if (breaks == BREAK_DROP_LOST && s->before == XS_L_CONFIRMED &&
	    s->first->kind == XE_LINK_LOST && current != NULL)
		gen_remove(w, h, current);
	if (breaks == BREAK_HALF_COMMIT && fault == FAULT_NONE && !o->x.is_leader)
		o->x.current = o->x.former;
	if (breaks == BREAK_LEAK_SECRET)
		memset(secret_room(&o->x.share_, SHARE_LEN), 1, SHARE_LEN);
}

static int perform(struct world *w, int h, const struct xactions *out, const struct xaction *a,
		   struct step *s)
{
	struct host *o = &w->host[h];

	switch (a->kind) {
	case XA_RESERVE:
		s->asked = true;
		return reserve(w, h, s);
	case XA_INSTALL:
		s->asked = true;
		return install(w, h);
	case XA_ACTIVATE:
		s->asked = true;
		return activate(w, h);
	case XA_COMMIT:
		commit(w, h);
		break;
	case XA_UNCOMMIT:
		uncommit(w, h);
		break;
	case XA_RETIRE:
		retire_held(w, h);
		break;
	case XA_REMOVE:
		remove_fresh(w, h, s->first->kind == XE_REJECT);
		break;
	case XA_HOLD:
		hold(w, h);
		break;
	case XA_SEND:
		link_send(w, o->link, h, NULL, out->send, out->send_len);
		expose(o);
		break;
	case XA_TIMER:
		o->timeout_at = w->now + a->ms;
		break;
	case XA_NO_TIMER:
		o->timeout_at = 0;
		break;
	case XA_CLOSE:
		s->close = true;
		break;
	case XA_END:
		over(w, h, a->fault, s);
		break;
	}
	return DB_OK;
}

static void trace_step(const struct world *w, int h, const struct xevent *ev, enum xstate before,
		       const struct xactions *out)
{
	char text[200] = "";
	size_t n = 0;

	if (!tracing)
		return;
	for (size_t i = 0; i < out->n && n < sizeof text; i++)
		n += (size_t)snprintf(text + n, sizeof text - n, " %s",
				      xaction_name(out->v[i].kind));
	trace(w, "    %c %s + %s -> %s:%s%s%s", name(h), xstate_name(before), xevent_name(ev->kind),
	      xstate_name(w->host[h].x.state), text, out->send_len > 0 ? "  " : "", out->send);
}

/* BREAK_OLD_EPOCH: the machine ignores epochs for one step. */
static void step_without_epochs(struct exchange *x, const struct xevent *ev, struct xactions *out)
{
	uint64_t last = x->last, epoch = x->current.epoch;

	x->last = x->current.epoch = 0;
	exchange_step(x, ev, out);
	x->current.epoch = epoch;
	if (x->last < last)
		x->last = last;
}

static void lose_link(struct world *w, int h);

/* Runs an event of the exchange and all its effects in the host. */
static void run(struct world *w, int h, const struct xevent *first)
{
	struct host *o = &w->host[h];
	struct step s = {.first = first, .before = o->x.state};
	static struct xactions out;
	struct xevent ev = *first;

	for (;;) {
		enum xstate before = o->x.state;
		int rc = DB_OK;

		s.asked = false;
		if (breaks == BREAK_OLD_EPOCH && ev.kind == XE_OFFER)
			step_without_epochs(&o->x, &ev, &out);
		else
			exchange_step(&o->x, &ev, &out);
		note_step(before, ev.kind);
		trace_step(w, h, &ev, before, &out);
		for (size_t i = 0; rc == DB_OK && i < out.n; i++)
			rc = perform(w, h, &out, &out.v[i], &s);
		if (!s.asked)
			break;
		if (rc == DB_UNKNOWN && breaks == BREAK_UNKNOWN_IS_NO)
			rc = DB_FAILED;
		ev = (struct xevent){.kind = rc == DB_OK        ? XE_IPSEC_OK
					     : rc == DB_UNKNOWN ? XE_IPSEC_UNKNOWN
								: XE_IPSEC_FAILED,
				     .spi = {s.spi}};
	}
	if (s.close && o->link >= 0)
		lose_link(w, h);
}

/* ---- links ----------------------------------------------------------------------------- */

/* The link that the exchange is bound to is gone for this host. */
static void lose_link(struct world *w, int h)
{
	struct host *o = &w->host[h];
	int link = o->link;

	run(w, h, &(struct xevent){.kind = XE_LINK_LOST});
	o->link = -1;
	o->timeout_at = 0;
	link_close_end(w, link, h);
}

void host_link_lost(struct world *w, int h, int link)
{
	if (w->host[h].link == link)
		lose_link(w, h);
	else
		link_close_end(w, link, h);
}

static bool leads(const struct world *w, int h)
{
	int link = w->host[h].link;

	return link >= 0 && w->link[link].dialler == h;
}

static void fresh_share(struct world *w, struct secret *share)
{
	uint8_t *p = secret_room(share, SHARE_LEN);
	uint64_t n = ++w->last_share;

	memset(p, 0xa5, SHARE_LEN);
	memcpy(p, &n, sizeof n);
}

static void start(struct world *w, int h, enum rekey_reason reason)
{
	struct host *o = &w->host[h];
	struct secret share;

	o->retry = false;
	if (o->x.state != XS_IDLE || !leads(w, h))
		return;
	fresh_share(w, &share);
	run(w, h,
	    &(struct xevent){.kind = XE_START,
			     .xid = ++w->last_xid,
			     .share = &share,
			     .peer_last = o->peer_last,
			     .held = held(o),
			     .reason = reason});
}

/* The leader starts an exchange, a follower requests one. */
static void want(struct world *w, int h, enum rekey_reason reason)
{
	struct host *o = &w->host[h];
	struct msg m = {.type = MSG_REKEY};

	if (o->link < 0 || o->x.state != XS_IDLE)
		return;
	if (leads(w, h)) {
		start(w, h, reason);
	} else if (w->link[o->link].end[OTHER(h)].n < QUEUE / 2) {
		m.u.rekey.reason = (int)reason;
		link_send(w, o->link, h, &m, NULL, 0);
	}
}

void host_rekey(struct world *w, int h)
{
	want(w, h, REASON_REQUEST);
}

/* ---- hello ----------------------------------------------------------------------------- */

static void own_hello(const struct world *w, int h, struct hello_own *own)
{
	const struct host *o = &w->host[h];
	struct msg_hello *m = &own->sent;

	memset(own, 0, sizeof *own);
	m->version = PROTO_VERSION;
	m->instance[0] = (uint8_t)(h + 1);
	m->instance[1] = o->life;
	m->local.len = m->remote.len = 4;
	m->local.bytes[3] = (uint8_t)h;
	m->remote.bytes[3] = (uint8_t)OTHER(h);
	m->epoch = o->x.current.epoch;
	m->last = o->x.last > m->epoch ? o->x.last : m->epoch;
	m->in = o->x.current.in;
	m->out = o->x.current.out;
}

void host_greet(struct world *w, int h, int link)
{
	struct msg m = {.type = MSG_HELLO};
	struct hello_own own;

	own_hello(w, h, &own);
	m.u.hello = own.sent;
	link_send(w, link, h, &m, NULL, 0);
}

/* Returns true if the link is kept. */
static bool elect(struct world *w, int h, int link, bool same_life)
{
	struct host *o = &w->host[h];

	if (o->link < 0)
		return true;
	if (election_of(ids[h], ids[OTHER(h)], w->link[o->link].dialler == h,
			w->link[link].dialler == h, same_life) == ELECT_OLD) {
		link_close_end(w, link, h);
		return false;
	}
	lose_link(w, h);
	return true;
}

static void bind_link(struct world *w, int h, int link, const struct msg_hello *m)
{
	static struct secret exporters[256]; /* by link: the same at both ends */
	struct host *o = &w->host[h];
	struct secret *exporter = &exporters[w->link[link].id % 256];
	uint32_t id = w->link[link].id;

	memcpy(secret_room(exporter, 32), &id, sizeof id);
	o->link = (int8_t)link;
	o->peer_life = m->instance[1];
	o->peer_last = m->last;
	o->retry = false; /* the hellos decide */
	w->link[link].end[h].greeted = true;
	exchange_link(&o->x, w->link[link].dialler == h, exporter, NULL, ids[h], ids[OTHER(h)]);
}

static void take_hello(struct world *w, int h, int link, const struct msg_hello *hello)
{
	struct host *o = &w->host[h];
	struct msg_hello m = *hello;
	enum hello_verdict meaning;
	struct hello_own own;
	struct err e = {0};
	enum fault fault;

	own_hello(w, h, &own);
	if (breaks == BREAK_TRUST_HELLO) {
		own.sent.last = own.sent.epoch;
		m.last = m.epoch;
	}
	if (!elect(w, h, link, o->peer_life == m.instance[1]))
		return;
	bind_link(w, h, link, hello);
	own_hello(w, h, &own); /* the election may have ended an exchange */
	if (breaks == BREAK_TRUST_HELLO)
		own.sent.last = own.sent.epoch;
	meaning = hello_compare(&own, &o->x.current, &m, &fault, &e);
	if (meaning == HELLO_REFUSED)
		broken(INV_BUG, "%c refuses a hello: %s", name(h), e.cause);
	if (meaning == HELLO_EQUAL && breaks != BREAK_KEEP_HELD)
		retire_held(w, h);
	if (meaning != HELLO_DIFFERS || (breaks == BREAK_NO_REPAIR && o->x.current.epoch != 0))
		return;
	/* A follower always requests an exchange: our hello may be outdated, and the leader may see no
	 * difference. A leader that has already started one ignores the request. */
	want(w, h, REASON_MISMATCH);
}

/* ---- messages --------------------------------------------------------------------------- */

static bool out_spi_known(const struct host *o, struct spi spi)
{
	for (unsigned i = 0; i < GENS; i++)
		if (o->gen[i].state != GEN_FREE && o->gen[i].has_out && o->gen[i].spi_out == spi.n)
			return true;
	return false;
}

static uint64_t *xid_in(struct msg *m)
{
	switch (m->type) {
	case MSG_ANSWER:
		return &m->u.answer.xid;
	case MSG_CONFIRMATION:
		return &m->u.confirm.xid;
	case MSG_DONE:
		return &m->u.done.xid;
	case MSG_REJECT:
		return &m->u.reject.xid;
	default:
		return NULL;
	}
}

void host_exchange_letter(struct world *w, int h, const struct letter *t)
{
	static const enum xevent_kind kinds[MSG_COUNT] = {[MSG_OFFER] = XE_OFFER,
							  [MSG_ANSWER] = XE_ANSWER,
							  [MSG_CONFIRMATION] = XE_CONFIRM,
							  [MSG_DONE] = XE_DONE,
							  [MSG_REJECT] = XE_REJECT};
	struct host *o = &w->host[h];
	struct xevent ev = {.kind = kinds[t->type], .body = t->body, .body_len = t->len};
	struct msg m = t->msg;
	struct secret share;

	ev.msg = &m;
	if (breaks == BREAK_ANY_XID && xid_in(&m) != NULL)
		*xid_in(&m) = o->x.xid_;
	if (t->type == MSG_OFFER) {
		fresh_share(w, &share);
		ev.share = &share;
		ev.held = held(o);
		ev.spi_in_use = out_spi_known(o, m.u.offer.spi);
	} else if (t->type == MSG_ANSWER) {
		ev.spi_in_use = out_spi_known(o, m.u.answer.spi);
	}
	run(w, h, &ev);
}

void host_take_letter(struct world *w, int h, int link, unsigned number)
{
	struct letter *t = letter_at(number);
	struct host *o = &w->host[h];

	if (t->type == MSG_HELLO) {
		take_hello(w, h, link, &t->msg.u.hello);
	} else if (o->link != link) {
		return;
	} else if (t->type == MSG_REKEY) {
		if (leads(w, h))
			start(w, h, (enum rekey_reason)t->msg.u.rekey.reason);
	} else {
		t->judged_life = o->life;
		host_exchange_letter(w, h, t);
	}
}

/* ---- timers ---------------------------------------------------------------------------- */

static void earlier(uint64_t *at, uint64_t t)
{
	if (t != 0 && (*at == 0 || t < *at))
		*at = t;
}

uint64_t host_next_timer(const struct world *w, int h)
{
	const struct host *o = &w->host[h];
	uint64_t at = 0;

	if (!o->alive) { /* hard lifetimes, which the system enforces */
		for (unsigned i = 0; i < CTXS; i++) {
			const struct sim_ctx *c = &o->db.ctx[i];

			if (c->id != 0 && c->parts & PART_OUT)
				earlier(&at, c->out_end);
			if (c->id != 0 && c->parts & PART_IN)
				earlier(&at, c->in_end);
		}
		return at;
	}
	earlier(&at, o->timeout_at);
	if (o->retry && leads(w, h))
		earlier(&at, o->retry_at);
	for (unsigned i = 0; i < GENS; i++) {
		const struct gen *g = &o->gen[i];

		if (g->state == GEN_FREE || g->state == GEN_NEW)
			continue;
		if (g->has_out)
			earlier(&at, g->out_end);
		if (g->state == GEN_CURRENT)
			earlier(&at, o->rekey_at);
		else
			earlier(&at, g->in_end);
	}
	return at;
}

static bool due(const struct world *w, uint64_t t)
{
	return t != 0 && t <= w->now;
}

/* The system removes expired SAs while no agent runs. */
static bool system_expires(struct world *w, int h)
{
	struct host *o = &w->host[h];

	for (unsigned i = 0; i < CTXS; i++) {
		struct sim_ctx *c = &o->db.ctx[i];
		unsigned parts = 0;

		if (c->id == 0)
			continue;
		if (c->parts & PART_OUT && due(w, c->out_end))
			parts |= PART_OUT;
		if (c->parts & PART_IN && due(w, c->in_end))
			parts |= PART_IN;
		if (parts == 0)
			continue;
		o->excused = true;
		return db_remove(w, h, c->id, (enum part)parts) == DB_OK;
	}
	return false;
}

/* The hard lifetime of the outbound SA. The inbound one lives longer: the peer started to send later. */
static void current_ends(struct world *w, int h, struct gen *g)
{
	struct host *o = &w->host[h];

	tally.expired++;
	o->excused = true;
	g->state = GEN_HELD;
	gen_remove_out(w, h, g);
	exchange_forget(&o->x);
	want(w, h, REASON_REPAIR);
}

static bool gen_timer(struct world *w, int h, struct gen *g)
{
	struct host *o = &w->host[h];
	const struct sim_ctx *c = db_find(&o->db, g->ctx);

	if (c != NULL && due(w, c->out_end))
		o->excused = true;
	switch (g->state) {
	case GEN_CURRENT:
		if (!due(w, g->out_end))
			return false;
		current_ends(w, h, g);
		return true;
	case GEN_HELD:
	case GEN_RETIRED:
	case GEN_DYING:
		if (due(w, g->in_end)) {
			enum gen_state state = g->state;

			o->excused = o->excused || state == GEN_DYING;
			gen_remove(w, h, g);
			return true;
		}
		if (!g->has_out || !due(w, g->out_end))
			return false;
		o->excused = o->excused || g->out_unknown; /* it was never put in force */
		gen_remove_out(w, h, g);
		return true;
	default:
		return false;
	}
}

void host_timer(struct world *w, int h)
{
	struct host *o = &w->host[h];

	if (!o->alive) {
		system_expires(w, h);
		return;
	}
	for (unsigned i = 0; i < GENS; i++)
		if (gen_timer(w, h, &o->gen[i]))
			return;
	if (due(w, o->timeout_at)) {
		o->timeout_at = 0;
		run(w, h, &(struct xevent){.kind = XE_TIMEOUT});
	} else if (o->retry && leads(w, h) && due(w, o->retry_at)) {
		start(w, h, REASON_REPAIR);
	} else if (gen_in(o, GEN_CURRENT) != NULL && due(w, o->rekey_at)) {
		o->rekey_at = w->now + (uint64_t)LIFETIME_S * 50;
		want(w, h, REASON_TIME);
	}
}

/* ---- start and end ------------------------------------------------------------------------------ */

/* SAs of an earlier run of the agent are kept: the peer may be sending to them. */
static void adopt_leftovers(struct world *w, int h)
{
	struct host *o = &w->host[h];
	unsigned n = 0;

	for (unsigned i = 0; i < CTXS; i++) {
		const struct sim_ctx *c = &o->db.ctx[i];

		if (c->id == 0)
			continue;
		if (c->parts == 0) {
			db_remove(w, h, c->id, PART_BOTH); /* a reservation */
			continue;
		}
		o->gen[n++] = (struct gen){.state = GEN_HELD,
					   .ctx = c->id,
					   .spi_out = c->spi_out,
					   .has_in = c->parts & PART_IN,
					   .has_out = c->parts & PART_OUT,
					   .in_end = c->in_end,
					   .out_end = c->out_end};
	}
}

void host_start(struct world *w, int h)
{
	struct host *o = &w->host[h];
	struct exchange_config cfg = {.suites = DEFAULT_SUITES,
				      .lifetime_s = LIFETIME_S,
				      .window = 64,
				      .esn = true};

	o->alive = true;
	o->life++;
	o->link = -1;
	exchange_init(&o->x, &cfg);
	adopt_leftovers(w, h);
}

void host_crash(struct world *w, int h)
{
	struct host *o = &w->host[h];
	struct sim_db db;

	for (int i = 0; i < LINKS; i++)
		if (w->link[i].id != 0 && w->link[i].end[h].open)
			link_close_end(w, i, h);
	if (o->soft) {
		db_lose(w, h);
		o->excused = true;
	}
	db = o->db;
	db.fail_in = 0;
	*o = (struct host){.soft = o->soft,
			   .life = o->life,
			   .link = -1,
			   .db = db,
			   .committed = o->committed,
			   .was = o->was,
			   .excused = o->excused};
}
