/*
 * agent/ipsec/xfrm/policy.c - the policies of a pair of hosts, and their installation.
 */
#include "agent/ipsec/xfrm/db.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <netinet/in.h>

#define PROBES 16 /* numbers to try from the hash of the pair on */

/* ---- wanted -------------------------------------------------------------------------- */

struct wish {
	uint8_t proto;
	bool has_local, has_remote;
	uint16_t local, remote; /* ports */
	bool is_type;           /* local is an ICMPv6 type, the same in both directions */
	uint32_t priority;
	bool protects, optional;
};

/* Adds two policies: out and in. */
static void add_rules(struct xfrm_policy *pol, const struct wish *w)
{
	const struct policy *p = pol->p;
	const unsigned which = (unsigned)(pol->n_rules / 2);
	struct xfrm_rule out = {.src = p->local,
				.dst = p->remote,
				.dir = XFRM_OUT,
				.proto = w->proto,
				.has_sport = w->has_local,
				.has_dport = w->has_remote,
				.sport = w->local,
				.dport = w->remote,
				.index = xfrm_index(pol->number, which, XFRM_OUT),
				.priority = w->priority,
				.allows = true,
				.protects = w->protects,
				.optional = w->optional,
				.tunnel = w->protects && p->opt.encap == ENCAP_TUNNEL,
				.reqid = w->protects ? xfrm_reqid(pol->number) : 0};
	struct xfrm_rule in = out;

	in.src = p->remote;
	in.dst = p->local;
	in.dir = XFRM_IN;
	in.index = xfrm_index(pol->number, which, XFRM_IN);
	if (!w->is_type) {
		in.has_sport = w->has_remote;
		in.has_dport = w->has_local;
		in.sport = w->remote;
		in.dport = w->local;
	}
	pol->rules[pol->n_rules++] = out;
	pol->rules[pol->n_rules++] = in;
}

/* "tcp/445": a service on either host. */
static void add_port(struct xfrm_policy *pol, const char *text, struct wish w)
{
	w.proto = text[0] == 't' ? IPPROTO_TCP : IPPROTO_UDP;
	w.has_local = true;
	w.local = (uint16_t)strtoul(text + 4, NULL, 10);
	add_rules(pol, &w);
	w.has_local = false;
	w.has_remote = true;
	w.remote = w.local;
	w.local = 0;
	add_rules(pol, &w);
}

/*
 * IPv6 needs neighbour discovery: unicast neighbour advertisements would wait for an SA that cannot be
 * negotiated without them.
 */
static void add_exempt_icmp(struct xfrm_policy *pol, bool all)
{
	const bool ipv6 = pol->p->local.len == 16;
	struct wish w = {.proto = ipv6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP,
			 .priority = PRIORITY_EXEMPT};

	if (all) {
		add_rules(pol, &w);
		return;
	}
	if (!ipv6)
		return;
	w.has_local = w.is_type = true;
	for (w.local = 135; w.local <= 136; w.local++)
		add_rules(pol, &w);
}

/* Probes must use the SAs even where the policy exempts their port. */
static bool probes_need_rule(const struct policy *p)
{
	bool all = p->opt.protects == 1 && strcmp(p->opt.protect[0], "all") == 0;

	for (size_t i = 0; i < p->opt.exempts; i++)
		all = all && strncmp(p->opt.exempt[i], "udp/", 4) != 0;
	return !all || p->opt.mode == MODE_PERMISSIVE;
}

/* Exemptions are installed before protection. */
void xfrm_make_rules(struct xfrm_policy *pol)
{
	const struct policy *p = pol->p;
	struct wish w = {.priority = PRIORITY_EXEMPT};
	bool icmp = false;

	for (size_t i = 0; i < p->opt.exempts; i++) {
		if (strcmp(p->opt.exempt[i], "icmp") == 0)
			icmp = true;
		else
			add_port(pol, p->opt.exempt[i], w);
	}
	add_exempt_icmp(pol, icmp);

	w.protects = true;
	if (probes_need_rule(p)) {
		struct wish probe = {.proto = IPPROTO_UDP,
				     .has_local = true,
				     .has_remote = true,
				     .local = p->control_port,
				     .remote = p->peer_port,
				     .priority = PRIORITY_PROBE,
				     .protects = true};

		add_rules(pol, &probe);
	}
	w.priority = PRIORITY_PROTECT;
	w.optional = p->opt.mode == MODE_PERMISSIVE;
	for (size_t i = 0; i < p->opt.protects; i++) {
		if (strcmp(p->opt.protect[i], "all") == 0) {
			w.proto = 0;
			add_rules(pol, &w);
		} else if (strncmp(p->opt.protect[i], "proto/", 6) == 0) {
			w.proto = (uint8_t)strtoul(p->opt.protect[i] + 6, NULL, 10);
			add_rules(pol, &w);
		} else {
			add_port(pol, p->opt.protect[i], w);
		}
	}
}

/* ---- in the kernel ----------------------------------------------------------------------- */

/* Policies that name no SPI would use outbound SAs that are not activated. */
static int remove_waiting(struct xfrm *db, struct xfrm_policy *pol, struct err *e)
{
	for (struct xfrm_pair *q = pol->pairs; q != NULL; q = q->next_of_policy) {
		const struct xfrm_sa sa = xfrm_sa_of(q, IPSEC_OUTBOUND);

		if (!q->out_waits)
			continue;
		if (xfrm_delete_sa(db, &sa, e) < 0)
			return -1;
		q->has_out = q->out_waits = false;
	}
	return 0;
}

int xfrm_pin(struct xfrm *db, struct xfrm_policy *pol, struct xfrm_pair *pair, struct err *e)
{
	const struct spi spi = {pair != NULL ? pair->out.n : 0};

	if (pair == NULL && remove_waiting(db, pol, e) < 0)
		return -1;
	for (size_t i = 0; i < pol->n_rules; i++) {
		struct xfrm_rule *r = &pol->rules[i];

		if (r->dir != XFRM_OUT || !r->protects ||
		    (spi_equal(r->pin, spi) && !pol->is_pin_unknown))
			continue;
		r->pin = spi;
		if (xfrm_set_rule(db, XFRM_MSG_UPDPOLICY, r, e) < 0) {
			pol->is_pin_unknown = true; /* the answer may be lost */
			return err_in(e, "name the SA %08" PRIx32 " in the policies", spi.n);
		}
	}
	pol->is_pin_unknown = false;
	pol->selected = pair;
	return 0;
}

static bool between(const struct xfrm_rule *r, const struct policy *p)
{
	return r->dir == XFRM_OUT
		       ? addr_equal(&r->src, &p->local) && addr_equal(&r->dst, &p->remote)
		       : addr_equal(&r->dst, &p->local) && addr_equal(&r->src, &p->remote);
}

bool xfrm_choose_number(struct xfrm *db, const struct policy *p, uint16_t *number)
{
	uint32_t hash = 2166136261u; /* FNV-1a: the same in every run */
	uint16_t free_one = 0;

	for (size_t i = 0; i < p->local.len; i++)
		hash = (hash ^ p->local.bytes[i]) * 16777619u;
	for (size_t i = 0; i < p->remote.len; i++)
		hash = (hash ^ p->remote.bytes[i]) * 16777619u;
	hash ^= hash >> 16;
	for (unsigned i = 0; i < NUMBERS; i++) {
		uint16_t n = (uint16_t)(hash + i);
		const struct xfrm_rule *old = xfrm_old_rules(db, n);

		if (n == 0 || xfrm_is_taken(db, n))
			continue;
		if (old != NULL && between(old, p)) {
			*number = n;
			return true;
		}
		if (old == NULL && free_one == 0)
			free_one = n;
		if (i >= PROBES && free_one != 0)
			break;
	}
	*number = free_one;
	return free_one != 0;
}

const struct xfrm_rule *xfrm_old_like(struct xfrm *db, const struct xfrm_rule *r, uint16_t number)
{
	const struct xfrm_rule *old = xfrm_old_rules(db, number);

	for (; xfrm_is_old_rule(db, old, number); old++)
		if (xfrm_rule_same_selector(old, r))
			return old;
	return NULL;
}

bool xfrm_same_rule(const struct xfrm_rule *a, const struct xfrm_rule *b)
{
	return a->index == b->index && a->priority == b->priority && a->protects == b->protects &&
	       a->optional == b->optional && a->tunnel == b->tunnel && a->reqid == b->reqid;
}

static int rule_in_the_way(const struct policy *p, struct err *e)
{
	if (e->os != EEXIST)
		return err_in(e, "install a policy for %s", p->peer);
	err_set(e, ERR_OS,
		"a policy of somebody else for the same traffic as peer %s is in the way", p->peer);
	e->os = EEXIST;
	return err_hint(e, "ip xfrm policy shows it; end what made it (strongSwan, libreswan?)");
}

/* Finds ours in the kernel: of an earlier run, or of an attempt that failed half-way. */
static bool find_installed(struct xfrm *db, const struct xfrm_policy *pol,
			   const struct xfrm_rule *r, struct xfrm_rule *is)
{
	const struct xfrm_rule *old = xfrm_old_like(db, r, pol->number);
	union xfrm_msg m;

	if (old != NULL) {
		*is = *old;
		return true;
	}
	xfrm_put_rule_id(&m, ++db->seq, XFRM_MSG_GETPOLICY, r);
	return xfrm_ask(db, &m, true, NULL) == 0 && xfrm_get_rule((const void *)db->answer, is) &&
	       xfrm_is_our_rule(is) && xfrm_number(is) == pol->number;
}

/* Installs one policy; ours of before is kept, with the SPI that it names. */
static int install_rule(struct xfrm *db, struct xfrm_policy *pol, struct xfrm_rule *r,
			struct err *e)
{
	struct xfrm_rule is;
	struct err why = {0};

	if (xfrm_old_like(db, r, pol->number) == NULL &&
	    xfrm_set_rule(db, XFRM_MSG_NEWPOLICY, r, &why) == 0)
		return 0;
	if ((why.code == ERR_NONE || why.os == EEXIST) && find_installed(db, pol, r, &is)) {
		r->pin = is.pin;
		memset(&why, 0, sizeof why);
		if (xfrm_same_rule(&is, r) || xfrm_set_rule(db, XFRM_MSG_UPDPOLICY, r, &why) == 0)
			return 0;
	}
	rule_in_the_way(pol->p, &why);
	if (e != NULL)
		*e = why;
	return -1;
}

int xfrm_install_rules(struct xfrm *db, struct xfrm_policy *pol, struct err *e)
{
	for (size_t i = 0; i < pol->n_rules; i++)
		if (install_rule(db, pol, &pol->rules[i], e) < 0)
			return -1;
	return 0;
}

bool xfrm_wants(const struct xfrm_policy *pol, const struct xfrm_rule *r)
{
	for (size_t i = 0; i < pol->n_rules; i++)
		if (xfrm_rule_same_selector(&pol->rules[i], r))
			return true;
	return false;
}

void xfrm_remove_old_rules(struct xfrm *db, const struct xfrm_policy *pol)
{
	const struct xfrm_rule *old = xfrm_old_rules(db, pol->number);

	for (; xfrm_is_old_rule(db, old, pol->number); old++)
		if (!xfrm_wants(pol, old))
			xfrm_delete_rule(db, old, NULL);
}
