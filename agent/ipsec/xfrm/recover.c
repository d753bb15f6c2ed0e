/*
 * agent/ipsec/xfrm/recover.c - finds and takes over policies and SAs of an earlier run.
 */
#include "agent/ipsec/xfrm/db.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static int compare_old_rules(const void *a, const void *b)
{
	return (int)xfrm_number(a) - (int)xfrm_number(b);
}

static int compare_old_sas(const void *a, const void *b)
{
	return (int)xfrm_sa_number(a) - (int)xfrm_sa_number(b);
}

struct xfrm_rule *xfrm_old_rules(struct xfrm *db, uint16_t number)
{
	size_t low = 0, high = db->n_old_rules;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (xfrm_number(&db->old_rules[mid]) < number)
			low = mid + 1;
		else
			high = mid;
	}
	return low < db->n_old_rules && xfrm_number(&db->old_rules[low]) == number
		       ? &db->old_rules[low]
		       : NULL;
}

bool xfrm_is_old_rule(const struct xfrm *db, const struct xfrm_rule *r, uint16_t number)
{
	return r != NULL && r < db->old_rules + db->n_old_rules && xfrm_number(r) == number;
}

/* A list with room for one more element of that size than n, or NULL; the list itself is kept then. */
static void *grow(void *list, size_t n, size_t size)
{
	if ((n & (n - 1)) != 0) /* the room is a power of two */
		return list;
	return realloc(list, (n == 0 ? 1 : 2 * n) * size);
}

static int keep_old_rule(struct xfrm *db, const struct nlmsghdr *h, void *arg)
{
	struct xfrm_rule r, *grown;

	(void)arg;
	if (!xfrm_get_rule(h, &r) || !xfrm_is_our_rule(&r))
		return 0;
	grown = grow(db->old_rules, db->n_old_rules, sizeof r);
	if (grown == NULL)
		return -1;
	db->old_rules = grown;
	db->old_rules[db->n_old_rules++] = r;
	return 0;
}

static int keep_old_sa(struct xfrm *db, const struct nlmsghdr *h, void *arg)
{
	struct xfrm_sa sa, *grown;

	(void)arg;
	if (!xfrm_get_sa(h, &sa) || !xfrm_is_our_sa(&sa))
		return 0;
	grown = grow(db->old_sas, db->n_old_sas, sizeof sa);
	if (grown == NULL)
		return -1;
	db->old_sas = grown;
	db->old_sas[db->n_old_sas++] = sa;
	return 0;
}

int xfrm_find_old(struct xfrm *db, struct err *e)
{
	union xfrm_msg m;

	xfrm_put_dump_rules(&m, ++db->seq);
	if (xfrm_dump(db, &m, keep_old_rule, NULL, e) < 0)
		return err_in(e, "list the policies");
	xfrm_put_dump_sas(&m, ++db->seq, NULL, NULL);
	if (xfrm_dump(db, &m, keep_old_sa, NULL, e) < 0)
		return err_in(e, "list the SAs");
	if (db->n_old_rules > 0)
		qsort(db->old_rules, db->n_old_rules, sizeof *db->old_rules, compare_old_rules);
	if (db->n_old_sas > 0)
		qsort(db->old_sas, db->n_old_sas, sizeof *db->old_sas, compare_old_sas);
	return 0;
}

static uint32_t left_of(const struct xfrm_sa *sa)
{
	uint64_t now = (uint64_t)time(NULL);
	uint64_t end = sa->added_s + sa->hard_s;

	if (sa->hard_s <= SAFETY_S || end <= now + SAFETY_S)
		return 0;
	end -= now + SAFETY_S;
	return end > UINT32_MAX ? UINT32_MAX : (uint32_t)end;
}

static void adopt_sa(struct xfrm *db, struct xfrm_policy *pol, const struct xfrm_sa *sa)
{
	const bool in = addr_equal(&sa->dst, &pol->p->local);
	struct xfrm_pair *pair;

	if (!sa->has_key) { /* reserved, or a larval SA of an acquire */
		xfrm_delete_sa(db, sa, NULL);
		return;
	}
	pair = xfrm_new_pair(db, pol);
	if (pair == NULL)
		return;
	pair->is_old = true;
	pair->left_s = left_of(sa);
	pair->order = ++db->activated;
	if (in) {
		pair->has_in = pair->in_seen = true;
		pair->in = sa->spi;
		return;
	}
	pair->has_out = pair->out_seen = true;
	pair->out = sa->spi;
	for (size_t i = 0; i < pol->n_rules; i++)
		if (pol->rules[i].dir == XFRM_OUT && pol->rules[i].protects &&
		    spi_equal(pol->rules[i].pin, sa->spi))
			pol->selected = pair;
}

void xfrm_adopt_sas(struct xfrm *db, struct xfrm_policy *pol)
{
	for (size_t i = 0; i < db->n_old_sas; i++)
		if (xfrm_sa_number(&db->old_sas[i]) == pol->number)
			adopt_sa(db, pol, &db->old_sas[i]);
}

void xfrm_forget_old(struct xfrm *db, uint16_t number)
{
	struct xfrm_rule *old = xfrm_old_rules(db, number);
	size_t first, n = 0, kept = 0;

	if (old != NULL) {
		first = (size_t)(old - db->old_rules);
		while (xfrm_is_old_rule(db, old + n, number))
			n++;
		memmove(old, old + n, (db->n_old_rules - first - n) * sizeof *old);
		db->n_old_rules -= n;
	}
	for (size_t i = 0; i < db->n_old_sas; i++)
		if (xfrm_sa_number(&db->old_sas[i]) != number)
			db->old_sas[kept++] = db->old_sas[i];
	db->n_old_sas = kept;
}
