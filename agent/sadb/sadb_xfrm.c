/*
 * agent/sadb/sadb_xfrm.c - security associations and policies of the Linux kernel, by netlink.
 *
 *     reserve       ALLOCSPI             the kernel chooses the SPI: an SA without a key
 *     add_inbound   UPDSA                gives it one
 *     add_outbound  NEWSA, UPDPOLICY     and the out policies name its SPI from now on
 *     remove        (UPDPOLICY,) DELSA   what is still selected never goes first
 *
 * Two sockets: requests, each answered before the next one; events, read when the loop says so. A
 * filter in the kernel keeps our own doings, and every key, out of the second.
 *
 * All is tagged: SAs by reqid, policies by index (and reqid or priority), both with the number of
 * the pair of hosts in it. So an earlier run's are known again, and nobody else's are touched.
 */
#include "agent/sadb/msg_xfrm.h"
#include "crypto/random.h"

#include <errno.h>
#include <inttypes.h>
#include <libmnl/libmnl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#define TAG 0x5a5au /* upper half of our reqids; the lower one is the number of the pair of hosts */
#define INDEX_TAG 0x2du /* likewise: policy index = tag 7 bits, number 16, which 6, direction 3 */
#define NUMBERS 65536u
#define PROBES 16 /* places where a pair's number may be, from its hash on */

#define PRIORITY_PROBE 900 /* the smaller number is asked first */
#define PRIORITY_EXEMPT 1000
#define PRIORITY_PROTECT 2000

/* The kernel's own time limit is for an agent that never comes back. It counts by the wall clock,
 * so it has to be far away: a clock that is set forward ends SAs at once. */
#define SAFETY_S 86400

#define EVENT_BUFFER (4 << 20)
#define ANSWER_ROOM 16384
#define RULES_MAX 72
#define RESERVE_TRIES 4

/* Of the kernel's headers from 2018 on; older ones lack some. */
#ifndef NETLINK_CAP_ACK
#define NETLINK_CAP_ACK 10
#endif
#ifndef NETLINK_EXT_ACK
#define NETLINK_EXT_ACK 11
#endif
#ifndef IPV6_XFRM_POLICY
#define IPV6_XFRM_POLICY 35
#endif
#ifndef IP_XFRM_POLICY
#define IP_XFRM_POLICY 17
#endif

/* One context. */
struct pair {
	struct pair *next_in_bucket, *next_of_policy, *prev_of_policy;
	struct policy *policy;
	uint64_t id;
	uint64_t order; /* of installation, for "the newest that is left" */
	struct spi in, out;
	uint32_t left_s; /* of an earlier run's: what is left of its lifetime */
	bool is_reserved, has_in, has_out;
	bool in_seen, out_seen; /* by the dump that looks for what is gone */
	bool is_old;            /* of an earlier run, not told yet */
};

struct policy {
	struct policy *next;
	struct sa_policy *p;
	uint16_t number;
	struct pair *pairs;    /* newest first */
	struct pair *selected; /* whose SPI the out policies name; NULL: none */
	size_t n_rules;
	struct xfrm_rule rules[];
};

struct xfrm {
	struct sadb db;
	struct sadb_env env;
	struct mnl_socket *ask, *events;
	uv_poll_t poll;
	bool closing, has_ipv6;
	uint32_t seq; /* of requests */

	struct policy *policies;
	uint8_t taken[NUMBERS / 8]; /* numbers of our policies */
	struct pair **buckets;      /* a power of two of them */
	size_t n_buckets, n_pairs;
	uint64_t reserved, installed; /* so far */
	struct suite_list suites;

	/* What was there when we came, by number; what is adopted is ours from then on. */
	struct xfrm_rule *old_rules;
	struct xfrm_sa *old_sas;
	size_t n_old_rules, n_old_sas;

	uint32_t answer[ANSWER_ROOM / 4]; /* aligned */
	uint32_t event[ANSWER_ROOM / 4];
};

static struct xfrm *of(struct sadb *db)
{
	return (struct xfrm *)(void *)db;
}

static uint32_t reqid_of(uint16_t number)
{
	return TAG << 16 | number;
}

static uint32_t index_of(uint16_t number, unsigned which, uint8_t dir)
{
	return INDEX_TAG << 25 | (uint32_t)number << 9 | which << 3 | dir;
}

static uint16_t number_of(const struct xfrm_rule *r)
{
	return (uint16_t)(r->index >> 9);
}

static bool is_our_rule(const struct xfrm_rule *r)
{
	if (r->index >> 25 != INDEX_TAG)
		return false;
	if (r->protects)
		return r->reqid == reqid_of(number_of(r));
	return r->allows && r->priority == PRIORITY_EXEMPT;
}

static bool is_our_sa(const struct xfrm_sa *sa)
{
	return sa->reqid >> 16 == TAG;
}

/* ---- asking the kernel ------------------------------------------------------------------- */

static int kernel_said(struct err *e, int os, const char *text)
{
	err_set(e, os == EPERM ? ERR_PERM : ERR_OS, "the kernel says: %s%s%s", strerror(os),
		text[0] != '\0' ? ": " : "", text);
	if (e != NULL)
		e->os = (uint32_t)os;
	switch (os) {
	case EPERM:
		return err_hint(e, "run it as root, or with the capability CAP_NET_ADMIN");
	case EPROTONOSUPPORT:
		return err_hint(e, "this kernel has no ESP: load the modules esp4 and esp6 "
				   "(CONFIG_INET_ESP, CONFIG_INET6_ESP); in a container, on its "
				   "host");
	case ENOBUFS:
	case ENOMEM:
		return err_hint(e, "the kernel is short of memory: try again later");
	default:
		return -1;
	}
}

/*
 * Sends one request and waits for its answer: an acknowledgement, an error, or (has_answer) a
 * message, which stays in db->answer. Wipes what it read when it is no answer, and m in any case.
 */
static int ask(struct xfrm *db, union xfrm_msg *m, bool has_answer, struct err *e)
{
	const uint32_t seq = m->head.nlmsg_seq;
	ssize_t n = mnl_socket_sendto(db->ask, m, m->head.nlmsg_len);
	char text[160];
	int os;

	wipe(m, sizeof *m);
	if (n < 0)
		return kernel_said(e, errno, "send by netlink");
	for (;;) {
		const struct nlmsghdr *h = (const void *)db->answer;
		int left;

		n = mnl_socket_recvfrom(db->ask, db->answer, sizeof db->answer);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return kernel_said(e, errno, "receive by netlink");
		left = (int)n;
		if (!mnl_nlmsg_ok(h, left) || h->nlmsg_seq != seq)
			continue; /* the rest of something that was given up */
		if (has_answer && h->nlmsg_type != NLMSG_ERROR)
			return 0;
		if (!xfrm_get_error(h, &os, text, sizeof text))
			return err_set(e, ERR_OS, "an answer of type %u by netlink",
				       (unsigned)h->nlmsg_type);
		return os == 0 ? 0 : kernel_said(e, os, text);
	}
}

typedef int on_dumped(struct xfrm *db, const struct nlmsghdr *h, void *arg);

static int dump(struct xfrm *db, union xfrm_msg *m, on_dumped *each, void *arg, struct err *e)
{
	const uint32_t seq = m->head.nlmsg_seq;
	bool over = false;
	int rc = 0;

	if (mnl_socket_sendto(db->ask, m, m->head.nlmsg_len) < 0)
		return kernel_said(e, errno, "send by netlink");
	while (!over) {
		ssize_t n = mnl_socket_recvfrom(db->ask, db->answer, sizeof db->answer);
		const struct nlmsghdr *h = (const void *)db->answer;
		int left = (int)n, os;
		char text[160];

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return kernel_said(e, errno, "receive by netlink");
		for (; mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
			if (h->nlmsg_seq != seq)
				continue;
			if (h->nlmsg_type == NLMSG_DONE) {
				over = true;
			} else if (xfrm_get_error(h, &os, text, sizeof text)) {
				over = true;
				rc = kernel_said(e, os, text);
			} else if (rc == 0 && each(db, h, arg) < 0) {
				rc = err_set(e, ERR_OS, "no memory for what the kernel has");
			}
		}
		wipe(db->answer, (size_t)n); /* SAs come with their keys */
	}
	return rc;
}

/* ---- contexts ---------------------------------------------------------------------------- */

static struct pair **bucket_of(struct xfrm *db, uint64_t id)
{
	return &db->buckets[id & (db->n_buckets - 1)];
}

static struct pair *pair_of(struct xfrm *db, struct sadb_ctx ctx)
{
	struct pair *pair = *bucket_of(db, ctx.id);

	while (pair != NULL && pair->id != ctx.id)
		pair = pair->next_in_bucket;
	return pair;
}

static void grow(struct xfrm *db)
{
	struct pair **old = db->buckets;
	const size_t n_old = db->n_buckets;
	struct pair **more = calloc(2 * n_old, sizeof *more);

	if (more == NULL)
		return; /* longer chains, no harm */
	db->buckets = more;
	db->n_buckets = 2 * n_old;
	for (size_t i = 0; i < n_old; i++) {
		while (old[i] != NULL) {
			struct pair *pair = old[i], **to = bucket_of(db, pair->id);

			old[i] = pair->next_in_bucket;
			pair->next_in_bucket = *to;
			*to = pair;
		}
	}
	free(old);
}

static struct pair *new_pair(struct xfrm *db, struct policy *pol)
{
	struct pair *pair = calloc(1, sizeof *pair), **bucket;

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

static void free_pair(struct xfrm *db, struct pair *pair)
{
	struct pair **at = bucket_of(db, pair->id);

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

static int no_context(const struct xfrm *db, struct sadb_ctx ctx, struct err *e)
{
	return err_set(e, ERR_BUG, "%s context %" PRIu64,
		       ctx.id > db->reserved ? "unknown" : "gone:", ctx.id);
}

/* The SA of one half, as far as the kernel needs it to find it. */
static struct xfrm_sa sa_of(const struct pair *pair, enum sadb_part part)
{
	const struct sa_policy *p = pair->policy->p;
	const bool in = part == SADB_INBOUND;
	struct xfrm_sa sa = {.src = in ? p->remote : p->local,
			     .dst = in ? p->local : p->remote,
			     .spi = in ? pair->in : pair->out,
			     .reqid = reqid_of(pair->policy->number),
			     .tunnel = p->encap == ENCAP_TUNNEL};

	return sa;
}

static int delete_sa(struct xfrm *db, const struct xfrm_sa *sa, struct err *e)
{
	union xfrm_msg m;
	struct err why = {0};

	xfrm_put_sa_id(&m, ++db->seq, XFRM_MSG_DELSA, sa);
	if (ask(db, &m, false, &why) == 0 || why.os == ESRCH)
		return 0;
	if (e != NULL)
		*e = why;
	return err_in(e, "remove the SA %08" PRIx32, sa->spi.n);
}

/* ---- policies: which ones ---------------------------------------------------------------- */

struct wish {
	uint8_t proto;
	bool has_local, has_remote;
	uint16_t local, remote; /* ports */
	bool is_type;           /* local is an ICMPv6 type, the same in both directions */
	uint32_t priority;
	bool protects, optional;
};

/* One wish becomes two rules: out and in. */
static void add_rules(struct policy *pol, const struct wish *w)
{
	const struct sa_policy *p = pol->p;
	const unsigned which = (unsigned)(pol->n_rules / 2);
	struct xfrm_rule out = {.src = p->local,
				.dst = p->remote,
				.dir = XFRM_OUT,
				.proto = w->proto,
				.has_sport = w->has_local,
				.has_dport = w->has_remote,
				.sport = w->local,
				.dport = w->remote,
				.index = index_of(pol->number, which, XFRM_OUT),
				.priority = w->priority,
				.allows = true,
				.protects = w->protects,
				.optional = w->optional,
				.tunnel = w->protects && p->encap == ENCAP_TUNNEL,
				.reqid = w->protects ? reqid_of(pol->number) : 0};
	struct xfrm_rule in = out;

	in.src = p->remote;
	in.dst = p->local;
	in.dir = XFRM_IN;
	in.index = index_of(pol->number, which, XFRM_IN);
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
static void add_port(struct policy *pol, const char *text, struct wish w)
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
 * Without neighbour discovery no IPv6 packet leaves, the agent's own ones neither: unicast
 * neighbour advertisements would wait for an SA that only they can bring about.
 */
static void add_exempt_icmp(struct policy *pol, bool all)
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

/* Probes have to go through the SAs whatever the policy lets pass in clear. */
static bool probes_need_rule(const struct sa_policy *p)
{
	bool all = p->protects == 1 && strcmp(p->protect[0], "all") == 0;

	for (size_t i = 0; i < p->exempts; i++)
		all = all && strncmp(p->exempt[i], "udp/", 4) != 0;
	return !all || p->mode == MODE_PERMISSIVE;
}

/* In the order in which they are installed: what may pass before what is protected. */
static void make_rules(struct policy *pol)
{
	const struct sa_policy *p = pol->p;
	struct wish w = {.priority = PRIORITY_EXEMPT};
	bool icmp = false;

	for (size_t i = 0; i < p->exempts; i++) {
		if (strcmp(p->exempt[i], "icmp") == 0)
			icmp = true;
		else
			add_port(pol, p->exempt[i], w);
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
	w.optional = p->mode == MODE_PERMISSIVE;
	for (size_t i = 0; i < p->protects; i++) {
		if (strcmp(p->protect[i], "all") == 0) {
			w.proto = 0;
			add_rules(pol, &w);
		} else if (strncmp(p->protect[i], "proto/", 6) == 0) {
			w.proto = (uint8_t)strtoul(p->protect[i] + 6, NULL, 10);
			add_rules(pol, &w);
		} else {
			add_port(pol, p->protect[i], w);
		}
	}
}

/* ---- policies: in the kernel ------------------------------------------------------------- */

static int put_rule(struct xfrm *db, uint16_t type, const struct xfrm_rule *r, struct err *e)
{
	union xfrm_msg m;

	xfrm_put_rule(&m, ++db->seq, type, r);
	return ask(db, &m, false, e);
}

/* Only when it is still ours: somebody may have put another in its place. */
static int delete_rule(struct xfrm *db, const struct xfrm_rule *r, struct err *e)
{
	struct xfrm_rule is;
	struct err why = {0};
	union xfrm_msg m;

	xfrm_put_rule_id(&m, ++db->seq, XFRM_MSG_GETPOLICY, r);
	if (ask(db, &m, true, &why) < 0)
		goto failed;
	if (!xfrm_get_rule((const void *)db->answer, &is) || !is_our_rule(&is))
		return 0;
	xfrm_put_rule_id(&m, ++db->seq, XFRM_MSG_DELPOLICY, r);
	if (ask(db, &m, false, &why) == 0)
		return 0;
failed:
	if (why.os == ENOENT || why.os == ESRCH)
		return 0;
	if (e != NULL)
		*e = why;
	return err_in(e, "remove a policy");
}

/* Names this pair's outbound SA in the out policies; NULL: any SA of the reqid. */
static int pin(struct xfrm *db, struct policy *pol, struct pair *pair, struct err *e)
{
	const struct spi spi = {pair != NULL ? pair->out.n : 0};

	for (size_t i = 0; i < pol->n_rules; i++) {
		struct xfrm_rule *r = &pol->rules[i], wanted = *r;

		if (r->dir != XFRM_OUT || !r->protects || spi_equal(r->pin, spi))
			continue;
		wanted.pin = spi;
		if (put_rule(db, XFRM_MSG_UPDPOLICY, &wanted, e) < 0)
			return err_in(e, "select the SA %08" PRIx32, spi.n);
		r->pin = spi;
	}
	pol->selected = pair;
	return 0;
}

static struct pair *newest_but(const struct policy *pol, const struct pair *not_this)
{
	struct pair *newest = NULL;

	for (struct pair *q = pol->pairs; q != NULL; q = q->next_of_policy)
		if (q != not_this && q->has_out && (newest == NULL || q->order > newest->order))
			newest = q;
	return newest;
}

static int compare_old_rules(const void *a, const void *b)
{
	return (int)number_of(a) - (int)number_of(b);
}

static int compare_old_sas(const void *a, const void *b)
{
	uint32_t x = ((const struct xfrm_sa *)a)->reqid, y = ((const struct xfrm_sa *)b)->reqid;

	return x < y ? -1 : x > y;
}

/* The first one of the number, or NULL; those that follow have the same or a greater one. */
static struct xfrm_rule *old_rules_of(struct xfrm *db, uint16_t number)
{
	size_t low = 0, high = db->n_old_rules;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (number_of(&db->old_rules[mid]) < number)
			low = mid + 1;
		else
			high = mid;
	}
	return low < db->n_old_rules && number_of(&db->old_rules[low]) == number
		       ? &db->old_rules[low]
		       : NULL;
}

static bool is_old_rule_of(const struct xfrm *db, const struct xfrm_rule *r, uint16_t number)
{
	return r != NULL && r < db->old_rules + db->n_old_rules && number_of(r) == number;
}

static bool between(const struct xfrm_rule *r, const struct sa_policy *p)
{
	return r->dir == XFRM_OUT
		       ? addr_equal(&r->src, &p->local) && addr_equal(&r->dst, &p->remote)
		       : addr_equal(&r->dst, &p->local) && addr_equal(&r->src, &p->remote);
}

static bool is_taken(const struct xfrm *db, uint16_t number)
{
	return (db->taken[number / 8] >> number % 8 & 1) != 0;
}

/* The pair's number in an earlier run if it was in one, else one that nobody has. */
static bool choose_number(struct xfrm *db, const struct sa_policy *p, uint16_t *number)
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
		const struct xfrm_rule *old = old_rules_of(db, n);

		if (n == 0 || is_taken(db, n))
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

static const struct xfrm_rule *old_like(struct xfrm *db, const struct xfrm_rule *r, uint16_t number)
{
	const struct xfrm_rule *old = old_rules_of(db, number);

	for (; is_old_rule_of(db, old, number); old++)
		if (xfrm_rule_same_selector(old, r))
			return old;
	return NULL;
}

static bool does_the_same(const struct xfrm_rule *a, const struct xfrm_rule *b)
{
	return a->index == b->index && a->priority == b->priority && a->protects == b->protects &&
	       a->optional == b->optional && a->tunnel == b->tunnel && a->reqid == b->reqid;
}

static int rule_in_the_way(const struct sa_policy *p, struct err *e)
{
	if (e->os != EEXIST)
		return err_in(e, "install a policy for %s", p->peer);
	err_set(e, ERR_OS,
		"a policy of somebody else for the same traffic as peer %s is in the way", p->peer);
	e->os = EEXIST;
	return err_hint(e, "ip xfrm policy shows it; end what made it (strongSwan, libreswan?)");
}

/* Puts one policy in; an earlier run's is kept, with the SA that it names. */
static int install_rule(struct xfrm *db, struct policy *pol, struct xfrm_rule *r, bool *is_new,
			struct err *e)
{
	const struct xfrm_rule *old = old_like(db, r, pol->number);
	struct err why = {0};

	*is_new = false;
	if (old != NULL) {
		r->pin = old->pin;
		if (does_the_same(old, r) || put_rule(db, XFRM_MSG_UPDPOLICY, r, &why) == 0)
			return 0;
	} else if (put_rule(db, XFRM_MSG_NEWPOLICY, r, &why) == 0) {
		*is_new = true;
		return 0;
	}
	rule_in_the_way(pol->p, &why);
	if (e != NULL)
		*e = why;
	return -1;
}

static int install_rules(struct xfrm *db, struct policy *pol, struct err *e)
{
	bool is_new[RULES_MAX] = {false};
	size_t i;

	for (i = 0; i < pol->n_rules; i++)
		if (install_rule(db, pol, &pol->rules[i], &is_new[i], e) < 0)
			goto remove_new;
	return 0;

remove_new:
	while (i-- > 0)
		if (is_new[i])
			delete_rule(db, &pol->rules[i], NULL);
	return -1;
}

static bool wants(const struct policy *pol, const struct xfrm_rule *r)
{
	for (size_t i = 0; i < pol->n_rules; i++)
		if (xfrm_rule_same_selector(&pol->rules[i], r))
			return true;
	return false;
}

/* What an earlier run had for these hosts and this one does not want. */
static void remove_old_rules(struct xfrm *db, const struct policy *pol)
{
	const struct xfrm_rule *old = old_rules_of(db, pol->number);

	for (; is_old_rule_of(db, old, pol->number); old++)
		if (!wants(pol, old))
			delete_rule(db, old, NULL);
}

/* ---- what an earlier run left ------------------------------------------------------------ */

static int keep_old_rule(struct xfrm *db, const struct nlmsghdr *h, void *arg)
{
	struct xfrm_rule r, *grown;

	(void)arg;
	if (!xfrm_get_rule(h, &r) || !is_our_rule(&r))
		return 0;
	if ((db->n_old_rules & (db->n_old_rules - 1)) == 0) {
		grown = realloc(db->old_rules,
				(db->n_old_rules == 0 ? 1 : 2 * db->n_old_rules) * sizeof *grown);
		if (grown == NULL)
			return -1;
		db->old_rules = grown;
	}
	db->old_rules[db->n_old_rules++] = r;
	return 0;
}

static int keep_old_sa(struct xfrm *db, const struct nlmsghdr *h, void *arg)
{
	struct xfrm_sa sa, *grown;

	(void)arg;
	if (!xfrm_get_sa(h, &sa) || !is_our_sa(&sa))
		return 0;
	if ((db->n_old_sas & (db->n_old_sas - 1)) == 0) {
		grown = realloc(db->old_sas,
				(db->n_old_sas == 0 ? 1 : 2 * db->n_old_sas) * sizeof *grown);
		if (grown == NULL)
			return -1;
		db->old_sas = grown;
	}
	db->old_sas[db->n_old_sas++] = sa;
	return 0;
}

static int find_old(struct xfrm *db, struct err *e)
{
	union xfrm_msg m;

	xfrm_put_dump_rules(&m, ++db->seq);
	if (dump(db, &m, keep_old_rule, NULL, e) < 0)
		return err_in(e, "list the policies");
	xfrm_put_dump_sas(&m, ++db->seq, NULL, NULL);
	if (dump(db, &m, keep_old_sa, NULL, e) < 0)
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

static void adopt_sa(struct xfrm *db, struct policy *pol, const struct xfrm_sa *sa)
{
	const bool in = addr_equal(&sa->dst, &pol->p->local);
	struct pair *pair;

	if (!sa->has_key) { /* reserved, or asked for by traffic: of no more use */
		delete_sa(db, sa, NULL);
		return;
	}
	pair = new_pair(db, pol);
	if (pair == NULL)
		return;
	pair->is_old = true;
	pair->left_s = left_of(sa);
	pair->order = ++db->installed;
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

static void adopt_sas(struct xfrm *db, struct policy *pol)
{
	const uint32_t reqid = reqid_of(pol->number);

	for (size_t i = 0; i < db->n_old_sas; i++)
		if (db->old_sas[i].reqid == reqid)
			adopt_sa(db, pol, &db->old_sas[i]);
}

static int xfrm_leftovers(struct sadb *sadb, sadb_found *found, void *arg, struct err *e)
{
	struct xfrm *db = of(sadb);

	for (struct policy *pol = db->policies; pol != NULL; pol = pol->next) {
		for (struct pair *q = pol->pairs; q != NULL; q = q->next_of_policy) {
			struct sadb_leftover l = {.ctx = {q->id},
						  .part = q->has_in ? SADB_INBOUND : SADB_OUTBOUND,
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

/* ---- the interface ----------------------------------------------------------------------- */

static void xfrm_can(struct sadb *sadb, struct sadb_can *can)
{
	can->esn = can->counts = can->survives = can->permissive = can->tunnel = true;
	can->window_max = XFRM_WINDOW_MAX;
	can->suites = of(sadb)->suites;
}

static struct policy *policy_of(const struct sa_policy *p, struct err *e)
{
	struct policy *pol = (struct policy *)(uintptr_t)p->ref;

	if (pol == NULL)
		err_set(e, ERR_BUG, "peer %s: no policy was added", p->peer);
	return pol;
}

static int try_suite(struct xfrm *db, enum suite s, bool ipv6, struct err *e)
{
	struct sa_keys k = {.suite = s, .window = 32};
	struct xfrm_sa sa = {.reqid = reqid_of(0), .spi = {SPI_MIN + random_u32() / 2}};
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
	rc = ask(db, &m, false, e);
	if (rc == 0)
		delete_sa(db, &sa, NULL);
	return rc;
}

/* By an SA of each suite that is there for a moment, between this host and itself. */
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

static int xfrm_policy_add(struct sadb *sadb, struct sa_policy *p, struct err *e)
{
	struct xfrm *db = of(sadb);
	struct policy *pol = calloc(1, sizeof *pol + RULES_MAX * sizeof pol->rules[0]);
	struct policy *cut;

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
	if (!choose_number(db, p, &pol->number)) {
		err_set(e, ERR_OS, "peer %s: all %u pairs of hosts are in use", p->peer, NUMBERS);
		goto free_policy;
	}
	make_rules(pol);
	if (install_rules(db, pol, e) < 0)
		goto free_policy;
	cut = realloc(pol, sizeof *pol + pol->n_rules * sizeof pol->rules[0]);
	if (cut != NULL)
		pol = cut;
	remove_old_rules(db, pol);
	db->taken[pol->number / 8] |= (uint8_t)(1u << pol->number % 8);
	pol->next = db->policies;
	db->policies = pol;
	p->ref = (uintptr_t)pol;
	adopt_sas(db, pol);
	return 0;

free_policy:
	free(pol);
	return -1;
}

struct found_sas {
	struct xfrm_sa sa[64];
	size_t n;
	uint32_t reqid;
};

static int take_sa(struct xfrm *db, const struct nlmsghdr *h, void *arg)
{
	struct found_sas *f = arg;
	struct xfrm_sa sa;

	(void)db;
	if (xfrm_get_sa(h, &sa) && sa.reqid == f->reqid && f->n < sizeof f->sa / sizeof f->sa[0])
		f->sa[f->n++] = sa;
	return 0;
}

/* Everything of the pair of hosts in one direction, what traffic asked for as well. */
static int remove_sas(struct xfrm *db, uint16_t number, const struct addr *src,
		      const struct addr *dst, struct err *e)
{
	struct found_sas f = {.reqid = reqid_of(number)};
	union xfrm_msg m;

	do {
		f.n = 0;
		xfrm_put_dump_sas(&m, ++db->seq, src, dst);
		if (dump(db, &m, take_sa, &f, e) < 0)
			return err_in(e, "list the SAs");
		for (size_t i = 0; i < f.n; i++)
			if (delete_sa(db, &f.sa[i], e) < 0)
				return -1;
	} while (f.n > 0);
	return 0;
}

static void forget_old(struct xfrm *db, uint16_t number)
{
	struct xfrm_rule *old = old_rules_of(db, number);
	size_t first, n = 0, kept = 0;

	if (old != NULL) {
		first = (size_t)(old - db->old_rules);
		while (is_old_rule_of(db, old + n, number))
			n++;
		memmove(old, old + n, (db->n_old_rules - first - n) * sizeof *old);
		db->n_old_rules -= n;
	}
	for (size_t i = 0; i < db->n_old_sas; i++)
		if (db->old_sas[i].reqid != reqid_of(number))
			db->old_sas[kept++] = db->old_sas[i];
	db->n_old_sas = kept;
}

static void free_policy(struct xfrm *db, struct policy *pol)
{
	struct policy **at = &db->policies;

	for (struct pair *q = pol->pairs, *next; q != NULL; q = next) {
		next = q->next_of_policy;
		free_pair(db, q);
	}
	while (*at != pol)
		at = &(*at)->next;
	*at = pol->next;
	db->taken[pol->number / 8] &= (uint8_t) ~(1u << pol->number % 8);
	pol->p->ref = 0;
	free(pol);
}

/* SAs first: what is on its way meets a closed policy, not a hole. */
static int xfrm_policy_remove(struct sadb *sadb, struct sa_policy *p, struct err *e)
{
	struct xfrm *db = of(sadb);
	struct policy *pol = policy_of(p, e);
	int rc = 0;

	if (pol == NULL)
		return -1;
	if (remove_sas(db, pol->number, &p->local, &p->remote, e) < 0 ||
	    remove_sas(db, pol->number, &p->remote, &p->local, e) < 0)
		rc = -1;
	/* Protection first, then what may pass: no neighbour is lost in between. */
	for (size_t i = pol->n_rules; i-- > 0;)
		if (delete_rule(db, &pol->rules[i], rc == 0 ? e : NULL) < 0)
			rc = -1;
	forget_old(db, pol->number);
	free_policy(db, pol);
	return rc;
}

static int xfrm_reserve(struct sadb *sadb, struct sa_policy *p, struct sadb_ctx *ctx,
			struct spi *in, struct err *e)
{
	struct xfrm *db = of(sadb);
	struct policy *pol = policy_of(p, e);
	struct pair *pair = pol == NULL ? NULL : new_pair(db, pol);
	struct xfrm_sa sa, got;
	union xfrm_msg m;
	unsigned tries = 0;

	if (pair == NULL)
		return pol == NULL ? -1 : err_set(e, ERR_OS, "no memory");
	sa = sa_of(pair, SADB_INBOUND);
	for (;;) {
		struct err why = {0};
		int rc;

		xfrm_put_allocspi(&m, ++db->seq, &sa, SPI_MIN);
		rc = ask(db, &m, true, &why);
		if (rc == 0 && xfrm_get_sa((const void *)db->answer, &got) && spi_usable(got.spi))
			break;
		if (rc < 0 && (why.os == EEXIST || why.os == ENOENT) && ++tries < RESERVE_TRIES)
			continue;
		if (rc == 0)
			err_set(&why, ERR_OS, "the kernel gave the SPI %u: it is reserved",
				(unsigned)got.spi.n);
		if (e != NULL)
			*e = why;
		free_pair(db, pair);
		return -1;
	}
	pair->is_reserved = true;
	pair->in = *in = got.spi;
	ctx->id = pair->id;
	return 0;
}

static void set_limits(struct xfrm_sa *sa, const struct sa_policy *p, const struct sa_keys *k)
{
	sa->soft_bytes = p->soft_bytes;
	sa->hard_bytes = p->hard_bytes;
	sa->soft_packets = p->soft_packets;
	sa->hard_packets = p->hard_packets;
	sa->hard_s = (uint64_t)k->lifetime_s + SAFETY_S;
	/* Numbers of the kernel's own requests count up from 1: never one of those. */
	sa->seq = UINT32_C(0x80000000) | (uint32_t)k->epoch;
}

static int xfrm_add_inbound(struct sadb *sadb, struct sadb_ctx ctx, const struct sa_keys *k,
			    struct err *e)
{
	struct xfrm *db = of(sadb);
	struct pair *pair = pair_of(db, ctx);
	struct err why = {0};
	struct xfrm_sa sa;
	union xfrm_msg m;
	int rc;

	if (pair == NULL)
		return no_context(db, ctx, e);
	/* The kernel takes a second key without a word, and goes on with the first. */
	if (!pair->is_reserved || pair->has_in)
		return err_set(e, ERR_BUG, "inbound SA of SPI %08" PRIx32 " installed twice",
			       pair->in.n);
	if (!spi_equal(k->spi, pair->in))
		return err_set(e, ERR_BUG, "inbound SPI %08" PRIx32 "; %08" PRIx32 " was reserved",
			       k->spi.n, pair->in.n);
	sa = sa_of(pair, SADB_INBOUND);
	set_limits(&sa, pair->policy->p, k);
	xfrm_put_sa(&m, ++db->seq, XFRM_MSG_UPDSA, &sa, k, true);
	rc = ask(db, &m, false, &why);
	if (rc < 0 && why.os == ESRCH) { /* the reservation ran out: net.core.xfrm_acq_expires */
		memset(&why, 0, sizeof why);
		xfrm_put_sa(&m, ++db->seq, XFRM_MSG_NEWSA, &sa, k, true);
		rc = ask(db, &m, false, &why);
	}
	if (rc < 0) {
		if (e != NULL)
			*e = why;
		return -1;
	}
	pair->is_reserved = false;
	pair->has_in = pair->in_seen = true;
	return 0;
}

static int xfrm_add_outbound(struct sadb *sadb, struct sadb_ctx ctx, const struct sa_keys *k,
			     struct err *e)
{
	struct xfrm *db = of(sadb);
	struct pair *pair = pair_of(db, ctx), *before;
	struct err why = {0};
	struct xfrm_sa sa;
	union xfrm_msg m;

	if (pair == NULL)
		return no_context(db, ctx, e);
	if (pair->has_out || !pair->has_in)
		return err_set(e, ERR_BUG, "outbound SA of context %" PRIu64 " %s", ctx.id,
			       pair->has_out ? "installed twice" : "before the inbound one");
	pair->out = k->spi;
	sa = sa_of(pair, SADB_OUTBOUND);
	set_limits(&sa, pair->policy->p, k);
	xfrm_put_sa(&m, ++db->seq, XFRM_MSG_NEWSA, &sa, k, false);
	if (ask(db, &m, false, &why) < 0) {
		if (why.os == EEXIST)
			err_hint(&why, "another SA has the SPI that the peer chose: try again");
		if (e != NULL)
			*e = why;
		return -1;
	}
	before = pair->policy->selected;
	pair->has_out = pair->out_seen = true;
	pair->order = ++db->installed;
	if (pin(db, pair->policy, pair, &why) < 0) {
		pin(db, pair->policy, before, NULL);
		delete_sa(db, &sa, NULL);
		pair->has_out = false;
		if (e != NULL)
			*e = why;
		return -1;
	}
	return 0;
}

static int xfrm_remove(struct sadb *sadb, struct sadb_ctx ctx, enum sadb_part part, struct err *e)
{
	struct xfrm *db = of(sadb);
	struct pair *pair = pair_of(db, ctx);
	struct xfrm_sa sa;
	int rc = 0;

	if (pair == NULL)
		return ctx.id != 0 && ctx.id <= db->reserved ? 0 : no_context(db, ctx, e);
	if ((part & SADB_OUTBOUND) != 0 && pair->has_out) {
		/* Deleting what is selected makes senders fail: measured on Linux 7.2. */
		if (pair->policy->selected == pair)
			rc = pin(db, pair->policy, newest_but(pair->policy, pair), e);
		sa = sa_of(pair, SADB_OUTBOUND);
		if (delete_sa(db, &sa, rc == 0 ? e : NULL) < 0)
			rc = -1;
		pair->has_out = false;
	}
	if ((part & SADB_INBOUND) != 0 && (pair->has_in || pair->is_reserved)) {
		sa = sa_of(pair, SADB_INBOUND);
		if (delete_sa(db, &sa, rc == 0 ? e : NULL) < 0)
			rc = -1;
		pair->has_in = pair->is_reserved = false;
	}
	if (!pair->has_in && !pair->has_out && !pair->is_reserved)
		free_pair(db, pair);
	return rc;
}

static int xfrm_query(struct sadb *sadb, struct sadb_ctx ctx, enum sadb_part part,
		      struct sa_counts *counts, struct err *e)
{
	struct xfrm *db = of(sadb);
	const struct pair *pair = pair_of(db, ctx);
	struct err why = {0};
	struct xfrm_sa sa;
	union xfrm_msg m;
	int rc;

	if (pair == NULL && (ctx.id == 0 || ctx.id > db->reserved))
		return no_context(db, ctx, e);
	if (pair == NULL || !(part == SADB_INBOUND ? pair->has_in : pair->has_out))
		return err_set(e, ERR_DOWN, "context %" PRIu64 " has no %s SA", ctx.id,
			       part == SADB_INBOUND ? "inbound" : "outbound");
	sa = sa_of(pair, part);
	xfrm_put_sa_id(&m, ++db->seq, XFRM_MSG_GETSA, &sa);
	rc = ask(db, &m, true, &why);
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
	counts->known = SADB_KNOWS_PACKETS | SADB_KNOWS_BYTES;
	counts->packets = sa.packets;
	counts->bytes = sa.bytes;
	if (part == SADB_INBOUND) {
		counts->known |= SADB_KNOWS_REPLAY | SADB_KNOWS_INTEGRITY;
		counts->replay_dropped = sa.replay_dropped;
		counts->integrity_failed = sa.integrity_failed;
	}
	return 0;
}

static int xfrm_exempt_socket(struct sadb *sadb, intptr_t fd, bool ipv6, struct err *e)
{
	static const uint8_t dirs[] = {XFRM_IN, XFRM_OUT};

	(void)sadb;
	for (size_t i = 0; i < sizeof dirs; i++) {
		struct xfrm_userpolicy_info p;

		xfrm_fill_bypass(&p, ipv6, dirs[i]);
		if (setsockopt((int)fd, ipv6 ? IPPROTO_IPV6 : IPPROTO_IP,
			       ipv6 ? IPV6_XFRM_POLICY : IP_XFRM_POLICY, &p, sizeof p) < 0) {
			kernel_said(e, errno, "");
			return err_in(e, "exempt the agent's own connection from IPsec");
		}
	}
	return 0;
}

/* ---- events ------------------------------------------------------------------------------ */

static void raise_event(struct xfrm *db, const struct sadb_event *ev)
{
	db->env.on_event(db->env.arg, ev);
}

static struct policy *policy_of_number(struct xfrm *db, uint16_t number)
{
	struct policy *pol = db->policies;

	while (pol != NULL && pol->number != number)
		pol = pol->next;
	return pol;
}

/* The pair and half of an SA that an event or a dump names. */
static struct pair *pair_of_sa(struct xfrm *db, const struct xfrm_sa *sa, enum sadb_part *part)
{
	struct policy *pol = is_our_sa(sa) ? policy_of_number(db, (uint16_t)sa->reqid) : NULL;
	struct pair *q;

	if (pol == NULL)
		return NULL;
	*part = addr_equal(&sa->dst, &pol->p->local) ? SADB_INBOUND : SADB_OUTBOUND;
	for (q = pol->pairs; q != NULL; q = q->next_of_policy)
		if (*part == SADB_INBOUND ? q->has_in && spi_equal(q->in, sa->spi)
					  : q->has_out && spi_equal(q->out, sa->spi))
			break;
	return q;
}

/* One half is gone from the kernel: first our own books, then the word of it. */
static void lost(struct xfrm *db, struct pair *pair, enum sadb_part part, enum sadb_event_kind kind,
		 const char *what)
{
	struct policy *pol = pair->policy;
	char text[96];
	struct sadb_event ev = {.kind = kind,
				.owner = pol->p->owner,
				.ctx = {pair->id},
				.part = part,
				.spi = part == SADB_INBOUND ? pair->in : pair->out,
				.text = text};

	snprintf(text, sizeof text, "%s SA %08" PRIx32 " %s",
		 part == SADB_INBOUND ? "inbound" : "outbound", ev.spi.n, what);
	if (part == SADB_INBOUND)
		pair->has_in = false;
	else
		pair->has_out = false;
	if (part == SADB_OUTBOUND && pol->selected == pair)
		pin(db, pol, newest_but(pol, pair), NULL);
	if (!pair->has_in && !pair->has_out)
		free_pair(db, pair);
	raise_event(db, &ev);
}

static void on_expire(struct xfrm *db, const struct xfrm_sa *sa)
{
	struct sadb_event ev = {.kind = SADB_EV_SOFT, .spi = sa->spi};
	enum sadb_part part;
	struct pair *pair = pair_of_sa(db, sa, &part);

	if (pair == NULL)
		return;
	if (sa->expired) {
		lost(db, pair, part, SADB_EV_HARD, "has passed a hard limit");
		return;
	}
	ev.owner = pair->policy->p->owner;
	ev.ctx.id = pair->id;
	ev.part = part;
	ev.reason = sa->soft_bytes != 0 && sa->bytes >= sa->soft_bytes ? REASON_BYTES
								       : REASON_PACKETS;
	raise_event(db, &ev);
}

static int see_sa(struct xfrm *db, const struct nlmsghdr *h, void *arg)
{
	enum sadb_part part;
	struct xfrm_sa sa;
	struct pair *pair;

	(void)arg;
	if (!xfrm_get_sa(h, &sa) || (pair = pair_of_sa(db, &sa, &part)) == NULL)
		return 0;
	if (part == SADB_INBOUND)
		pair->in_seen = true;
	else
		pair->out_seen = true;
	return 0;
}

static struct pair *first_unseen(struct xfrm *db, enum sadb_part *part)
{
	for (struct policy *pol = db->policies; pol != NULL; pol = pol->next) {
		for (struct pair *q = pol->pairs; q != NULL; q = q->next_of_policy) {
			*part = q->has_out && !q->out_seen ? SADB_OUTBOUND : SADB_INBOUND;
			if (*part == SADB_OUTBOUND || (q->has_in && !q->in_seen))
				return q;
		}
	}
	return NULL;
}

/* All were removed, or events were lost: looks at what there still is. */
static void look_for_sas(struct xfrm *db)
{
	enum sadb_part part;
	struct pair *pair;
	union xfrm_msg m;

	for (struct policy *pol = db->policies; pol != NULL; pol = pol->next)
		for (struct pair *q = pol->pairs; q != NULL; q = q->next_of_policy)
			q->in_seen = q->out_seen = false;
	xfrm_put_dump_sas(&m, ++db->seq, NULL, NULL);
	if (dump(db, &m, see_sa, NULL, NULL) < 0)
		return; /* what is gone will show in verify and counters */
	while (!db->closing && (pair = first_unseen(db, &part)) != NULL)
		lost(db, pair, part, SADB_EV_REMOVED, "was removed by somebody else");
}

/* Puts back what somebody took away. Whether anything was missing. */
static bool restore_rules(struct xfrm *db, struct policy *pol)
{
	bool missing = false;

	for (size_t i = 0; i < pol->n_rules; i++)
		if (put_rule(db, XFRM_MSG_NEWPOLICY, &pol->rules[i], NULL) == 0)
			missing = true;
	return missing;
}

static void restore_and_tell(struct xfrm *db, struct policy *pol)
{
	struct sadb_event ev = {.kind = SADB_EV_REMOVED,
				.owner = pol->p->owner,
				.text = "somebody else removed a policy of ours: it is put back"};

	if (restore_rules(db, pol))
		raise_event(db, &ev);
}

static void on_rule_gone(struct xfrm *db, const struct xfrm_rule *r)
{
	struct policy *pol = r->index >> 25 == INDEX_TAG ? policy_of_number(db, number_of(r))
							 : NULL;

	if (pol != NULL)
		restore_and_tell(db, pol);
}

static void look_for_rules(struct xfrm *db)
{
	uint16_t numbers[256];
	size_t n = 0;

	/* Those first that are closed by it; events may change the list. */
	for (struct policy *pol = db->policies; pol != NULL; pol = pol->next) {
		if (n == sizeof numbers / sizeof numbers[0])
			restore_rules(db, pol);
		else if (restore_rules(db, pol))
			numbers[n++] = pol->number;
	}
	for (size_t i = 0; i < n && !db->closing; i++) {
		struct policy *pol = policy_of_number(db, numbers[i]);
		struct sadb_event ev = {
			.kind = SADB_EV_REMOVED,
			.text = "somebody else removed our policies: they are put back"};

		if (pol == NULL)
			continue;
		ev.owner = pol->p->owner;
		raise_event(db, &ev);
	}
}

static void on_message(struct xfrm *db, const struct nlmsghdr *h)
{
	struct sadb_event ev = {.kind = SADB_EV_ACQUIRE};
	enum sadb_part part;
	struct policy *pol;
	struct xfrm_rule r;
	struct pair *pair;
	struct xfrm_sa sa;

	switch (h->nlmsg_type) {
	case XFRM_MSG_EXPIRE:
		if (xfrm_get_sa(h, &sa))
			on_expire(db, &sa);
		break;
	case XFRM_MSG_DELSA:
		if (xfrm_get_sa(h, &sa) && (pair = pair_of_sa(db, &sa, &part)) != NULL)
			lost(db, pair, part, SADB_EV_REMOVED, "was removed by somebody else");
		break;
	case XFRM_MSG_FLUSHSA:
		look_for_sas(db);
		break;
	case XFRM_MSG_DELPOLICY:
	case XFRM_MSG_UPDPOLICY:
		if (xfrm_get_rule(h, &r))
			on_rule_gone(db, &r);
		break;
	case XFRM_MSG_FLUSHPOLICY:
		look_for_rules(db);
		break;
	case XFRM_MSG_ACQUIRE:
		if (!xfrm_get_rule(h, &r) || r.index >> 25 != INDEX_TAG)
			break;
		pol = policy_of_number(db, number_of(&r));
		if (pol == NULL)
			break;
		ev.owner = pol->p->owner;
		raise_event(db, &ev);
		break;
	default:
		break;
	}
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct xfrm *db = poll->data;

	(void)status, (void)events;
	while (!db->closing) {
		ssize_t n = mnl_socket_recvfrom(db->events, db->event, sizeof db->event);
		const struct nlmsghdr *h = (const void *)db->event;
		int left = (int)n;

		if (n < 0 && errno == ENOBUFS) { /* some were lost */
			look_for_rules(db);
			look_for_sas(db);
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return;
		for (; !db->closing && mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left))
			on_message(db, h);
		if (!db->closing)
			wipe(db->event, (size_t)n);
	}
}

/* Lets through what we look at, unless it is an echo of our own requests. */
static int filter_events(struct mnl_socket *events, uint32_t own_port)
{
	static const uint16_t types[] = {XFRM_MSG_EXPIRE,    XFRM_MSG_DELSA,
					 XFRM_MSG_FLUSHSA,   XFRM_MSG_DELPOLICY,
					 XFRM_MSG_UPDPOLICY, XFRM_MSG_FLUSHPOLICY,
					 XFRM_MSG_ACQUIRE};
	enum { N = sizeof types / sizeof types[0] };
	struct sock_filter code[N + 5];
	struct sock_fprog prog = {.len = N + 5, .filter = code};

	/* The filter reads big endian; netlink heads are in the host's order. */
	code[0] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
					       offsetof(struct nlmsghdr, nlmsg_pid));
	code[1] =
		(struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htonl(own_port), N + 1, 0);
	code[2] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_H | BPF_ABS,
					       offsetof(struct nlmsghdr, nlmsg_type));
	for (unsigned i = 0; i < N; i++)
		code[3 + i] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
							   htons(types[i]), (uint8_t)(N - i), 0);
	code[N + 3] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, 0);
	code[N + 4] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, UINT32_MAX);
	return setsockopt(mnl_socket_get_fd(events), SOL_SOCKET, SO_ATTACH_FILTER, &prog,
			  sizeof prog);
}

/* ---- open and close ---------------------------------------------------------------------- */

static void free_all(struct xfrm *db)
{
	if (db->ask != NULL)
		mnl_socket_close(db->ask);
	if (db->events != NULL)
		mnl_socket_close(db->events);
	free(db->buckets);
	free(db->old_rules);
	free(db->old_sas);
	wipe(db, sizeof *db);
	free(db);
}

static bool is_absent(int os)
{
	return os == EPROTONOSUPPORT || os == ESOCKTNOSUPPORT || os == EAFNOSUPPORT;
}

static int no_socket(struct err *e, int os)
{
	kernel_said(e, os, "");
	if (is_absent(os))
		err_hint(e, "this kernel has no IPsec interface: load the module xfrm_user "
			    "(CONFIG_XFRM_USER)");
	return err_in(e, "netlink socket of IPsec");
}

static int open_sockets(struct xfrm *db, struct err *e)
{
	const unsigned groups = XFRMGRP_ACQUIRE | XFRMGRP_EXPIRE | XFRMGRP_SA | XFRMGRP_POLICY;
	int on = 1, room = EVENT_BUFFER, fd;

	db->ask = mnl_socket_open2(NETLINK_XFRM, SOCK_CLOEXEC);
	if (db->ask == NULL || mnl_socket_bind(db->ask, 0, MNL_SOCKET_AUTOPID) < 0)
		return no_socket(e, errno);
	/* Without the first, errors bring the request back, keys included. */
	mnl_socket_setsockopt(db->ask, NETLINK_CAP_ACK, &on, sizeof on);
	mnl_socket_setsockopt(db->ask, NETLINK_EXT_ACK, &on, sizeof on);

	db->events = mnl_socket_open2(NETLINK_XFRM, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (db->events == NULL)
		return no_socket(e, errno);
	fd = mnl_socket_get_fd(db->events);
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) < 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
	if (filter_events(db->events, mnl_socket_get_portid(db->ask)) < 0 ||
	    mnl_socket_bind(db->events, groups, MNL_SOCKET_AUTOPID) < 0)
		return no_socket(e, errno);
	return 0;
}

static int xfrm_open(struct sadb **out, const struct sadb_env *env, struct err *e)
{
	struct xfrm *db = calloc(1, sizeof *db);
	struct err why = {0};
	int rc = -1;

	if (db == NULL)
		return err_set(e, ERR_OS, "no memory");
	db->db.ops = &sadb_xfrm;
	db->env = *env;
	db->n_buckets = 64;
	db->buckets = calloc(db->n_buckets, sizeof(struct pair *));
	if (db->buckets == NULL) {
		err_set(&why, ERR_OS, "no memory");
		goto free_all;
	}
	if (open_sockets(db, &why) < 0 || find_suites(db, &why) < 0) {
		if (is_absent((int)why.os))
			rc = SADB_ABSENT;
		goto free_all;
	}
	if (find_old(db, &why) < 0)
		goto free_all;
	if (uv_poll_init(env->loop, &db->poll, mnl_socket_get_fd(db->events)) != 0 ||
	    uv_poll_start(&db->poll, UV_READABLE, on_readable) != 0) {
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
	return rc;
}

static void on_closed(uv_handle_t *h)
{
	free_all(h->data);
}

/* Policies and SAs stay in the kernel: what was closed stays closed. */
static void xfrm_close(struct sadb *sadb)
{
	struct xfrm *db = of(sadb);

	db->closing = true;
	while (db->policies != NULL)
		free_policy(db, db->policies);
	uv_close((uv_handle_t *)&db->poll, on_closed);
}

const struct sadb_ops sadb_xfrm = {
	.name = "xfrm",
	.open = xfrm_open,
	.close = xfrm_close,
	.can = xfrm_can,
	.policy_add = xfrm_policy_add,
	.policy_remove = xfrm_policy_remove,
	.reserve = xfrm_reserve,
	.add_inbound = xfrm_add_inbound,
	.add_outbound = xfrm_add_outbound,
	.remove = xfrm_remove,
	.query = xfrm_query,
	.leftovers = xfrm_leftovers,
	.exempt_socket = xfrm_exempt_socket,
};
