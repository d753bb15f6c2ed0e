/*
 * tests/sim/invariants.c - the invariants after every event (I1, I4 to I7) and when idle (I2, I3).
 *
 * They compare the SAs of both hosts. Losses that the protocol cannot prevent are excused: SAs that
 * ended with their process, and hard lifetimes.
 */
#include "tests/sim/sim.h"

#include <stdio.h>
#include <string.h>

struct verdict verdict;

const char *inv_name(enum inv i)
{
	static const char *const names[INV_COUNT] = {"none", "I1", "I2", "I3", "I4",
						     "I5",   "I6", "I7", "bug"};

	return names[i];
}

void broken(enum inv i, const char *fmt, ...)
{
	va_list ap;

	if (verdict.inv != INV_NONE)
		return;
	verdict.inv = i;
	va_start(ap, fmt);
	vsnprintf(verdict.text, sizeof verdict.text, fmt, ap);
	va_end(ap);
}

static char name(int h)
{
	return (char)('A' + h);
}

uint64_t fingerprint(const struct secret *s)
{
	size_t n;
	const uint8_t *p = secret_bytes(s, &n);
	uint64_t f = UINT64_C(0xcbf29ce484222325); /* FNV-1a */

	for (size_t i = 0; i < n; i++)
		f = (f ^ p[i]) * UINT64_C(0x100000001b3);
	return f;
}

/* ---- keys (I4) ------------------------------------------------------------------------- */

static struct sim_key *key_of(struct world *w, uint64_t key)
{
	for (unsigned i = w->keys; i-- > 0;)
		if (w->key[i].key == key)
			return &w->key[i];
	return NULL;
}

void note_key(struct world *w, int h, uint64_t key, enum part part)
{
	struct sim_key *k = key_of(w, key);

	if (k == NULL) {
		if (w->keys == KEYS) {
			broken(INV_BUG, "more than %d keys in one run", KEYS);
			return;
		}
		k = &w->key[w->keys++];
		*k = (struct sim_key){.key = key};
	}
	if (part == PART_IN)
		k->in++;
	else
		k->out++;
	if (k->in > 1 || k->out > 1)
		broken(I4, "%c installs a key for the second time (%s)", name(h),
		       part == PART_IN ? "inbound" : "outbound");
}

void note_key_lost(struct world *w, uint64_t key)
{
	struct sim_key *k = key_of(w, key);

	if (k != NULL)
		k->lost = true;
}

/* ---- sending (I1) ---------------------------------------------------------------------- */

/* The SA that h sends on. An SA past its hard lifetime carries no packets, even if not removed. */
static const struct sim_ctx *sends_on(struct world *w, int h)
{
	const struct sim_ctx *c = db_find(&w->host[h].db, w->host[h].db.selected);

	return c != NULL && w->now < c->out_end ? c : NULL;
}

void note_sending(struct world *w)
{
	for (int h = A; h <= B; h++) {
		const struct sim_ctx *c = sends_on(w, h);
		struct sim_key *k = c != NULL ? key_of(w, c->key_out) : NULL;

		if (k != NULL)
			k->sent = w->now + 1;
	}
}

static void check_sending(struct world *w, int h)
{
	struct sim_db *peer = &w->host[OTHER(h)].db;
	const struct sim_ctx *out = sends_on(w, h), *in;
	const struct sim_key *k;

	if (out == NULL)
		return;
	k = key_of(w, out->key_out);
	if (k != NULL && k->lost)
		return;
	in = db_by_spi_in(peer, out->spi_out);
	if (in == NULL || !(in->parts & PART_IN))
		broken(I1, "%c sends on SPI %x, which %c has no inbound SA for", name(h),
		       out->spi_out, name(OTHER(h)));
	else if (in->key_in != out->key_out || in->suite != out->suite || in->esn != out->esn)
		broken(I1, "%c sends on SPI %x with other keys than %c has", name(h), out->spi_out,
		       name(OTHER(h)));
}

/* ---- removals that are not allowed (I1, I5, I6) ----------------------------------------------------- */

void note_inbound_gone(struct world *w, int h, const struct sim_ctx *c)
{
	const struct host *o = &w->host[h], *peer = &w->host[OTHER(h)];
	const struct sim_key *k = key_of(w, c->key_in);
	bool newer = o->committed > c->xid && peer->committed > c->xid;

	if (k != NULL && k->sent != 0 && !k->lost && w->now + 1 < k->sent + FLIGHT_MS)
		broken(I1, "%c removes inbound %x, packets are in flight to it", name(h),
		       c->spi_in);
	if (c->exposed && !c->refused && !newer && w->now < c->in_end)
		broken(I6, "%c removes inbound %x, which %c may be sending to", name(h), c->spi_in,
		       name(OTHER(h)));
}

static void check_in_force(struct world *w, int h)
{
	struct host *o = &w->host[h];
	const struct sim_ctx *c = db_find(&o->db, o->db.selected);

	if (o->was.ctx == 0 || o->excused)
		return;
	if (c == NULL)
		broken(I5, "%c had a pair in force, and has none", name(h));
	else if (c->xid < o->was.xid)
		broken(I5, "%c returns to an older pair", name(h));
}

void note_before(struct world *w)
{
	for (int h = A; h <= B; h++) {
		struct host *o = &w->host[h];
		const struct sim_ctx *c = db_find(&o->db, o->db.selected);

		o->was.ctx = o->db.selected;
		o->was.xid = c != NULL ? c->xid : 0;
		o->excused = false;
	}
}

static bool all_zero(const void *p, size_t n)
{
	static const char zeros[256];

	return n <= sizeof zeros && memcmp(p, zeros, n) == 0;
}

static void check_secrets(const struct host *o, int h)
{
	const struct exchange *x = &o->x;

	if (x->state != XS_IDLE)
		return;
	if (!all_zero(&x->sa_in, sizeof x->sa_in) || !all_zero(&x->sa_out, sizeof x->sa_out) ||
	    !all_zero(&x->probe_key, sizeof x->probe_key) ||
	    !all_zero(&x->share_, sizeof x->share_) || !all_zero(&x->prk_, sizeof x->prk_) ||
	    !all_zero(&x->offer_, sizeof x->offer_) ||
	    !all_zero(x->confirm_tag_, sizeof x->confirm_tag_))
		broken(I3, "secrets are left in the machine of %c", name(h));
}

void check_event(struct world *w)
{
	for (int h = A; h <= B; h++) {
		check_sending(w, h);
		check_in_force(w, h);
		check_secrets(&w->host[h], h);
	}
}

/* ---- idle (I2, I3) ------------------------------------------------------------------ */

static void check_left(struct world *w, int h)
{
	struct sim_db *db = &w->host[h].db;
	const struct sim_ctx *c = db_find(db, db->selected);
	unsigned in = 0, out = 0, ctxs = 0;

	for (unsigned i = 0; i < CTXS; i++) {
		if (db->ctx[i].id == 0)
			continue;
		ctxs++;
		in += (db->ctx[i].parts & PART_IN) != 0;
		out += (db->ctx[i].parts & PART_OUT) != 0;
	}
	if (in != 1 || out != 1 || ctxs != 1)
		broken(I3, "%c has %u inbound and %u outbound SAs in %u contexts when idle",
		       name(h), in, out, ctxs);
	else if (c == NULL || c->spi_out != w->host[h].x.current.out.n ||
		 c->spi_in != w->host[h].x.current.in.n)
		broken(I2, "%c does not use the pair that it reports as in force", name(h));
}

void check_rest(struct world *w)
{
	const struct exchange *a = &w->host[A].x, *b = &w->host[B].x;

	if (a->state != XS_IDLE || b->state != XS_IDLE)
		broken(I2, "an exchange hangs: %s, %s", xstate_name(a->state),
		       xstate_name(b->state));
	if (a->current.epoch == 0 || a->current.epoch != b->current.epoch ||
	    !spi_equal(a->current.in, b->current.out) || !spi_equal(a->current.out, b->current.in))
		broken(I2, "A has epoch %u in force, B has %u", (unsigned)a->current.epoch,
		       (unsigned)b->current.epoch);
	for (int h = A; h <= B; h++) {
		check_left(w, h);
	}
}

/* ---- coverage ---------------------------------------------------------------------- */

static uint64_t steps[XS_COUNT][XE_COUNT];

void note_step(enum xstate s, enum xevent_kind k)
{
	steps[s][k]++;
}

static bool met(const char *in, const char *on)
{
	for (unsigned s = 0; s < XS_COUNT; s++)
		for (unsigned k = 0; k < XE_COUNT; k++)
			if (strcmp(xstate_name((enum xstate)s), in) == 0 &&
			    strcmp(xevent_name((enum xevent_kind)k), on) == 0 && steps[s][k] > 0)
				return true;
	printf("# never occurred: %s in %s\n", on, in);
	return false;
}

bool steps_cover_table(void)
{
	static const char *const waiting[] = {"L_OFFERED", "L_CONFIRMED", "F_ANSWERED"};
	static const char *const asking[] = {"L_RESERVING", "L_INSTALLING", "F_RESERVING",
					     "F_INSTALLING", "F_ACTIVATING"};
	const char *in, *on, *does, *next, *undo;
	bool all = true;

	for (size_t i = 0; exchange_row(i, &in, &on, &does, &next, &undo); i++)
		all = met(in, on) && all;
	for (size_t i = 0; i < sizeof waiting / sizeof waiting[0]; i++) {
		all = met(waiting[i], "LINK_LOST") && all;
		all = met(waiting[i], "TIMEOUT") && all;
	}
	for (size_t i = 0; i < sizeof asking / sizeof asking[0]; i++)
		all = met(asking[i], "IPSEC_FAILED") && met(asking[i], "IPSEC_UNKNOWN") && all;
	return all;
}
