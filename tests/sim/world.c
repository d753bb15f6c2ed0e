/*
 * tests/sim/world.c - the events: their conditions, their effects, and how a world settles.
 */
#include "tests/sim/sim.h"

#include <stdio.h>
#include <string.h>

#define REST_EVENTS 3000                   /* more than this: the world does not settle */
#define PATIENCE_MS ((uint64_t)300 * 1000) /* settling must not wait for the end of a lifetime */

bool tracing;

static char name(int h)
{
	return (char)('A' + h);
}

void trace(const struct world *w, const char *fmt, ...)
{
	va_list ap;

	if (!tracing)
		return;
	printf("# %8.3f ", (double)w->now / 1000);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

void world_start(struct world *w, bool soft_a, bool soft_b, uint64_t dice)
{
	memset(w, 0, sizeof *w);
	letters_keep(0);
	w->now = 1000;
	w->dice = dice;
	w->last_spi = SPI_MIN;
	w->host[A].soft = soft_a;
	w->host[B].soft = soft_b;
	host_start(w, A);
	host_start(w, B);
}

void world_copy(struct world *to, const struct world *from)
{
	memcpy(to, from, offsetof(struct world, key) + from->keys * sizeof from->key[0]);
}

uint64_t world_next_timer(const struct world *w)
{
	uint64_t at = 0, t;

	for (int h = A; h <= B; h++) {
		t = host_next_timer(w, h);
		if (t != 0 && (at == 0 || t < at))
			at = t;
	}
	for (int i = 0; i < LINKS; i++) {
		t = w->link[i].notice_at;
		if (w->link[i].id != 0 && w->link[i].dead && (at == 0 || t < at))
			at = t;
	}
	return at;
}

/* ---- possible events ------------------------------------------------------------------- */

/* A host without a link dials, unless its last attempt is pending. */
static bool may_dial(const struct world *w, int h)
{
	bool place = false;

	if (!w->host[A].alive || !w->host[B].alive || w->host[h].link >= 0)
		return false;
	for (int i = 0; i < LINKS; i++) {
		const struct sim_link *l = &w->link[i];

		place = place || l->id == 0;
		if (l->id != 0 && l->dialler == h && l->end[h].open)
			return false;
	}
	return place;
}

/* Has the exchange of this run of the agent read or sent the message before? */
static bool is_old_letter(const struct world *w, int h, unsigned number)
{
	const struct letter *t = letter_at(number);
	const struct host *o = &w->host[h];

	if (number >= letter_count() || t->type < MSG_OFFER || t->type > MSG_REJECT)
		return false;
	return t->from == h ? t->from_life == o->life : t->judged_life == o->life;
}

bool event_possible(const struct world *w, const struct event *ev)
{
	const struct host *o = &w->host[ev->host];
	const struct sim_link *l = &w->link[ev->link];
	const struct link_end *end = &l->end[ev->host];

	switch (ev->kind) {
	case EV_DELIVER:
		return l->id != 0 && end->open && end->n > 0;
	case EV_NOTICE:
		return l->id != 0 && end->open && l->dead;
	case EV_CUT:
		return l->id != 0 && !l->dead;
	case EV_DIAL:
		return may_dial(w, ev->host);
	case EV_TICK:
		return world_next_timer(w) != 0;
	case EV_REKEY:
		return o->alive && o->link >= 0 && o->x.state == XS_IDLE;
	case EV_FAIL:
		return o->alive && o->db.fail_in == 0;
	case EV_CRASH:
		return o->alive;
	case EV_RESTART:
		return !o->alive;
	case EV_INJECT:
		return o->alive && o->link >= 0 && is_old_letter(w, ev->host, ev->arg);
	default:
		return false;
	}
}

/* ---- old messages (I7) ------------------------------------------------------------------ */

static void wipe_scratch(struct exchange *x)
{
	wipe(&x->sa_in, sizeof x->sa_in);
	wipe(&x->sa_out, sizeof x->sa_out);
	secret_wipe(&x->probe_key);
}

/* An offer to the leader of a link, unless it is its own: a protocol error that closes the link, but
 * must not change the pair in force. */
static bool closes_link(const struct host *o, const struct world *w, int h, const struct letter *t)
{
	return t->type == MSG_OFFER && w->link[o->link].dialler == h &&
	       (o->x.state == XS_IDLE || t->msg.u.offer.xid != o->x.xid_);
}

static void inject(struct world *w, int h, const struct letter *t)
{
	static struct host before;
	struct host *o = &w->host[h];
	bool closes = closes_link(o, w, h, t);

	wipe_scratch(&o->x);
	before = *o;
	tally.injected++;
	host_exchange_letter(w, h, t);
	wipe_scratch(&o->x);
	if (memcmp(&before.x.current, &o->x.current, sizeof o->x.current) != 0 ||
	    before.db.selected != o->db.selected || before.x.last != o->x.last)
		broken(I7, "an old %s changed the pair in force at %c", msg_name(t->type), name(h));
	if (closes)
		return;
	if (memcmp(&before.x, &o->x, sizeof o->x) != 0)
		broken(I7, "an old %s changed the exchange of %c", msg_name(t->type), name(h));
	if (memcmp(&before.db, &o->db, sizeof o->db) != 0 ||
	    memcmp(before.gen, o->gen, sizeof o->gen) != 0)
		broken(I7, "an old %s changed the SAs of %c", msg_name(t->type), name(h));
}

/* ---- effects ---------------------------------------------------------------------- */

static void deliver(struct world *w, int h, int link)
{
	struct link_end *end = &w->link[link].end[h];
	unsigned number = end->queue[0];

	end->n--;
	memmove(end->queue, end->queue + 1, end->n * sizeof end->queue[0]);
	host_take_letter(w, h, link, number);
}

static void cut(struct world *w, int link)
{
	struct sim_link *l = &w->link[link];

	tally.cuts++;
	l->dead = true;
	l->notice_at = w->now + QUIET_MS;
}

static void dial(struct world *w, int h)
{
	int link = link_open(w, h);

	host_greet(w, h, link);
	host_greet(w, OTHER(h), link);
}

static bool due(const struct world *w, uint64_t t)
{
	return t != 0 && t <= w->now;
}

static void tick(struct world *w)
{
	uint64_t at = world_next_timer(w);

	w->now = at > w->now ? at : w->now;
	note_sending(w);
	for (int i = 0; i < LINKS; i++) {
		struct sim_link *l = &w->link[i];

		if (l->id == 0 || !l->dead || !due(w, l->notice_at))
			continue;
		for (int h = A; h <= B && l->id != 0; h++)
			if (l->end[h].open)
				host_link_lost(w, h, i);
		return;
	}
	for (int h = A; h <= B; h++) {
		if (due(w, host_next_timer(w, h))) {
			host_timer(w, h);
			return;
		}
	}
}

void event_print(const struct world *w, const struct event *ev)
{
	char h = name(ev->host);
	unsigned link = w->link[ev->link].id;
	const struct letter *t;

	switch (ev->kind) {
	case EV_DELIVER:
		t = letter_at(w->link[ev->link].end[ev->host].queue[0]);
		trace(w, "%s arrives at %c on link %u", msg_name(t->type), h, link);
		break;
	case EV_NOTICE:
		trace(w, "%c detects that link %u is dead", h, link);
		break;
	case EV_CUT:
		trace(w, "link %u is cut", link);
		break;
	case EV_DIAL:
		trace(w, "%c dials", h);
		break;
	case EV_TICK:
		trace(w, "time passes");
		break;
	case EV_REKEY:
		trace(w, "a rekey is requested at %c", h);
		break;
	case EV_FAIL:
		trace(w, "IPsec call %u from now of %c will fail", ev->arg & 15, h);
		break;
	case EV_CRASH:
		trace(w, "the agent of %c dies%s", h,
		      w->host[ev->host].soft ? " with its SAs" : "");
		break;
	case EV_RESTART:
		trace(w, "the agent of %c restarts", h);
		break;
	case EV_INJECT:
		t = letter_at(ev->arg);
		trace(w, "%c receives an old %s of %c", h, msg_name(t->type), name(t->from));
		break;
	default:
		break;
	}
}

bool event_apply(struct world *w, const struct event *ev)
{
	int h = ev->host;

	event_print(w, ev);
	tally.events++;
	note_before(w);
	note_sending(w);
	switch (ev->kind) {
	case EV_DELIVER:
		deliver(w, h, ev->link);
		break;
	case EV_NOTICE:
		host_link_lost(w, h, ev->link);
		break;
	case EV_CUT:
		cut(w, ev->link);
		break;
	case EV_DIAL:
		dial(w, h);
		break;
	case EV_TICK:
		tick(w);
		break;
	case EV_REKEY:
		host_rekey(w, h);
		break;
	case EV_FAIL:
		w->host[h].db.fail_in = ev->arg & 15;
		w->host[h].db.fail_how = (uint8_t)(ev->arg >> 4);
		break;
	case EV_CRASH:
		tally.crashes++;
		host_crash(w, h);
		break;
	case EV_RESTART:
		host_start(w, h);
		break;
	case EV_INJECT:
		inject(w, h, letter_at(ev->arg));
		break;
	default:
		break;
	}
	w->host[A].db.is_dead = w->host[B].db.is_dead = false;
	note_sending(w);
	check_event(w);
	return verdict.inv == INV_NONE;
}

/* ---- settling ------------------------------------------------------------------------------ */

static bool host_at_rest(const struct world *w, int h)
{
	const struct host *o = &w->host[h];

	if (!o->alive || o->link < 0 || o->x.state != XS_IDLE || o->timeout_at != 0 ||
	    (o->retry && w->link[o->link].dialler == h))
		return false;
	for (unsigned i = 0; i < GENS; i++)
		if (o->gen[i].state != GEN_FREE && o->gen[i].state != GEN_CURRENT)
			return false;
	return true;
}

static bool held_full(const struct world *w)
{
	for (int h = A; h <= B; h++) {
		unsigned n = 0;

		for (unsigned i = 0; i < GENS; i++)
			n += w->host[h].gen[i].state == GEN_HELD;
		if (n >= HELD_LIMIT)
			return true;
	}
	return false;
}

/* The next event in a world without further faults. */
static bool next_good(struct world *w, struct event *ev, uint64_t since)
{
	static const enum event_kind order[] = {EV_RESTART, EV_DELIVER, EV_NOTICE};

	for (size_t k = 0; k < sizeof order / sizeof order[0]; k++)
		for (unsigned i = 0; i < LINKS; i++)
			for (unsigned h = A; h <= B; h++) {
				*ev = (struct event){.kind = order[k],
						     .host = (uint8_t)h,
						     .link = (uint8_t)i};
				if (event_possible(w, ev))
					return true;
			}
	if (host_at_rest(w, A) && host_at_rest(w, B))
		return false;
	*ev = (struct event){.kind = EV_DIAL, .host = (uint8_t)(w->dice >> 32 & 1)};
	if (w->host[A].link < 0 && w->host[B].link < 0 && event_possible(w, ev))
		return true;
	if (held_full(w))
		since = w->now; /* the only case in which lifetimes must end first */
	*ev = (struct event){.kind = EV_TICK};
	return event_possible(w, ev) && world_next_timer(w) <= since + PATIENCE_MS;
}

bool world_settle(struct world *w)
{
	uint64_t since = w->now;
	struct event ev;

	trace(w, "---- no more faults ----");
	for (int h = A; h <= B; h++)
		w->host[h].db.fail_in = 0;
	for (unsigned n = 0; verdict.inv == INV_NONE && next_good(w, &ev, since); n++) {
		if (n == REST_EVENTS) {
			broken(I2, "not settled after %d events without a fault", REST_EVENTS);
			break;
		}
		if (held_full(w))
			since = w->now;
		event_apply(w, &ev);
	}
	if (verdict.inv == INV_NONE)
		check_rest(w);
	return verdict.inv == INV_NONE;
}
