/*
 * tests/sim/db.c - the SAs of the system; strict about the order of calls.
 *
 * Keeps the contract of agent/ipsec/ipsec.h: a failed call has changed nothing; an outbound SA needs its
 * inbound one; adding an outbound SA selects it; when the selected one is removed, the newest other one
 * is selected.
 */
#include "tests/sim/sim.h"

#include <string.h>

struct sim_ctx *db_find(struct sim_db *db, uint32_t id)
{
	for (unsigned i = 0; id != 0 && i < CTXS; i++)
		if (db->ctx[i].id == id)
			return &db->ctx[i];
	return NULL;
}

struct sim_ctx *db_by_spi_in(struct sim_db *db, uint32_t spi)
{
	for (unsigned i = 0; i < CTXS; i++)
		if (db->ctx[i].id != 0 && db->ctx[i].spi_in == spi)
			return &db->ctx[i];
	return NULL;
}

/* The result of the next call, unless it fails by itself. It is performed if the result is DB_OK, or if
 * *done is set. */
static int next_result(struct world *w, int h, bool *done)
{
	static const char *const text[DB_FAULTS] = {[DB_REFUSES] = "refuses",
						    [DB_UNSENT] = "does not receive the request",
						    [DB_DIES] = "dies after the request"};
	struct sim_db *db = &w->host[h].db;

	*done = false;
	if (db->is_dead)
		return DB_FAILED;
	if (db->fail_in == 0 || --db->fail_in > 0) {
		*done = true;
		return DB_OK;
	}
	trace(w, "    the system of %c %s", 'A' + h, text[db->fail_how]);
	*done = db->is_dead = db->fail_how == DB_DIES;
	return db->fail_how == DB_REFUSES ? DB_FAILED : DB_UNKNOWN;
}

static uint64_t throw_dice(struct world *w)
{
	uint64_t z = w->dice += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static uint32_t free_spi(struct world *w, struct sim_db *db)
{
	uint32_t spi;

	do
		spi = SPI_MIN +
		      (w->spi_space > 0 ? (uint32_t)(throw_dice(w) % w->spi_space) : w->last_spi++);
	while (db_by_spi_in(db, spi) != NULL);
	return spi;
}

/* A reservation whose answer is lost is not kept: the system ends it. */
int db_reserve(struct world *w, int h, uint32_t *id, uint32_t *spi)
{
	struct sim_db *db = &w->host[h].db;
	bool done;
	int rc = next_result(w, h, &done);

	if (rc != DB_OK)
		return rc;
	for (unsigned i = 0; i < CTXS; i++) {
		struct sim_ctx *c = &db->ctx[i];

		if (c->id != 0)
			continue;
		*spi = free_spi(w, db);
		*id = ++db->last_id;
		memset(c, 0, sizeof *c);
		c->id = *id;
		c->spi_in = *spi;
		return DB_OK;
	}
	return DB_FAILED; /* full */
}

static bool add_inbound(struct world *w, struct sim_ctx *c, const struct sa_keys *k)
{
	unsigned grace = breaks == BREAK_NO_GRACE ? 0 : EXCHANGE_GRACE_S;

	if (c->parts != 0 || c->spi_in != k->spi.n) {
		broken(INV_BUG, "inbound %x: installed twice, or not as reserved", k->spi.n);
		return false;
	}
	c->parts = PART_IN;
	c->key_in = fingerprint(&k->key);
	c->in_end = w->now + (uint64_t)(k->lifetime_s + grace) * 1000;
	return true;
}

static bool add_outbound(struct world *w, struct sim_db *db, struct sim_ctx *c,
			 const struct sa_keys *k)
{
	if (c->parts != PART_IN) {
		broken(INV_BUG, "outbound %x without its inbound, or twice", k->spi.n);
		return false;
	}
	for (unsigned i = 0; i < CTXS; i++)
		if (db->ctx[i].parts & PART_OUT && db->ctx[i].spi_out == k->spi.n) {
			broken(INV_BUG, "outbound %x exists already", k->spi.n);
			return false;
		}
	c->parts |= PART_OUT;
	c->spi_out = k->spi.n;
	c->key_out = fingerprint(&k->key);
	c->out_end = w->now + (uint64_t)k->lifetime_s * 1000;
	c->order = ++db->last_order;
	db->selected = c->id;
	return true;
}

int db_add(struct world *w, int h, uint32_t id, const struct sa_keys *k, enum part part)
{
	struct sim_db *db = &w->host[h].db;
	struct sim_ctx *c = db_find(db, id);
	bool done;
	int rc = next_result(w, h, &done);

	if (!done)
		return rc;
	if (c == NULL || secret_len(&k->key) != suite_key_len(k->suite)) {
		broken(INV_BUG, "%c installs into no context, or without a key", 'A' + h);
		return DB_FAILED;
	}
	c->suite = (uint8_t)k->suite;
	c->esn = k->esn;
	if (!(part == PART_IN ? add_inbound(w, c, k) : add_outbound(w, db, c, k)))
		return DB_FAILED;
	note_key(w, h, fingerprint(&k->key), part);
	return rc;
}

static void select_newest(struct sim_db *db)
{
	uint32_t newest = 0;

	db->selected = 0;
	for (unsigned i = 0; i < CTXS; i++) {
		const struct sim_ctx *c = &db->ctx[i];

		if (c->id != 0 && c->parts & PART_OUT && c->order > newest) {
			newest = c->order;
			db->selected = c->id;
		}
	}
}

int db_remove(struct world *w, int h, uint32_t id, enum part part)
{
	struct sim_db *db = &w->host[h].db;
	struct sim_ctx *c = db_find(db, id);
	bool done;
	int rc = next_result(w, h, &done);

	if (!done || c == NULL)
		return rc;
	if (part & c->parts & PART_IN)
		note_inbound_gone(w, h, c);
	c->parts = (uint8_t)(c->parts & ~(unsigned)part);
	if (c->parts == 0)
		c->id = 0;
	if (db->selected == id && !(c->parts & PART_OUT))
		select_newest(db);
	return rc;
}

void db_lose(struct world *w, int h)
{
	struct sim_db *db = &w->host[h].db;

	for (unsigned i = 0; i < CTXS; i++)
		if (db->ctx[i].id != 0 && db->ctx[i].parts & PART_IN)
			note_key_lost(w, db->ctx[i].key_in);
	memset(db->ctx, 0, sizeof db->ctx);
	db->selected = 0;
}
