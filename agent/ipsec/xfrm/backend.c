/*
 * agent/ipsec/xfrm/backend.c - security associations and policies of the Linux kernel, by netlink.
 *
 *     reserve   ALLOCSPI             the kernel chooses the SPI: a larval SA without a key
 *     install   (NEWSA,) UPDSA       the outbound SA, if the out policies name another SPI and do
 *                                    not use it yet; then the key of the reserved inbound SA
 *     activate  (NEWSA,) UPDPOLICY   the out policies name its SPI from now on
 *     remove    (UPDPOLICY,) DELSA   no policy names the SPI of a deleted SA
 *
 * One socket is for requests, each answered before the next is sent; another for events. A socket
 * filter keeps the events of our own requests, and every key, out of the second.
 *
 * Our SAs are marked by reqid, our policies by index (and reqid or priority); both contain the number of
 * the pair of hosts. So objects of an earlier run are recognised, and those of others are not touched.
 */
#include "agent/ipsec/xfrm/db.h"
#include "agent/os/log.h"
#include "crypto/random.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <netinet/in.h>
#include <sys/socket.h>

#define RESERVE_TRIES 4
#define TRIED_S 10 /* lifetime of an SA that tests a suite */

#ifndef IPV6_XFRM_POLICY
#define IPV6_XFRM_POLICY 35
#endif
#ifndef IP_XFRM_POLICY
#define IP_XFRM_POLICY 17
#endif

static void xfrm_can(struct ipsec *ipsec, struct ipsec_can *can)
{
	can->esn = can->counts = can->survives = can->permissive = can->tunnel = can->udp =
		can->selectors = true;
	can->window_max = XFRM_WINDOW_MAX;
	can->suites = xfrm_of(ipsec)->suites;
}

static struct xfrm_policy *policy_of(const struct policy *p, struct err *e)
{
	struct xfrm_policy *pol = (struct xfrm_policy *)(uintptr_t)p->ref;

	if (pol == NULL)
		err_set(e, ERR_BUG, "peer %s: no policy was added", p->peer);
	return pol;
}

static int no_context(const struct xfrm *db, struct ipsec_ctx ctx, struct err *e)
{
	return err_set(e, ERR_BUG, "%s context %" PRIu64,
		       ctx.id > db->reserved ? "unknown" : "gone:", ctx.id);
}

static int try_suite(struct xfrm *db, enum suite s, bool ipv6, struct err *e)
{
	struct sa_keys k = {.suite = s, .window = 32};
	struct xfrm_sa sa = {.reqid = xfrm_reqid(0),
			     .spi = {SPI_MIN + random_u32() / 2},
			     .hard_s = TRIED_S};
	union xfrm_msg m;
	int rc;

	sa.src.len = sa.dst.len = ipv6 ? 16 : 4;
	if (ipv6)
		sa.src.bytes[15] = sa.dst.bytes[15] = 1;
	else
		sa.src.bytes[0] = sa.dst.bytes[0] = 127, sa.src.bytes[3] = sa.dst.bytes[3] = 1;
	random_secret(&k.key, suite_key_len(s));
	xfrm_put_sa(&m, ++db->seq, XFRM_MSG_NEWSA, &sa, &k, false);
	secret_wipe(&k.key);
	rc = xfrm_ask(db, &m, false, e);
	if (rc == 0 || e->os != EEXIST) /* even if the answer was lost */
		xfrm_delete_sa(db, &sa, NULL);
	return rc;
}

/* Installs an SA of each suite for a moment, from this host to itself. */
static int find_suites(struct xfrm *db, struct err *e)
{
	for (unsigned s = 0; s < SUITE_COUNT; s++) {
		struct err why = {0};

		if (try_suite(db, (enum suite)s, false, &why) == 0) {
			suite_list_add(&db->suites, (enum suite)s);
		} else if (why.os == EPERM || why.os == EPROTONOSUPPORT || s == SUITE_COUNT - 1) {
			if (why.os != EPERM && why.os != EPROTONOSUPPORT && db->suites.n > 0)
				break;
			if (e != NULL)
				*e = why;
			return err_in(e, "no ESP");
		}
	}
	return 0;
}

static int xfrm_recover(struct ipsec *ipsec, ipsec_found *found, void *arg, struct err *e)
{
	struct xfrm *db = xfrm_of(ipsec);

	for (struct xfrm_policy *pol = db->policies; pol != NULL; pol = pol->next) {
		for (struct xfrm_pair *q = pol->pairs; q != NULL; q = q->next_of_policy) {
			struct ipsec_leftover l = {.ctx = {q->id},
						   .part = q->has_in ? IPSEC_INBOUND
								     : IPSEC_OUTBOUND,
						   .local = pol->p->local,
						   .remote = pol->p->remote,
						   .owner = pol->p->owner,
						   .spi = q->has_in ? q->in : q->out,
						   .left_s = q->left_s};

			if (!q->is_old)
				continue;
			q->is_old = false;
			if (found(arg, &l, e) < 0)
				return -1;
		}
	}
	return 0;
}

static int xfrm_policy_add(struct ipsec *ipsec, struct policy *p, struct err *e)
{
	struct xfrm *db = xfrm_of(ipsec);
	struct xfrm_policy *pol = calloc(1, sizeof *pol + RULES_MAX * sizeof pol->rules[0]);
	struct xfrm_policy *cut;
	struct err why = {0};

	if (pol == NULL)
		return err_set(e, ERR_OS, "no memory");
	pol->p = p;
	if (p->local.len == 16 && !db->has_ipv6) {
		if (try_suite(db, (enum suite)db->suites.v[0], true, e) < 0) {
			err_in(e, "peer %s: no ESP for IPv6", p->peer);
			goto free_policy;
		}
		db->has_ipv6 = true;
	}
	if (!xfrm_choose_number(db, p, &pol->number)) {
		err_set(e, ERR_OS, "peer %s: all %u pairs of hosts are in use", p->peer, NUMBERS);
		goto free_policy;
	}
	xfrm_make_rules(pol);
	if (xfrm_install_rules(db, pol, e) < 0)
		goto free_policy;
	cut = realloc(pol, sizeof *pol + pol->n_rules * sizeof pol->rules[0]);
	if (cut != NULL)
		pol = cut;
	xfrm_remove_old_rules(db, pol);
	xfrm_take_number(db, pol->number);
	pol->next = db->policies;
	db->policies = pol;
	p->ref = (uintptr_t)pol;
	xfrm_adopt_sas(db, pol);
	/* Without its encapsulation socket the pair is closed; xfrm_reserve() tries again. */
	if (xfrm_encap_open(db, pol, &why) < 0)
		log_line(LOG_WARN, "xfrm: %s", why.cause);
	return 0;

free_policy:
	free(pol);
	return -1;
}

struct found_sas {
	struct xfrm_sa sa[64];
	size_t n;
	uint16_t number;
};

static int take_sa(struct xfrm *db, const struct nlmsghdr *h, void *arg)
{
	struct found_sas *f = arg;
	struct xfrm_sa sa;

	(void)db;
	if (xfrm_get_sa(h, &sa) && xfrm_is_our_sa(&sa) && xfrm_sa_number(&sa) == f->number &&
	    f->n < sizeof f->sa / sizeof f->sa[0])
		f->sa[f->n++] = sa;
	return 0;
}

/* All SAs of the policy in one direction, larval ones too. */
static int remove_sas(struct xfrm *db, uint16_t number, const struct addr *src,
		      const struct addr *dst, struct err *e)
{
	struct found_sas f = {.number = number};
	union xfrm_msg m;

	do {
		f.n = 0;
		xfrm_put_dump_sas(&m, ++db->seq, src, dst);
		if (xfrm_dump(db, &m, take_sa, &f, e) < 0)
			return err_in(e, "list the SAs");
		for (size_t i = 0; i < f.n; i++)
			if (xfrm_delete_sa(db, &f.sa[i], e) < 0)
				return -1;
	} while (f.n == sizeof f.sa / sizeof f.sa[0]);
	return 0;
}

static void free_policy(struct xfrm *db, struct xfrm_policy *pol)
{
	struct xfrm_policy **at = &db->policies;

	for (struct xfrm_pair *q = pol->pairs, *next; q != NULL; q = next) {
		next = q->next_of_policy;
		xfrm_free_pair(db, q);
	}
	while (*at != pol)
		at = &(*at)->next;
	*at = pol->next;
	db->taken[pol->number / 8] &= (uint8_t) ~(1u << pol->number % 8);
	pol->p->ref = 0;
	xfrm_encap_close(db, pol);
	free(pol);
}

/* SAs first: packets in flight are dropped by the policy, not passed in clear. */
static int xfrm_policy_remove(struct ipsec *ipsec, struct policy *p, struct err *e)
{
	struct xfrm *db = xfrm_of(ipsec);
	struct xfrm_policy *pol = policy_of(p, e);
	int rc = 0;

	if (pol == NULL)
		return -1;
	pol->removing = true;
	while (pol->pairs != NULL)
		xfrm_free_pair(db, pol->pairs);
	if (remove_sas(db, pol->number, &p->local, &p->remote, e) < 0 ||
	    remove_sas(db, pol->number, &p->remote, &p->local, e) < 0)
		return -1; /* still protected */
	/* Exemptions last, so that neighbour discovery keeps working. */
	for (size_t i = pol->n_rules; i-- > 0;)
		if (xfrm_delete_rule(db, &pol->rules[i], rc == 0 ? e : NULL) < 0)
			rc = -1;
	/* Until now traffic could make the kernel add larval SAs. */
	if (remove_sas(db, pol->number, &p->local, &p->remote, rc == 0 ? e : NULL) < 0)
		rc = -1;
	if (rc < 0)
		return -1;
	xfrm_forget_old(db, pol->number);
	free_policy(db, pol);
	return 0;
}

static int take_reserved(struct xfrm_pair *pair, const struct xfrm_sa *got, struct err *e)
{
	if (!spi_usable(got->spi))
		return err_set(e, ERR_OS, "the kernel gave the SPI %u: it is reserved",
			       (unsigned)got->spi.n);
	pair->is_reserved = true;
	pair->in = got->spi;
	return 0;
}

static int xfrm_reserve(struct ipsec *ipsec, struct policy *p, struct ipsec_ctx *ctx,
			struct spi *in, struct err *e)
{
	struct xfrm *db = xfrm_of(ipsec);
	struct xfrm_policy *pol = policy_of(p, e);
	struct xfrm_pair *pair;
	struct err why = {0};
	struct xfrm_sa sa, got;
	union xfrm_msg m;
	unsigned tries = 0;
	int rc;

	if (pol == NULL || xfrm_encap_open(db, pol, e) < 0)
		return -1;
	pair = xfrm_new_pair(db, pol);
	if (pair == NULL)
		return err_set(e, ERR_OS, "no memory");
	do {
		memset(&why, 0, sizeof why);
		sa = xfrm_sa_of(pair, IPSEC_INBOUND);
		sa.reqid = TAG_RESERVED << 16 | pol->number;
		xfrm_put_allocspi(&m, ++db->seq, &sa, SPI_MIN);
		rc = xfrm_ask(db, &m, true, &why);
	} while (rc < 0 && (why.os == EEXIST || why.os == ENOENT) && ++tries < RESERVE_TRIES);
	if (rc == 0 && !xfrm_get_sa((const void *)db->answer, &got))
		rc = err_set(&why, ERR_OS, "an answer that is no SA");
	if (rc == 0)
		rc = take_reserved(pair, &got, &why);
	if (rc < 0) {
		if (e != NULL)
			*e = why;
		xfrm_free_pair(db, pair);
		return -1;
	}
	*in = pair->in;
	ctx->id = pair->id;
	return 0;
}

static void set_limits(struct xfrm_sa *sa, const struct policy *p, const struct sa_keys *k)
{
	sa->limits = p->limits;
	sa->hard_s = (uint64_t)k->lifetime_s + SAFETY_S;
	/* The kernel numbers its own larval SAs from 1 up. */
	sa->seq = UINT32_C(0x80000000) | (uint32_t)k->epoch;
}

static void hint_at_spi(struct err *e)
{
	if (e->os == EEXIST)
		err_hint(e, "another SA has the SPI that the peer chose: try again");
}

/* The kernel accepts a second key without an error, and keeps using the first. */
static int check_inbound(const struct xfrm_pair *pair, const struct sa_keys *k, struct err *e)
{
	if (!pair->is_reserved || pair->has_in)
		return err_set(e, ERR_BUG, "inbound SA of SPI %08" PRIx32 " installed twice",
			       pair->in.n);
	if (!spi_equal(k->spi, pair->in))
		return err_set(e, ERR_BUG, "inbound SPI %08" PRIx32 "; %08" PRIx32 " was reserved",
			       k->spi.n, pair->in.n);
	return 0;
}

/* The reserved SA has expired (net.core.xfrm_acq_expires), so it cannot be updated. */
static int add_inbound(struct xfrm *db, const struct xfrm_sa *sa, const struct sa_keys *k,
		       struct err *e)
{
	union xfrm_msg m;

	memset(e, 0, sizeof *e);
	xfrm_put_sa(&m, ++db->seq, XFRM_MSG_NEWSA, sa, k, true);
	return xfrm_ask(db, &m, false, e);
}

static int install_inbound(struct xfrm *db, struct xfrm_pair *pair, const struct sa_keys *k,
			   struct err *e)
{
	struct xfrm_sa sa = xfrm_sa_of(pair, IPSEC_INBOUND);
	struct err why = {0};
	union xfrm_msg m;
	int rc;

	set_limits(&sa, pair->policy->p, k);
	xfrm_put_sa(&m, ++db->seq, XFRM_MSG_UPDSA, &sa, k, true);
	rc = xfrm_ask(db, &m, false, &why);
	if (rc < 0 && why.os == ESRCH)
		rc = add_inbound(db, &sa, k, &why);
	if (rc == 0) {
		pair->is_reserved = false;
		pair->has_in = pair->in_seen = true;
		return 0;
	}
	if (e != NULL)
		*e = why;
	return err_in(e, "inbound SA %08" PRIx32, k->spi.n);
}

/* If the answer is lost, the SA may exist: it is deleted, unless it belongs to another. IPSEC_UNKNOWN
 * if that fails too. */
static int install_outbound(struct xfrm *db, struct xfrm_pair *pair, const struct sa_keys *k,
			    struct err *e)
{
	struct err why = {0};
	struct xfrm_sa sa;
	union xfrm_msg m;
	int rc = -1;

	pair->out = k->spi;
	sa = xfrm_sa_of(pair, IPSEC_OUTBOUND);
	set_limits(&sa, pair->policy->p, k);
	xfrm_put_sa(&m, ++db->seq, XFRM_MSG_NEWSA, &sa, k, false);
	if (xfrm_ask(db, &m, false, &why) == 0) {
		pair->has_out = pair->out_seen = pair->out_waits = true;
		return 0;
	}
	hint_at_spi(&why);
	if (why.os != EEXIST && xfrm_delete_sa(db, &sa, NULL) < 0)
		rc = IPSEC_UNKNOWN;
	if (e != NULL)
		*e = why;
	err_in(e, "outbound SA %08" PRIx32, k->spi.n);
	return rc;
}

static int remove_outbound(struct xfrm *db, struct xfrm_pair *pair, struct err *e)
{
	const struct xfrm_sa sa = xfrm_sa_of(pair, IPSEC_OUTBOUND);

	if (pair->has_out && xfrm_delete_sa(db, &sa, e) < 0)
		return -1;
	pair->has_out = pair->out_waits = false;
	return 0;
}

/* Where the policies name no SPI, they would use the outbound SA at once: then activate() installs it.
 * The inbound SA comes last, since its reservation cannot be restored. */
static int xfrm_install(struct ipsec *ipsec, struct ipsec_ctx ctx, const struct sa_keys *in,
			const struct sa_keys *out, struct err *e)
{
	struct xfrm *db = xfrm_of(ipsec);
	struct xfrm_pair *pair = xfrm_pair(db, ctx);

	if (pair == NULL)
		return no_context(db, ctx, e);
	if (check_inbound(pair, in, e) < 0)
		return -1;
	if (pair->policy->selected != NULL && install_outbound(db, pair, out, e) < 0)
		return -1;
	if (install_inbound(db, pair, in, e) == 0)
		return 0;
	/* No policy names it. If it cannot be deleted now, the caller's remove() tries again. */
	remove_outbound(db, pair, NULL);
	return -1;
}

/* The policies name the outbound SA from now on. IPSEC_UNKNOWN if a failure cannot be undone. */
static int select_pair(struct xfrm *db, struct xfrm_pair *pair, struct err *e)
{
	struct xfrm_pair *before = pair->policy->selected;

	pair->out_waits = false;
	pair->order = ++db->activated;
	if (xfrm_pin(db, pair->policy, pair, e) == 0)
		return 0;
	if (xfrm_pin(db, pair->policy, before, NULL) < 0 || remove_outbound(db, pair, NULL) < 0)
		return IPSEC_UNKNOWN;
	return -1;
}

static int xfrm_activate(struct ipsec *ipsec, struct ipsec_ctx ctx, const struct sa_keys *out,
			 struct err *e)
{
	struct xfrm *db = xfrm_of(ipsec);
	struct xfrm_pair *pair = xfrm_pair(db, ctx);
	int rc;

	if (pair == NULL)
		return no_context(db, ctx, e);
	if ((pair->has_out && !pair->out_waits) || !pair->has_in)
		return err_set(e, ERR_BUG, "outbound SA of context %" PRIu64 " activated %s",
			       ctx.id, pair->has_out ? "twice" : "before the inbound is installed");
	if (pair->out_waits && !spi_equal(pair->out, out->spi))
		return err_set(e, ERR_BUG,
			       "outbound SPI %08" PRIx32 "; %08" PRIx32 " was installed",
			       out->spi.n, pair->out.n);
	if (!pair->has_out) { /* in use at once */
		rc = install_outbound(db, pair, out, e);
		if (rc < 0)
			return rc;
	}
	return select_pair(db, pair, e);
}

/* Removes both parts even if the first fails; e is the first error. */
static int xfrm_remove(struct ipsec *ipsec, struct ipsec_ctx ctx, enum ipsec_part part,
		       struct err *e)
{
	struct xfrm *db = xfrm_of(ipsec);
	struct xfrm_pair *pair = xfrm_pair(db, ctx);
	struct xfrm_sa sa;
	int rc = 0;

	if (pair == NULL)
		return ctx.id != 0 && ctx.id <= db->reserved ? 0 : no_context(db, ctx, e);
	if ((part & IPSEC_OUTBOUND) != 0 && pair->has_out) {
		/* Sending fails while a policy names a removed SA: measured on Linux 7.2. */
		if (pair->policy->selected == pair)
			rc = xfrm_pin(db, pair->policy, xfrm_newest_but(pair->policy, pair), e);
		if (rc == 0)
			rc = remove_outbound(db, pair, e);
	}
	if ((part & IPSEC_INBOUND) != 0 && (pair->has_in || pair->is_reserved)) {
		sa = xfrm_sa_of(pair, IPSEC_INBOUND);
		if (xfrm_delete_sa(db, &sa, rc == 0 ? e : NULL) < 0)
			rc = -1;
		else
			pair->has_in = pair->is_reserved = false;
	}
	if (!pair->has_in && !pair->has_out && !pair->is_reserved)
		xfrm_free_pair(db, pair);
	return rc;
}

static int xfrm_query(struct ipsec *ipsec, struct ipsec_ctx ctx, enum ipsec_part part,
		      struct sa_counts *counts, struct err *e)
{
	struct xfrm *db = xfrm_of(ipsec);
	const struct xfrm_pair *pair = xfrm_pair(db, ctx);
	struct err why = {0};
	struct xfrm_sa sa;
	union xfrm_msg m;
	int rc;

	if (pair == NULL && (ctx.id == 0 || ctx.id > db->reserved))
		return no_context(db, ctx, e);
	if (pair == NULL || !(part == IPSEC_INBOUND ? pair->has_in : pair->has_out))
		return err_set(e, ERR_DOWN, "context %" PRIu64 " has no %s SA", ctx.id,
			       part == IPSEC_INBOUND ? "inbound" : "outbound");
	sa = xfrm_sa_of(pair, part);
	xfrm_put_sa_id(&m, ++db->seq, XFRM_MSG_GETSA, &sa);
	rc = xfrm_ask(db, &m, true, &why);
	if (rc == 0 && !xfrm_get_sa((const void *)db->answer, &sa))
		rc = err_set(&why, ERR_OS, "an answer that is no SA");
	wipe(db->answer, sizeof db->answer); /* the SA came with its key */
	if (rc < 0) {
		if (why.os == ESRCH)
			why.code = ERR_DOWN;
		if (e != NULL)
			*e = why;
		return -1;
	}
	counts->known = IPSEC_KNOWS_PACKETS | IPSEC_KNOWS_BYTES;
	counts->packets = sa.packets;
	counts->bytes = sa.bytes;
	if (part == IPSEC_INBOUND) {
		counts->known |= IPSEC_KNOWS_REPLAY | IPSEC_KNOWS_INTEGRITY;
		counts->replay_dropped = sa.replay_dropped;
		counts->integrity_failed = sa.integrity_failed;
	}
	return 0;
}

static int xfrm_exempt_socket(struct ipsec *ipsec, intptr_t fd, bool ipv6, struct err *e)
{
	static const uint8_t dirs[] = {XFRM_IN, XFRM_OUT};

	(void)ipsec;
	for (size_t i = 0; i < sizeof dirs; i++) {
		struct xfrm_userpolicy_info p;

		xfrm_fill_bypass(&p, ipv6, dirs[i]);
		if (setsockopt((int)fd, ipv6 ? IPPROTO_IPV6 : IPPROTO_IP,
			       ipv6 ? IPV6_XFRM_POLICY : IP_XFRM_POLICY, &p, sizeof p) < 0) {
			xfrm_said(e, errno, "");
			return err_in(e, "exempt the agent's own connection from IPsec");
		}
	}
	return 0;
}

/* ---- open and close ---------------------------------------------------------------------- */

static void free_all(struct xfrm *db)
{
	if (db->ask != NULL)
		mnl_socket_close(db->ask);
	if (db->events != NULL)
		mnl_socket_close(db->events);
	xfrm_drop_lock(db);
	free(db->buckets);
	free(db->old_rules);
	free(db->old_sas);
	wipe(db, sizeof *db);
	free(db);
}

static int xfrm_open(struct ipsec **out, const struct ipsec_env *env, struct err *e)
{
	struct xfrm *db = calloc(1, sizeof *db);
	struct err why = {0};

	if (db == NULL)
		return err_set(e, ERR_OS, "no memory");
	db->db.ops = &ipsec_xfrm;
	db->env = *env;
	db->lock = -1;
	db->n_buckets = 64;
	db->buckets = calloc(db->n_buckets, sizeof(struct xfrm_pair *));
	if (db->buckets == NULL) {
		err_set(&why, ERR_OS, "no memory");
		goto free_all;
	}
	if (!env->looks_only && !env->tries_only && xfrm_take_lock(db, &why) < 0)
		goto free_all;
	if (xfrm_open_sockets(db, &why) < 0 || (!env->looks_only && find_suites(db, &why) < 0) ||
	    xfrm_find_old(db, &why) < 0)
		goto free_all;
	if (uv_poll_init(env->loop, &db->poll, mnl_socket_get_fd(db->events)) != 0 ||
	    uv_poll_start(&db->poll, UV_READABLE, xfrm_on_readable) != 0) {
		err_set(&why, ERR_OS, "the loop does not take the socket of events");
		goto free_all;
	}
	db->poll.data = db;
	*out = &db->db;
	return 0;

free_all:
	free_all(db);
	if (e != NULL)
		*e = why;
	return -1;
}

static void on_closed(uv_handle_t *h)
{
	free_all(h->data);
}

/* Policies and SAs stay in the kernel: fail closed. */
static void xfrm_close(struct ipsec *ipsec)
{
	struct xfrm *db = xfrm_of(ipsec);

	db->closing = true;
	while (db->policies != NULL)
		free_policy(db, db->policies);
	uv_close((uv_handle_t *)&db->poll, on_closed);
}

const struct ipsec_ops ipsec_xfrm = {
	.name = "xfrm",
	.open = xfrm_open,
	.close = xfrm_close,
	.can = xfrm_can,
	.policy_add = xfrm_policy_add,
	.policy_remove = xfrm_policy_remove,
	.reserve = xfrm_reserve,
	.install = xfrm_install,
	.activate = xfrm_activate,
	.remove = xfrm_remove,
	.query = xfrm_query,
	.recover = xfrm_recover,
	.exempt_socket = xfrm_exempt_socket,
	.plan = xfrm_plan,
	.clean = xfrm_clean,
};
