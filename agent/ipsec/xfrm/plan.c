/*
 * agent/ipsec/xfrm/plan.c - what a config would change in the kernel.
 */
#include "agent/ipsec/xfrm/db.h"

#include <stdlib.h>

static void tell_rule(const struct xfrm_rule *r, enum ipsec_change change, ipsec_told *told,
		      void *arg)
{
	struct ipsec_object o = {.change = change,
				 .is_policy = true,
				 .is_out = r->dir == XFRM_OUT,
				 .src = r->src,
				 .dst = r->dst,
				 .tag = r->reqid,
				 .proto = r->proto,
				 .has_sport = r->has_sport,
				 .has_dport = r->has_dport,
				 .sport = r->sport,
				 .dport = r->dport,
				 .protects = r->protects,
				 .tunnel = r->tunnel,
				 .optional = r->optional,
				 .priority = r->priority};

	told(arg, &o);
}

static void tell_sa(const struct xfrm_sa *sa, bool is_out, enum ipsec_change change,
		    ipsec_told *told, void *arg)
{
	struct ipsec_object o = {.change = change,
				 .is_out = is_out,
				 .src = sa->src,
				 .dst = sa->dst,
				 .spi = sa->spi,
				 .tunnel = sa->tunnel,
				 .from_esp_port = sa->from_port,
				 .esp_port = sa->to_port,
				 .tag = sa->reqid};

	told(arg, &o);
}

/* SAs have no direction in the kernel; the policies of the same number have. */
static bool goes_out(struct xfrm *db, const struct xfrm_sa *sa)
{
	const uint16_t number = xfrm_sa_number(sa);
	const struct xfrm_rule *r = xfrm_old_rules(db, number);

	for (; xfrm_is_old_rule(db, r, number); r++)
		if (r->dir == XFRM_OUT)
			return addr_equal(&r->dst, &sa->dst);
	return false;
}

static void tell_stale(struct xfrm *db, ipsec_told *told, void *arg)
{
	for (size_t i = 0; i < db->n_old_rules; i++)
		if (!xfrm_is_taken(db, xfrm_number(&db->old_rules[i])))
			tell_rule(&db->old_rules[i], IPSEC_STALE, told, arg);
	for (size_t i = 0; i < db->n_old_sas; i++)
		if (!xfrm_is_taken(db, xfrm_sa_number(&db->old_sas[i])))
			tell_sa(&db->old_sas[i], goes_out(db, &db->old_sas[i]), IPSEC_STALE, told,
				arg);
}

/* The SAs that exist, or the two to be installed. */
static void tell_sas(struct xfrm *db, const struct xfrm_policy *pol, ipsec_told *told, void *arg)
{
	const struct policy *p = pol->p;
	const uint32_t reqid = xfrm_reqid(pol->number);
	const uint16_t own = ipsec_udp_port(p, true), peers = ipsec_udp_port(p, false);
	const bool tunnel = p->opt.encap == ENCAP_TUNNEL;
	const struct xfrm_sa in = {.src = p->remote,
				   .dst = p->local,
				   .reqid = reqid,
				   .tunnel = tunnel,
				   .from_port = peers,
				   .to_port = own};
	const struct xfrm_sa out = {.src = p->local,
				    .dst = p->remote,
				    .reqid = reqid,
				    .tunnel = tunnel,
				    .from_port = own,
				    .to_port = peers};
	bool has_in = false, has_out = false;

	for (size_t i = 0; i < db->n_old_sas; i++) {
		const struct xfrm_sa *sa = &db->old_sas[i];
		bool is_out = addr_equal(&sa->dst, &p->remote);

		if (sa->reqid != reqid || !sa->has_key)
			continue;
		tell_sa(sa, is_out, IPSEC_KEEP, told, arg);
		has_in = has_in || !is_out;
		has_out = has_out || is_out;
	}
	if (!has_out)
		tell_sa(&out, true, IPSEC_ADD, told, arg);
	if (!has_in)
		tell_sa(&in, false, IPSEC_ADD, told, arg);
}

static void tell_rules(struct xfrm *db, const struct xfrm_policy *pol, ipsec_told *told, void *arg)
{
	const struct xfrm_rule *old;

	for (size_t i = 0; i < pol->n_rules; i++) {
		const struct xfrm_rule *r = &pol->rules[i];

		old = xfrm_old_like(db, r, pol->number);
		tell_rule(r,
			  old == NULL              ? IPSEC_ADD
			  : xfrm_same_rule(old, r) ? IPSEC_KEEP
						   : IPSEC_CHANGE,
			  told, arg);
	}
	old = xfrm_old_rules(db, pol->number);
	for (; xfrm_is_old_rule(db, old, pol->number); old++)
		if (!xfrm_wants(pol, old))
			tell_rule(old, IPSEC_REMOVE, told, arg);
}

int xfrm_plan(struct ipsec *ipsec, const struct policy *p, ipsec_told *told, void *arg,
	      struct err *e)
{
	struct xfrm *db = xfrm_of(ipsec);
	struct xfrm_policy *pol;
	struct policy own;

	if (p == NULL) {
		tell_stale(db, told, arg);
		return 0;
	}
	pol = calloc(1, sizeof *pol + RULES_MAX * sizeof pol->rules[0]);
	if (pol == NULL)
		return err_set(e, ERR_OS, "no memory");
	own = *p;
	pol->p = &own;
	if (!xfrm_choose_number(db, p, &pol->number)) {
		free(pol);
		return err_set(e, ERR_OS, "peer %s: all %u pairs of hosts are in use", p->peer,
			       NUMBERS);
	}
	xfrm_make_rules(pol);
	xfrm_take_number(db, pol->number);
	tell_rules(db, pol, told, arg);
	tell_sas(db, pol, told, arg);
	free(pol);
	return 0;
}

static int clean_sas(struct xfrm *db, ipsec_told *told, void *arg, struct err *e)
{
	for (size_t i = 0; i < db->n_old_sas; i++) {
		bool is_out = goes_out(db, &db->old_sas[i]);

		if (xfrm_delete_sa(db, &db->old_sas[i], e) < 0)
			return -1;
		tell_sa(&db->old_sas[i], is_out, IPSEC_REMOVE, told, arg);
	}
	return 0;
}

/* SAs first: traffic stops and does not pass in clear until its policy is gone too. Then larval SAs that
 * traffic made meanwhile. */
int xfrm_clean(struct ipsec *ipsec, ipsec_told *told, void *arg, struct err *e)
{
	struct xfrm *db = xfrm_of(ipsec);

	/* Without the lock, a running helper would restore what is removed here. */
	if (xfrm_take_lock(db, e) < 0)
		return -1;
	db->n_old_rules = db->n_old_sas = 0;
	if (xfrm_find_old(db, e) < 0 || clean_sas(db, told, arg, e) < 0)
		return -1;
	for (size_t i = 0; i < db->n_old_rules; i++) {
		if (xfrm_delete_rule(db, &db->old_rules[i], e) < 0)
			return -1;
		tell_rule(&db->old_rules[i], IPSEC_REMOVE, told, arg);
	}
	if (db->n_old_rules == 0)
		return 0;
	db->n_old_rules = db->n_old_sas = 0;
	return xfrm_find_old(db, e) < 0 ? -1 : clean_sas(db, told, arg, e);
}
