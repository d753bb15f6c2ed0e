/*
 * proto/config/check.c - rules between the members of a config.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "proto/config/table.h"

#define WINDOW_STEP 32u

static int limit_wrong(struct err *e, const char *what, uint64_t rekey, uint64_t hard)
{
	if (rekey == 0)
		err_set(e, ERR_USAGE, "needs a smaller rekey.%s, or the pair would go down", what);
	else
		err_set(e, ERR_USAGE, "%" PRIu64 " is not above rekey.%s, %" PRIu64, hard, what,
			rekey);
	err_at(e, "%s", what);
	return err_at(e, "hard");
}

static bool selector_in(const char *s, const char list[PROTECT_MAX][PROTECT_TEXT], size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(list[i], s) == 0)
			return true;
	return false;
}

bool config_stops(const struct peer_options *o, const char *selector)
{
	return o->policy.mode == MODE_REQUIRED &&
	       !selector_in(selector, o->policy.exempt, o->policy.exempts) &&
	       (selector_in("all", o->policy.protect, o->policy.protects) ||
		selector_in(selector, o->policy.protect, o->policy.protects));
}

int config_check_options(const struct peer_options *o, struct err *e)
{
	if (o->window % WINDOW_STEP != 0)
		return err_value(e, "window", "%u is not a multiple of %u", o->window, WINDOW_STEP);
	/* Without rekey.time_s the agent itself rekeys well before hard.time_s. */
	if (o->rekey_time_s >= o->hard_time_s)
		return limit_wrong(e, "time_s", o->rekey_time_s, o->hard_time_s);
	if (o->limits.hard_bytes != 0 &&
	    (o->limits.soft_bytes == 0 || o->limits.soft_bytes >= o->limits.hard_bytes))
		return limit_wrong(e, "bytes", o->limits.soft_bytes, o->limits.hard_bytes);
	if (o->limits.hard_packets != 0 &&
	    (o->limits.soft_packets == 0 || o->limits.soft_packets >= o->limits.hard_packets))
		return limit_wrong(e, "packets", o->limits.soft_packets, o->limits.hard_packets);
	if ((uint64_t)o->rekey_min_interval_ms >= (uint64_t)o->hard_time_s * 1000) {
		err_set(e, ERR_USAGE, "%u ms is not below hard.time_s, %u s",
			o->rekey_min_interval_ms, o->hard_time_s);
		err_at(e, "min_interval_ms");
		return err_at(e, "rekey");
	}
	for (size_t i = 0; i < o->policy.exempts; i++) {
		if (!selector_in(o->policy.exempt[i], o->policy.protect, o->policy.protects))
			continue;
		err_set(e, ERR_USAGE, "%s is in protect, too", o->policy.exempt[i]);
		err_at(e, "[%zu]", i);
		return err_at(e, "exempt");
	}
	return 0;
}

static int check_addresses(const struct config *c, const struct peer_config *p, struct err *e)
{
	char text[ADDR_TEXT];

	addr_put(text, &p->remote.addr);
	if (addr_check_host(&p->remote.addr, e) < 0)
		return err_at(e, "address");
	for (size_t i = 0; i < c->listens; i++) {
		if (!addr_equal(&c->listen[i].addr, &p->remote.addr))
			continue;
		return err_value(e, "address", "%s is our own address: it is in listen", text);
	}
	if (p->local.len == 0)
		return 0;
	if (addr_check_host(&p->local, e) < 0)
		return err_at(e, "local");
	if (p->local.len != p->remote.addr.len)
		err_set(e, ERR_USAGE, "not of the same family as %s", text);
	else if (addr_equal(&p->local, &p->remote.addr))
		err_set(e, ERR_USAGE, "the same as the peer's address");
	else
		return 0;
	return err_at(e, "local");
}

static int check_peer(const struct config *c, const struct peer_config *p, struct err *e)
{
	struct addr named;

	if (!config_name_fits(p->name))
		return err_value(e, "name",
				 "only letters, digits and . _ : - are allowed in a name");
	if (check_addresses(c, p, e) < 0)
		return -1;
	/* Commands accept names and addresses: neither may be ambiguous. */
	if (addr_parse(&named, p->name, NULL) == 0 && !addr_equal(&named, &p->remote.addr))
		return err_value(e, "name", "%s is an address, but not the one of this peer",
				 p->name);
	if (p->opt.role == ROLE_LISTEN && c->listens == 0)
		return err_value(e, "role", "\"listen\" needs an address in listen");
	return config_check_options(&p->opt, e);
}

static int by_name(const void *a, const void *b)
{
	const struct peer_config *const *p = a, *const *q = b;
	int order = strcmp((*p)->name, (*q)->name);

	return order != 0 ? order : *p < *q ? -1 : 1;
}

static int by_address(const void *a, const void *b)
{
	const struct peer_config *const *p = a, *const *q = b;
	int order = addr_compare(&(*p)->remote.addr, &(*q)->remote.addr);

	if (order == 0)
		order = addr_compare(&(*p)->local, &(*q)->local);
	return order != 0 ? order : *p < *q ? -1 : 1;
}

static int fail_duplicate(const struct config *c, const struct peer_config *p, const char *member,
			  struct err *e)
{
	err_at(e, "%s", member);
	err_at(e, "[%zu]", (size_t)(p - c->peers));
	return err_at(e, "peers");
}

/* Sorts the peers and compares neighbours. sorted has room for all peers. */
static int check_duplicates(const struct config *c, const struct peer_config **sorted,
			    struct err *e)
{
	for (size_t i = 0; i < c->n_peers; i++)
		sorted[i] = &c->peers[i];
	qsort(sorted, c->n_peers, sizeof sorted[0], by_address);
	for (size_t i = 1; i < c->n_peers; i++) {
		const struct peer_config *p = sorted[i - 1], *q = sorted[i];
		size_t first = (size_t)(p - c->peers);

		if (!addr_equal(&p->remote.addr, &q->remote.addr))
			continue;
		if (addr_equal(&p->local, &q->local))
			err_set(e, ERR_USAGE, "the same pair of addresses as peers[%zu]", first);
		else if (p->local.len == 0)
			err_set(e, ERR_USAGE, "also of peers[%zu]: set local in both", first);
		else
			continue;
		return fail_duplicate(c, q, "address", e);
	}
	qsort(sorted, c->n_peers, sizeof sorted[0], by_name);
	for (size_t i = 1; i < c->n_peers; i++) {
		if (strcmp(sorted[i - 1]->name, sorted[i]->name) != 0)
			continue;
		err_set(e, ERR_USAGE, "peers[%zu] has the same name",
			(size_t)(sorted[i - 1] - c->peers));
		return fail_duplicate(c, sorted[i], "name", e);
	}
	return 0;
}

int config_check(const struct config *c, struct err *e)
{
	const struct peer_config **sorted;
	int rc;

	if (config_check_options(&c->defaults, e) < 0)
		return err_at(e, "defaults");
	for (size_t i = 0; i < c->listens; i++)
		if (!addr_is_any(&c->listen[i].addr) && addr_check_host(&c->listen[i].addr, e) < 0)
			return err_at(e, "listen");
	for (size_t i = 0; i < c->n_peers; i++) {
		if (check_peer(c, &c->peers[i], e) == 0)
			continue;
		err_at(e, "[%zu]", i);
		return err_at(e, "peers");
	}
	if (c->n_peers < 2)
		return 0;
	sorted = calloc(c->n_peers, sizeof(void *));
	if (sorted == NULL)
		return err_set(e, ERR_BUG, "no memory to compare %zu peers", c->n_peers);
	rc = check_duplicates(c, sorted, e);
	free(sorted);
	return rc;
}
