/*
 * agent/ipsec/soft/state.c - the SAD of the back end soft: pairs by SPI, their limits, their end.
 */
#include "agent/ipsec/soft/db.h"

#include <stdlib.h>
#include <string.h>

/* ---- table of SPIs ----------------------------------------------------------------------- */

static struct pair **bucket_of(struct soft *db, struct spi spi)
{
	return &db->buckets[spi.n & (db->n_buckets - 1)].first; /* our SPIs are random already */
}

struct pair *soft_pair_of_spi(struct soft *db, struct spi spi)
{
	struct pair *pair = *bucket_of(db, spi);

	while (pair != NULL && !spi_equal(pair->spi, spi))
		pair = pair->next_in_bucket;
	return pair;
}

struct pair *soft_pair_of_ctx(struct soft *db, struct ipsec_ctx ctx)
{
	struct pair *pair = soft_pair_of_spi(db, (struct spi){(uint32_t)ctx.id});

	return pair != NULL && pair->id == ctx.id ? pair : NULL;
}

bool soft_was_reserved(const struct soft *db, struct ipsec_ctx ctx)
{
	return ctx.id >> 32 >= 1 && ctx.id >> 32 <= db->reserved;
}

static void grow(struct soft *db)
{
	struct chain *old = db->buckets;
	const size_t n_old = db->n_buckets;
	struct chain *more = calloc(2 * n_old, sizeof *more);

	if (more == NULL)
		return; /* longer chains, no harm */
	db->buckets = more;
	db->n_buckets = 2 * n_old;
	for (size_t i = 0; i < n_old; i++) {
		while (old[i].first != NULL) {
			struct pair *pair = old[i].first, **to = bucket_of(db, pair->spi);

			old[i].first = pair->next_in_bucket;
			pair->next_in_bucket = *to;
			*to = pair;
		}
	}
	free(old);
}

void soft_insert_pair(struct soft *db, struct pair *pair)
{
	struct pair **bucket;

	if (db->n_pairs >= db->n_buckets)
		grow(db);
	bucket = bucket_of(db, pair->spi);
	pair->next_in_bucket = *bucket;
	*bucket = pair;
	pair->next_of_policy = pair->policy->pairs;
	if (pair->policy->pairs != NULL)
		pair->policy->pairs->prev_of_policy = pair;
	pair->policy->pairs = pair;
	db->n_pairs++;
}

/* ---- SAs --------------------------------------------------------------------------------- */

void soft_wipe_free(void *p, size_t n)
{
	if (p == NULL)
		return;
	wipe(p, n);
	free(p);
}

void soft_free_inbound(struct inbound *in)
{
	if (in != NULL)
		soft_wipe_free(in, sizeof *in + in->esp.replay.window / 32 * sizeof in->words[0]);
}

void soft_free_pair(struct soft *db, struct pair *pair)
{
	struct pair **at = bucket_of(db, pair->spi);

	while (*at != pair)
		at = &(*at)->next_in_bucket;
	*at = pair->next_in_bucket;
	if (pair->prev_of_policy != NULL)
		pair->prev_of_policy->next_of_policy = pair->next_of_policy;
	else
		pair->policy->pairs = pair->next_of_policy;
	if (pair->next_of_policy != NULL)
		pair->next_of_policy->prev_of_policy = pair->prev_of_policy;
	db->n_pairs--;

	if (pair->policy->selected == pair)
		pair->policy->selected = NULL;
	soft_free_inbound(pair->in);
	soft_wipe_free(pair->out, sizeof *pair->out);
	free(pair);
}

void soft_select_newest(struct soft_policy *pol)
{
	pol->selected = NULL;
	for (struct pair *pair = pol->pairs; pair != NULL; pair = pair->next_of_policy)
		if (pair->out != NULL && pair->out->order > 0 &&
		    (pol->selected == NULL || pair->out->order > pol->selected->out->order))
			pol->selected = pair;
}

void soft_end_parts(struct soft *db, struct pair *pair, unsigned parts)
{
	if ((parts & IPSEC_INBOUND) != 0) {
		soft_free_inbound(pair->in);
		pair->in = NULL;
	}
	if ((parts & IPSEC_OUTBOUND) != 0) {
		if (pair->policy->selected == pair)
			pair->policy->selected = NULL;
		soft_wipe_free(pair->out, sizeof *pair->out);
		pair->out = NULL;
	}
	if (pair->in == NULL && pair->out == NULL)
		soft_free_pair(db, pair);
}

static bool over(uint64_t limit, uint64_t now)
{
	return limit != 0 && now > limit;
}

bool soft_over_hard(const struct policy *p, uint64_t packets, uint64_t bytes)
{
	return over(p->limits.hard_packets, packets) || over(p->limits.hard_bytes, bytes);
}

void soft_warn(struct soft *db, struct pair *pair, enum ipsec_part part, bool *told,
	       uint64_t packets, uint64_t bytes, bool numbers_low)
{
	const struct policy *p = pair->policy->p;
	bool by_bytes = p->limits.soft_bytes != 0 && bytes >= p->limits.soft_bytes;
	bool by_packets = numbers_low ||
			  (p->limits.soft_packets != 0 && packets >= p->limits.soft_packets);

	if (*told || (!by_bytes && !by_packets))
		return;
	*told = true; /* once for an SA */
	soft_raise_later(db, pair, IPSEC_EV_SOFT, part, by_bytes ? REASON_BYTES : REASON_PACKETS,
			 NULL);
}
