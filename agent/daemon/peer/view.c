/*
 * agent/daemon/peer/view.c - peers as others see them.
 */
#include "agent/daemon/peer/peer.h"

#include "agent/daemon/peer/inner.h"

#include <string.h>

struct peer *peer_find(const struct agent *a, const char *name)
{
	struct addr addr;

	for (struct peer *p = a->peers; p != NULL; p = p->next)
		if (!p->is_leaving && strcmp(p->cfg.name, name) == 0)
			return p;
	for (struct peer *p = a->peers; p != NULL; p = p->next)
		if (strcmp(p->cfg.name, name) == 0)
			return p;
	if (addr_parse(&addr, name, NULL) < 0)
		return NULL;
	for (struct peer *p = a->peers; p != NULL; p = p->next)
		if (addr_equal(&p->cfg.remote.addr, &addr))
			return p;
	return NULL;
}

struct peer *peer_of_addresses(const struct agent *a, const struct addr *local,
			       const struct addr *remote)
{
	for (struct peer *p = a->peers; p != NULL; p = p->next)
		if (addr_equal(&p->cfg.remote.addr, remote) && p->is_started &&
		    addr_equal(&p->policy.sa.local, local))
			return p;
	return NULL;
}

struct peer *peer_next(const struct peer *p)
{
	return p->next;
}

const char *peer_name(const struct peer *p)
{
	return p->cfg.name;
}

const struct peer_config *peer_config_of(const struct peer *p)
{
	return &p->cfg;
}

bool peer_is_temporary(const struct peer *p)
{
	return p->is_temporary;
}

bool peer_is_up(const struct peer *p)
{
	return pair_is_up(p->pair);
}

const char *peer_state_word(const struct peer *p)
{
	if (!p->is_wanted)
		return peer_is_removing(p) ? "removing" : "down";
	if (pair_is_up(p->pair))
		return "up";
	return dialler_link(&p->dialler) != NULL ? "pairing" : "waiting";
}

bool peer_is_leaving(const struct peer *p)
{
	return p->is_leaving;
}

bool peer_is_removing(const struct peer *p)
{
	return p->policy.is_left || pair_n_unremoved(p->pair) > 0;
}

bool peer_has_policy_left(const struct peer *p)
{
	return p->policy.is_left;
}

const struct err *peer_removal_error(const struct peer *p)
{
	return p->removal.failures > 0 ? &p->removal.why : pair_removal_error(p->pair);
}

const struct err *peer_trouble(const struct peer *p)
{
	return p->trouble;
}

const struct pair *peer_pair(const struct peer *p)
{
	return p->pair;
}

const struct policy *peer_policy_of(const struct peer *p)
{
	return &p->policy.sa;
}

void peer_view(const struct peer *p, struct peer_view *v)
{
	const struct link *l = dialler_link(&p->dialler);
	struct verify_state verify;

	prober_state(p->prober, pair_state(p->pair)->epoch, &verify);
	*v = (struct peer_view){.link = l != NULL                          ? "up"
					: dialler_is_dialling(&p->dialler) ? "dialling"
									   : "none",
				.verified = pair_is_up(p->pair) && verify.verified,
				.verified_ms = verify.at_ms,
				.rtt_us = verify.rtt_us};
	if (l != NULL)
		v->role = link_facts(l)->is_dialled ? "leader" : "follower";
	hello_view(&p->facts, v);
}
