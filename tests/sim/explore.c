/*
 * tests/sim/explore.c - every order of events.
 *
 * Depth first, by copying worlds. Two worlds that differ only in their numbers (SPIs, xids and keys
 * chosen in another order, epochs that begin at another value) are one state: state_of() renames the
 * numbers before it hashes them. A state that was visited with as many events left is not visited
 * again.
 *
 * Deliveries and detection of dead links are not limited; dials and faults are, which also bounds the
 * length of every path. So the search is complete for this number of faults in one run.
 */
#include "tests/sim/sim.h"

#include <stdlib.h>
#include <string.h>

#define TABLE_BITS 22    /* visited states of one start: 4 million */
#define SETTLE_ONE_OF 64 /* states: settling takes as long as twenty events */
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---- a world's state as a number ------------------------------------------------------- */

enum { NAMES = 160 };
struct names {
	uint64_t v[NAMES];
	unsigned n;
};

/* Numbers values by first appearance: only equality matters. 0 stays 0. */
static uint64_t rename_to(struct names *s, uint64_t v)
{
	unsigned i = 0;

	if (v == 0)
		return 0;
	while (i < s->n && s->v[i] != v)
		i++;
	if (i == s->n && s->n < NAMES)
		s->v[s->n++] = v;
	return i + 1;
}

struct hasher {
	uint64_t h;
	const struct world *w;
	struct names spis, ctxs, xids;
	uint64_t epoch_base;
};

static void mix(struct hasher *s, uint64_t v)
{
	s->h = (s->h ^ v) * UINT64_C(0xd6e8feb86659fd93);
	s->h ^= s->h >> 32;
}

static void mix_time(struct hasher *s, uint64_t t)
{
	mix(s, t == 0 ? 0 : t <= s->w->now ? 1 : t - s->w->now + 1);
}

/* Epochs relative to the least one in the world: only order and distance matter. */
static void mix_epoch(struct hasher *s, uint64_t e)
{
	mix(s, e == 0 ? 0 : e - s->epoch_base + 1);
}

static void mix_pair(struct hasher *s, const struct pair_state *p)
{
	mix_epoch(s, p->epoch);
	mix(s, rename_to(&s->spis, p->in.n));
	mix(s, rename_to(&s->spis, p->out.n));
}

static void mix_letter(struct hasher *s, unsigned number)
{
	const struct letter *t = letter_at(number);
	const struct msg_hello *m = &t->msg.u.hello;

	mix(s, t->type);
	switch (t->type) {
	case MSG_HELLO:
		mix(s, m->instance[1]);
		mix_epoch(s, m->epoch);
		mix_epoch(s, m->last);
		mix(s, rename_to(&s->spis, m->in.n));
		mix(s, rename_to(&s->spis, m->out.n));
		break;
	case MSG_OFFER:
		mix(s, rename_to(&s->xids, t->msg.u.offer.xid));
		mix_epoch(s, t->msg.u.offer.epoch);
		mix(s, rename_to(&s->spis, t->msg.u.offer.spi.n));
		break;
	case MSG_ANSWER:
		mix(s, rename_to(&s->xids, t->msg.u.answer.xid));
		mix(s, rename_to(&s->spis, t->msg.u.answer.spi.n));
		break;
	case MSG_REJECT:
		mix(s, rename_to(&s->xids, t->msg.u.reject.xid));
		mix(s, (uint64_t)t->msg.u.reject.reason);
		break;
	case MSG_CONFIRMATION:
		mix(s, rename_to(&s->xids, t->msg.u.confirm.xid));
		break;
	case MSG_DONE:
		mix(s, rename_to(&s->xids, t->msg.u.done.xid));
		break;
	default:
		break;
	}
}

static void mix_link(struct hasher *s, const struct sim_link *l)
{
	mix(s, l->id != 0);
	if (l->id == 0)
		return;
	mix(s, (uint64_t)l->dialler << 1 | l->dead);
	mix_time(s, l->dead ? l->notice_at : 0);
	for (int h = A; h <= B; h++) {
		const struct link_end *e = &l->end[h];

		mix(s, (uint64_t)e->n << 2 | (uint64_t)e->open << 1 | e->greeted);
		for (unsigned i = 0; i < e->n; i++)
			mix_letter(s, e->queue[i]);
	}
}

static void mix_exchange(struct hasher *s, const struct exchange *x)
{
	mix(s, (uint64_t)x->state << 4 | (uint64_t)x->is_leader << 3 | (uint64_t)x->linked_ << 2 |
		       (uint64_t)x->link_leads_ << 1);
	mix_pair(s, &x->current);
	mix_pair(s, &x->former);
	mix_epoch(s, x->last);
	mix_epoch(s, x->epoch_);
	mix(s, rename_to(&s->xids, x->xid_));
	mix(s, rename_to(&s->spis, x->in_.n));
	mix(s, rename_to(&s->spis, x->out_.n));
}

static void mix_db(struct hasher *s, const struct sim_db *db)
{
	mix(s, rename_to(&s->ctxs, db->selected));
	mix(s, (uint64_t)db->fail_how << 8 | db->fail_in);
	for (unsigned i = 0; i < CTXS; i++) {
		const struct sim_ctx *c = &db->ctx[i];

		if (c->id == 0)
			continue;
		mix(s, rename_to(&s->ctxs, c->id));
		mix(s, (uint64_t)c->parts << 2 | (uint64_t)c->exposed << 1 | c->refused);
		mix(s, rename_to(&s->spis, c->spi_in));
		mix(s, rename_to(&s->spis, c->spi_out));
		mix(s, rename_to(&s->xids, c->xid));
		mix_time(s, c->parts & PART_IN ? c->in_end : 0);
		mix_time(s, c->parts & PART_OUT ? c->out_end : 0);
	}
	mix(s, ~UINT64_C(0));
}

static void mix_host(struct hasher *s, const struct host *o)
{
	mix(s, (uint64_t)o->life << 8 | (uint64_t)o->peer_life << 2 | (uint64_t)o->alive << 1 |
		       o->soft);
	mix(s, (uint64_t)(o->link + 1) << 1 | o->retry);
	mix_epoch(s, o->peer_last);
	mix_time(s, o->retry ? o->retry_at : 0);
	mix_time(s, o->timeout_at);
	mix_time(s, o->rekey_at);
	mix(s, rename_to(&s->xids, o->committed));
	mix_exchange(s, &o->x);
	for (unsigned i = 0; i < GENS; i++) {
		const struct gen *g = &o->gen[i];

		if (g->state == GEN_FREE)
			continue;
		mix(s, (uint64_t)g->state << 3 | (uint64_t)g->out_unknown << 2 |
			       (uint64_t)g->has_in << 1 | g->has_out);
		mix(s, rename_to(&s->ctxs, g->ctx));
		mix_epoch(s, g->epoch);
		mix_time(s, g->in_end);
		mix_time(s, g->out_end);
	}
	mix_db(s, &o->db);
}

/* The times at which installed keys last carried packets, if they still matter. */
static void mix_keys(struct hasher *s)
{
	const struct world *w = s->w;

	for (int h = A; h <= B; h++)
		for (unsigned i = 0; i < CTXS; i++) {
			const struct sim_ctx *c = &w->host[h].db.ctx[i];

			if (c->id == 0)
				continue;
			for (unsigned k = 0; k < w->keys; k++) {
				uint64_t sent = w->key[k].sent;

				if (w->key[k].key != c->key_in && w->key[k].key != c->key_out)
					continue;
				mix(s, (uint64_t)w->key[k].in << 9 | (uint64_t)w->key[k].out << 1 |
					       w->key[k].lost);
				mix(s,
				    sent == 0 || sent + FLIGHT_MS < w->now ? 0 : w->now - sent + 2);
			}
		}
}

static void least(uint64_t *base, uint64_t e)
{
	if (e != 0 && e < *base)
		*base = e;
}

static uint64_t least_epoch(const struct world *w)
{
	uint64_t base = UINT64_MAX;

	for (int h = A; h <= B; h++) {
		const struct host *o = &w->host[h];

		least(&base, o->x.current.epoch);
		least(&base, o->x.former.epoch);
		least(&base, o->x.last);
		least(&base, o->x.epoch_);
		least(&base, o->peer_last);
		for (unsigned i = 0; i < GENS; i++)
			least(&base, o->gen[i].epoch);
		for (unsigned i = 0; i < LINKS; i++) {
			const struct link_end *e = &w->link[i].end[h];

			for (unsigned k = 0; w->link[i].id != 0 && k < e->n; k++) {
				const struct letter *t = letter_at(e->queue[k]);

				if (t->type == MSG_HELLO)
					least(&base, t->msg.u.hello.epoch);
				if (t->type == MSG_OFFER)
					least(&base, t->msg.u.offer.epoch);
			}
		}
	}
	return base == UINT64_MAX ? 0 : base;
}

static uint64_t state_of(const struct world *w)
{
	struct hasher s;

	s.h = UINT64_C(0x9e3779b97f4a7c15);
	s.w = w;
	s.spis.n = s.ctxs.n = s.xids.n = 0;
	s.epoch_base = least_epoch(w);
	for (int h = A; h <= B; h++)
		mix_host(&s, &w->host[h]);
	for (int i = 0; i < LINKS; i++)
		mix_link(&s, &w->link[i]);
	mix_keys(&s);
	return s.h;
}

/* ---- visited states ------------------------------------------------------------- */

/* The low 6 bits of each are replaced by the number of events left; 0: free. */
static uint64_t *table;

/* Returns false if it was visited with as many events left or more. */
static bool is_new(uint64_t state, unsigned left, struct explored *sum)
{
	const uint64_t mask = (UINT64_C(1) << TABLE_BITS) - 1;
	uint64_t key = state & ~UINT64_C(63);

	if (key == 0)
		key = 64;
	for (uint64_t i = state >> 32 & mask;; i = (i + 1) & mask) {
		if (table[i] == 0) {
			table[i] = key | left;
			sum->states++;
			return true;
		}
		if ((table[i] & ~UINT64_C(63)) != key)
			continue;
		if ((table[i] & 63) >= left)
			return false;
		table[i] = key | left;
		return true;
	}
}

/* ---- the search ------------------------------------------------------------------------ */

/* Maximum number of each on one path, and of all except dials together. */
struct ration {
	uint8_t all, cut, tick, rekey, fail, crash, dial;
};

static struct world at[DEPTH_MAX + 1];
static struct event path[DEPTH_MAX];
static unsigned broken_at; /* events up to the violation */
static struct explored *total;

/* Charges the event to its ration. Returns false if none is left. */
static bool spend(struct ration *r, const struct event *ev)
{
	uint8_t *n = ev->kind == EV_CUT     ? &r->cut
		     : ev->kind == EV_TICK  ? &r->tick
		     : ev->kind == EV_REKEY ? &r->rekey
		     : ev->kind == EV_CRASH ? &r->crash
		     : ev->kind == EV_DIAL  ? &r->dial
					    : NULL;

	if (n == NULL)
		return true;
	if (*n == 0 || (ev->kind != EV_DIAL && r->all == 0))
		return false;
	--*n;
	if (ev->kind != EV_DIAL)
		r->all--;
	return true;
}

static uint64_t mix_ration(uint64_t state, const struct ration *r)
{
	uint64_t v = 0;

	memcpy(&v, r, sizeof *r);
	state = (state ^ v) * UINT64_C(0x9e3779b97f4a7c15);
	return state ^ state >> 29;
}

/* Returns the system that will fail. */
static struct sim_db *plan_failure(struct world *w, const struct event *ev)
{
	struct sim_db *db = &w->host[ev->fail & 1].db;

	db->fail_in = ev->fail >> 1 & 7;
	db->fail_how = ev->fail >> 4;
	return db;
}

static bool visit(unsigned depth, unsigned left, struct ration ration);

static bool try_event(unsigned depth, unsigned left, struct ration ration, const struct event *ev)
{
	struct world *w = &at[depth + 1];

	if (!event_possible(&at[depth], ev) || !spend(&ration, ev))
		return true;
	letters_keep(at[depth].letters);
	world_copy(w, &at[depth]);
	path[depth] = *ev;
	total->events++;
	broken_at = depth + 1;
	return event_apply(w, ev) && visit(depth + 1, left - 1, ration);
}

/* The same, while an IPsec call fails as in ev->fail. Without such a call the event is not new. */
static bool try_failing(unsigned depth, unsigned left, struct ration ration, const struct event *ev)
{
	struct sim_db *db;
	struct world *w = &at[depth + 1];

	if (!event_possible(&at[depth], ev) || !spend(&ration, ev) || ration.fail == 0 ||
	    ration.all == 0)
		return true;
	ration.fail--;
	ration.all--;
	letters_keep(at[depth].letters);
	world_copy(w, &at[depth]);
	db = plan_failure(w, ev);
	path[depth] = *ev;
	total->events++;
	broken_at = depth + 1;
	if (!event_apply(w, ev))
		return false;
	return db->fail_in != 0 || visit(depth + 1, left - 1, ration);
}

static bool try_all_ways(unsigned depth, unsigned left, struct ration ration,
			 const struct event *ev)
{
	if (!try_event(depth, left, ration, ev))
		return false;
	if (ev->kind != EV_DELIVER && ev->kind != EV_TICK && ev->kind != EV_REKEY)
		return true;
	for (unsigned h = A; h <= B; h++)
		for (unsigned n = 1; n <= 2; n++)
			for (unsigned how = 0; how < DB_FAULTS; how++) {
				struct event failing = *ev;

				failing.fail = (uint8_t)(how << 4 | n << 1 | h);
				if ((ev->kind == EV_TICK || ev->host == h) &&
				    !try_failing(depth, left, ration, &failing))
					return false;
			}
	return true;
}

/* Settles a copy of the world. */
static bool settles(unsigned depth)
{
	static struct world w;

	letters_keep(at[depth].letters);
	world_copy(&w, &at[depth]);
	total->settled++;
	broken_at = depth;
	return world_settle(&w);
}

static bool visit(unsigned depth, unsigned left, struct ration ration)
{
	static const struct {
		enum event_kind kind;
		bool per_host, per_link;
	} kinds[] = {
		{EV_DELIVER, true, true}, {EV_NOTICE, true, true},   {EV_CUT, false, true},
		{EV_DIAL, true, false},   {EV_TICK, false, false},   {EV_REKEY, true, false},
		{EV_CRASH, true, false},  {EV_RESTART, true, false},
	};
	uint64_t state = mix_ration(state_of(&at[depth]), &ration);
	struct event ev;

	if (!is_new(state, left, total))
		return true;
	if (depth > total->deepest)
		total->deepest = depth;
	if (state % SETTLE_ONE_OF == 0 && !settles(depth))
		return false;
	if (left == 0)
		return true;
	for (unsigned kind = 0; kind < COUNT(kinds); kind++)
		for (unsigned h = A; h <= (kinds[kind].per_host ? B : A); h++)
			for (unsigned i = 0; i < (kinds[kind].per_link ? LINKS : 1); i++) {
				ev = (struct event){.kind = kinds[kind].kind,
						    .host = (uint8_t)h,
						    .link = (uint8_t)i};
				if (!try_all_ways(depth, left, ration, &ev))
					return false;
			}
	return true;
}

static void retell_event(struct world *w, const struct event *ev)
{
	if (ev->fail != 0)
		plan_failure(w, ev);
	event_apply(w, ev);
}

/* Prints the events from the start to the violation. */
static void retell(void)
{
	static struct world w;
	struct verdict keep = verdict;

	tracing = true;
	verdict.inv = INV_NONE;
	letters_keep(at[0].letters);
	world_copy(&w, &at[0]);
	for (unsigned i = 0; i < broken_at && verdict.inv == INV_NONE; i++)
		retell_event(&w, &path[i]);
	if (verdict.inv == INV_NONE)
		world_settle(&w);
	tracing = false;
	verdict = keep;
}

static bool search(bool soft_a, bool soft_b, bool paired, unsigned depth)
{
	static const struct ration ration =
		{.all = 3, .cut = 2, .tick = 2, .rekey = 1, .fail = 1, .crash = 1, .dial = 2};

	verdict.inv = INV_NONE;
	world_start(&at[0], soft_a, soft_b, 1);
	if (paired && (!event_apply(&at[0], &(struct event){.kind = EV_DIAL, .host = A}) ||
		       !world_settle(&at[0])))
		return false;
	if (visit(0, depth, ration))
		return true;
	retell();
	return false;
}

bool explore(unsigned depth, struct explored *sum)
{
	bool ok = true;

	if (depth > DEPTH_MAX)
		depth = DEPTH_MAX;
	*sum = (struct explored){0};
	total = sum;
	for (unsigned root = 0; ok && root < 6; root++) {
		unsigned soft = root / 2; /* none, one, both */

		table = calloc((size_t)1 << TABLE_BITS, sizeof *table);
		if (table == NULL)
			abort();
		ok = search(soft > 0, soft > 1, root % 2 == 1, depth);
		free(table);
	}
	return ok;
}
