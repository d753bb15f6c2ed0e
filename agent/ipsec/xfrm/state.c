/*
 * agent/ipsec/xfrm/state.c - contexts and their SAs.
 */
#include "agent/ipsec/xfrm/db.h"

#include <stdlib.h>

static struct xfrm_pair **bucket_of(struct xfrm *db, uint64_t id)
{
	return &db->buckets[id & (db->n_buckets - 1)];
}

struct xfrm_pair *xfrm_pair(struct xfrm *db, struct ipsec_ctx ctx)
{
	struct xfrm_pair *pair = *bucket_of(db, ctx.id);

	while (pair != NULL && pair->id != ctx.id)
		pair = pair->next_in_bucket;
	return pair;
}

static void grow(struct xfrm *db)
{
	struct xfrm_pair **old = db->buckets;
	const size_t n_old = db->n_buckets;
	struct xfrm_pair **more = calloc(2 * n_old, sizeof *more);

	if (more == NULL)
		return; /* longer chains are only slower */
	db->buckets = more;
	db->n_buckets = 2 * n_old;
	for (size_t i = 0; i < n_old; i++) {
		while (old[i] != NULL) {
			struct xfrm_pair *pair = old[i], **to = bucket_of(db, pair->id);

			old[i] = pair->next_in_bucket;
			pair->next_in_bucket = *to;
			*to = pair;
		}
	}
	free(old);
}

struct xfrm_pair *xfrm_new_pair(struct xfrm *db, struct xfrm_policy *pol)
{
	struct xfrm_pair *pair = calloc(1, sizeof *pair), **bucket;

	if (pair == NULL)
		return NULL;
	if (db->n_pairs >= db->n_buckets)
		grow(db);
	pair->policy = pol;
	pair->id = ++db->reserved;
	bucket = bucket_of(db, pair->id);
	pair->next_in_bucket = *bucket;
	*bucket = pair;
	pair->next_of_policy = pol->pairs;
	if (pol->pairs != NULL)
		pol->pairs->prev_of_policy = pair;
	pol->pairs = pair;
	db->n_pairs++;
	return pair;
}

void xfrm_free_pair(struct xfrm *db, struct xfrm_pair *pair)
{
	struct xfrm_pair **at = bucket_of(db, pair->id);

	while (*at != pair)
		at = &(*at)->next_in_bucket;
	*at = pair->next_in_bucket;
	if (pair->prev_of_policy != NULL)
		pair->prev_of_policy->next_of_policy = pair->next_of_policy;
	else
		pair->policy->pairs = pair->next_of_policy;
	if (pair->next_of_policy != NULL)
		pair->next_of_policy->prev_of_policy = pair->prev_of_policy;
	if (pair->policy->selected == pair)
		pair->policy->selected = NULL;
	db->n_pairs--;
	free(pair);
}

struct xfrm_sa xfrm_sa_of(const struct xfrm_pair *pair, enum ipsec_part part)
{
	const struct policy *p = pair->policy->p;
	const bool in = part == IPSEC_INBOUND;
	struct xfrm_sa sa = {.src = in ? p->remote : p->local,
			     .dst = in ? p->local : p->remote,
			     .spi = in ? pair->in : pair->out,
			     .reqid = xfrm_reqid(pair->policy->number),
			     .tunnel = p->opt.encap == ENCAP_TUNNEL,
			     .from_port = ipsec_udp_port(p, !in),
			     .to_port = ipsec_udp_port(p, in)};

	return sa;
}

struct xfrm_pair *xfrm_newest_but(const struct xfrm_policy *pol, const struct xfrm_pair *not_this)
{
	struct xfrm_pair *newest = NULL;

	for (struct xfrm_pair *q = pol->pairs; q != NULL; q = q->next_of_policy)
		if (q != not_this && q->has_out && !q->out_waits &&
		    (newest == NULL || q->order > newest->order))
			newest = q;
	return newest;
}
