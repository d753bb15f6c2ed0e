/*
 * agent/ipsec/xfrm/message.c - netlink messages of the Linux kernel's XFRM, built and read.
 */
#include "agent/ipsec/xfrm/message.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <string.h>

static uint16_t family_of(const struct addr *a)
{
	return a->len == 16 ? AF_INET6 : AF_INET;
}

static void put_addr(xfrm_address_t *to, const struct addr *a)
{
	memcpy(to, a->bytes, a->len);
}

static void get_addr(struct addr *a, const xfrm_address_t *from, uint16_t family)
{
	memset(a, 0, sizeof *a);
	a->len = family == AF_INET6 ? 16 : 4;
	memcpy(a->bytes, from, a->len);
}

static bool attr_ok(const struct nlmsghdr *h, const struct nlattr *a)
{
	return mnl_attr_ok(a, (int)((const char *)mnl_nlmsg_get_payload_tail(h) - (const char *)a));
}

/* The first attribute behind head bytes of the message's own struct. */
static const struct nlattr *first_attr(const struct nlmsghdr *h, size_t head)
{
	return mnl_nlmsg_get_payload_offset(h, head);
}

static struct nlmsghdr *begin(union xfrm_msg *m, uint32_t seq, uint16_t type, uint16_t flags)
{
	struct nlmsghdr *h;

	memset(m, 0, sizeof *m);
	h = mnl_nlmsg_put_header(m);
	h->nlmsg_type = type;
	h->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	h->nlmsg_seq = seq;
	return h;
}

/* ---- SAs --------------------------------------------------------------------------------- */

static uint64_t limit(uint64_t n)
{
	return n == 0 ? XFRM_INF : n; /* 0 would expire the SA at its first packet */
}

static uint64_t no_limit(uint64_t n)
{
	return n == XFRM_INF ? 0 : n;
}

static void fill_sa(struct xfrm_usersa_info *u, const struct xfrm_sa *sa)
{
	u->family = family_of(&sa->dst);
	put_addr(&u->saddr, &sa->src);
	put_addr(&u->id.daddr, &sa->dst);
	u->id.spi = htonl(sa->spi.n);
	u->id.proto = IPPROTO_ESP;
	u->mode = sa->tunnel ? XFRM_MODE_TUNNEL : XFRM_MODE_TRANSPORT;
	u->reqid = sa->reqid;
	u->seq = sa->seq;
	u->lft.soft_byte_limit = limit(sa->limits.soft_bytes);
	u->lft.hard_byte_limit = limit(sa->limits.hard_bytes);
	u->lft.soft_packet_limit = limit(sa->limits.soft_packets);
	u->lft.hard_packet_limit = limit(sa->limits.hard_packets);
	u->lft.hard_add_expires_seconds = sa->hard_s;
}

void xfrm_put_allocspi(union xfrm_msg *m, uint32_t seq, const struct xfrm_sa *sa, uint32_t lowest)
{
	struct nlmsghdr *h = begin(m, seq, XFRM_MSG_ALLOCSPI, 0);
	struct xfrm_userspi_info *u = mnl_nlmsg_put_extra_header(h, sizeof *u);

	fill_sa(&u->info, sa);
	u->min = lowest;
	u->max = UINT32_MAX;
}

/* An attribute that is a struct with bytes behind it. */
static void put_with(struct nlmsghdr *h, uint16_t type, const void *head, size_t head_len,
		     const void *rest, size_t rest_len)
{
	uint8_t v[sizeof(struct xfrm_algo_auth) + XFRM_WINDOW_MAX / 8];

	memcpy(v, head, head_len);
	memcpy(v + head_len, rest, rest_len);
	mnl_attr_put(h, type, head_len + rest_len, v);
	wipe(v, head_len + rest_len);
}

/* AEADs: the salt follows the key, as in our key material. */
static void put_aead(struct nlmsghdr *h, const char *name, const uint8_t *key, size_t len)
{
	struct xfrm_algo_aead a = {.alg_key_len = (unsigned)len * 8, .alg_icv_len = 128};

	snprintf(a.alg_name, sizeof a.alg_name, "%s", name);
	put_with(h, XFRMA_ALG_AEAD, &a, sizeof a, key, len);
}

static void put_cipher(struct nlmsghdr *h, const char *name, const uint8_t *key, size_t len)
{
	struct xfrm_algo a = {.alg_key_len = (unsigned)len * 8};

	snprintf(a.alg_name, sizeof a.alg_name, "%s", name);
	put_with(h, XFRMA_ALG_CRYPT, &a, sizeof a, key, len);
}

/* With the length of the ICV: XFRMA_ALG_AUTH truncates SHA-256 to 96 bits, against RFC 4868. */
static void put_auth(struct nlmsghdr *h, const char *name, const uint8_t *key, size_t len,
		     size_t icv)
{
	struct xfrm_algo_auth a = {.alg_key_len = (unsigned)len * 8,
				   .alg_trunc_len = (unsigned)icv * 8};

	snprintf(a.alg_name, sizeof a.alg_name, "%s", name);
	put_with(h, XFRMA_ALG_AUTH_TRUNC, &a, sizeof a, key, len);
}

static void put_keys(struct nlmsghdr *h, const struct sa_keys *k)
{
	const struct suite_info *s = suite_info(k->suite);
	size_t len;
	const uint8_t *key = secret_bytes(&k->key, &len);

	switch (s->kind) {
	case SUITE_GCM:
		put_aead(h, "rfc4106(gcm(aes))", key, len);
		break;
	case SUITE_GMAC:
		put_aead(h, "rfc4543(gcm(aes))", key, len);
		break;
	case SUITE_CBC:
		put_auth(h, s->mac_key_len == 20 ? "hmac(sha1)" : "hmac(sha256)",
			 key + s->enc_key_len, s->mac_key_len, s->icv_len);
		put_cipher(h, "cbc(aes)", key, s->enc_key_len);
		break;
	}
}

/* An outbound SA has no window. 1 is accepted by every kernel: before 6.10, ESN with 0 is refused; since
 * then, 0 requires XFRMA_SA_DIR. */
static void put_replay(struct nlmsghdr *h, const struct sa_keys *k, bool inbound)
{
	static const uint8_t none[XFRM_WINDOW_MAX / 8];
	struct xfrm_replay_state_esn r = {.replay_window = inbound ? k->window : 1};

	if (!inbound && !k->esn)
		return;
	if (r.replay_window > XFRM_WINDOW_MAX)
		r.replay_window = XFRM_WINDOW_MAX;
	r.bmp_len = (r.replay_window + 31) / 32;
	put_with(h, XFRMA_REPLAY_ESN_VAL, &r, sizeof r, none, r.bmp_len * sizeof r.bmp[0]);
}

static void put_encap(struct nlmsghdr *h, const struct xfrm_sa *sa)
{
	struct xfrm_encap_tmpl t = {.encap_type = UDP_ENCAP_ESPINUDP,
				    .encap_sport = htons(sa->from_port),
				    .encap_dport = htons(sa->to_port)};

	if (sa->to_port != 0)
		mnl_attr_put(h, XFRMA_ENCAP, sizeof t, &t);
}

void xfrm_put_sa(union xfrm_msg *m, uint32_t seq, uint16_t type, const struct xfrm_sa *sa,
		 const struct sa_keys *k, bool inbound)
{
	struct nlmsghdr *h = begin(m, seq, type, NLM_F_ACK);
	struct xfrm_usersa_info *u = mnl_nlmsg_put_extra_header(h, sizeof *u);

	fill_sa(u, sa);
	u->sel.family = u->family;
	if (k->esn)
		u->flags |= XFRM_STATE_ESN;
	put_keys(h, k);
	put_replay(h, k, inbound);
	put_encap(h, sa);
}

void xfrm_put_sa_id(union xfrm_msg *m, uint32_t seq, uint16_t type, const struct xfrm_sa *sa)
{
	struct nlmsghdr *h = begin(m, seq, type, type == XFRM_MSG_DELSA ? NLM_F_ACK : 0);
	struct xfrm_usersa_id *u = mnl_nlmsg_put_extra_header(h, sizeof *u);

	u->family = family_of(&sa->dst);
	put_addr(&u->daddr, &sa->dst);
	u->spi = htonl(sa->spi.n);
	u->proto = IPPROTO_ESP;
}

void xfrm_put_dump_sas(union xfrm_msg *m, uint32_t seq, const struct addr *src,
		       const struct addr *dst)
{
	struct nlmsghdr *h = begin(m, seq, XFRM_MSG_GETSA, NLM_F_DUMP);
	struct xfrm_address_filter f = {0};

	if (src != NULL && dst != NULL) {
		f.family = family_of(dst);
		f.splen = (uint8_t)(src->len * 8);
		f.dplen = (uint8_t)(dst->len * 8);
		put_addr(&f.saddr, src);
		put_addr(&f.daddr, dst);
		mnl_attr_put(h, XFRMA_ADDRESS_FILTER, sizeof f, &f);
	}
	mnl_attr_put_u8(h, XFRMA_PROTO, IPPROTO_ESP);
}

static bool is_algorithm(uint16_t attr)
{
	return attr == XFRMA_ALG_AEAD || attr == XFRMA_ALG_CRYPT || attr == XFRMA_ALG_AUTH ||
	       attr == XFRMA_ALG_AUTH_TRUNC;
}

static void read_sa(const struct xfrm_usersa_info *u, struct xfrm_sa *sa)
{
	get_addr(&sa->src, &u->saddr, u->family);
	get_addr(&sa->dst, &u->id.daddr, u->family);
	sa->spi.n = ntohl(u->id.spi);
	sa->reqid = u->reqid;
	sa->seq = u->seq;
	sa->tunnel = u->mode == XFRM_MODE_TUNNEL;
	sa->limits.soft_bytes = no_limit(u->lft.soft_byte_limit);
	sa->limits.hard_bytes = no_limit(u->lft.hard_byte_limit);
	sa->limits.soft_packets = no_limit(u->lft.soft_packet_limit);
	sa->limits.hard_packets = no_limit(u->lft.hard_packet_limit);
	sa->hard_s = u->lft.hard_add_expires_seconds;
	sa->bytes = u->curlft.bytes;
	sa->packets = u->curlft.packets;
	sa->added_s = u->curlft.add_time;
	sa->replay_dropped = (uint64_t)u->stats.replay + u->stats.replay_window;
	sa->integrity_failed = u->stats.integrity_failed;
}

bool xfrm_get_sa(const struct nlmsghdr *h, struct xfrm_sa *sa)
{
	const struct xfrm_usersa_info *u = NULL;
	const struct xfrm_encap_tmpl *encap = NULL;
	const struct nlattr *a;
	size_t head;

	memset(sa, 0, sizeof *sa);
	switch (h->nlmsg_type) {
	case XFRM_MSG_NEWSA:
	case XFRM_MSG_UPDSA:
		head = sizeof *u;
		break;
	case XFRM_MSG_DELSA: /* the SA itself comes as an attribute */
		head = sizeof(struct xfrm_usersa_id);
		break;
	case XFRM_MSG_EXPIRE:
		head = sizeof(struct xfrm_user_expire);
		break;
	default:
		return false;
	}
	if (mnl_nlmsg_get_payload_len(h) < head)
		return false;
	if (h->nlmsg_type != XFRM_MSG_DELSA)
		u = mnl_nlmsg_get_payload(h); /* an expiry begins with the SA */
	if (h->nlmsg_type == XFRM_MSG_EXPIRE)
		sa->expired = ((const struct xfrm_user_expire *)mnl_nlmsg_get_payload(h))->hard !=
			      0;
	for (a = first_attr(h, head); attr_ok(h, a); a = mnl_attr_next(a)) {
		if (mnl_attr_get_type(a) == XFRMA_SA && mnl_attr_get_payload_len(a) >= sizeof *u)
			u = mnl_attr_get_payload(a);
		if (is_algorithm(mnl_attr_get_type(a)))
			sa->has_key = true;
		if (mnl_attr_get_type(a) == XFRMA_ENCAP &&
		    mnl_attr_get_payload_len(a) >= sizeof(struct xfrm_encap_tmpl))
			encap = mnl_attr_get_payload(a);
	}
	if (u == NULL)
		return false;
	read_sa(u, sa);
	if (encap != NULL) {
		sa->from_port = ntohs(encap->encap_sport);
		sa->to_port = ntohs(encap->encap_dport);
	}
	return u->id.proto == IPPROTO_ESP;
}

/* ---- policies ---------------------------------------------------------------------------- */

static void fill_selector(struct xfrm_selector *s, const struct xfrm_rule *r)
{
	s->family = family_of(&r->dst);
	put_addr(&s->saddr, &r->src);
	put_addr(&s->daddr, &r->dst);
	s->prefixlen_s = s->prefixlen_d = (uint8_t)(r->dst.len * 8);
	s->proto = r->proto;
	if (r->has_sport) {
		s->sport = htons(r->sport);
		s->sport_mask = UINT16_MAX;
	}
	if (r->has_dport) {
		s->dport = htons(r->dport);
		s->dport_mask = UINT16_MAX;
	}
}

static void put_template(struct nlmsghdr *h, const struct xfrm_rule *r)
{
	struct xfrm_user_tmpl t = {
		.id.proto = IPPROTO_ESP,
		.id.spi = htonl(r->pin.n),
		.family = family_of(&r->dst),
		.reqid = r->reqid,
		.mode = r->tunnel ? XFRM_MODE_TUNNEL : XFRM_MODE_TRANSPORT,
		.optional = r->optional,
		.aalgos = UINT32_MAX, /* masks of PF_KEY, which cannot express AEADs */
		.ealgos = UINT32_MAX,
		.calgos = UINT32_MAX,
	};

	if (r->tunnel) {
		put_addr(&t.saddr, &r->src);
		put_addr(&t.id.daddr, &r->dst);
	}
	mnl_attr_put(h, XFRMA_TMPL, sizeof t, &t);
}

static void fill_no_limits(struct xfrm_lifetime_cfg *l)
{
	l->soft_byte_limit = l->hard_byte_limit = XFRM_INF;
	l->soft_packet_limit = l->hard_packet_limit = XFRM_INF;
}

void xfrm_put_rule(union xfrm_msg *m, uint32_t seq, uint16_t type, const struct xfrm_rule *r)
{
	struct nlmsghdr *h = begin(m, seq, type, NLM_F_ACK);
	struct xfrm_userpolicy_info *p = mnl_nlmsg_put_extra_header(h, sizeof *p);

	fill_selector(&p->sel, r);
	fill_no_limits(&p->lft);
	p->priority = r->priority;
	p->index = r->index;
	p->dir = r->dir;
	p->action = XFRM_POLICY_ALLOW;
	if (r->protects)
		put_template(h, r);
}

void xfrm_put_rule_id(union xfrm_msg *m, uint32_t seq, uint16_t type, const struct xfrm_rule *r)
{
	struct nlmsghdr *h = begin(m, seq, type, type == XFRM_MSG_DELPOLICY ? NLM_F_ACK : 0);
	struct xfrm_userpolicy_id *p = mnl_nlmsg_put_extra_header(h, sizeof *p);

	fill_selector(&p->sel, r);
	p->dir = r->dir;
}

void xfrm_put_dump_rules(union xfrm_msg *m, uint32_t seq)
{
	begin(m, seq, XFRM_MSG_GETPOLICY, NLM_F_DUMP);
}

void xfrm_fill_bypass(struct xfrm_userpolicy_info *p, bool ipv6, uint8_t dir)
{
	memset(p, 0, sizeof *p);
	p->sel.family = ipv6 ? AF_INET6 : AF_INET;
	fill_no_limits(&p->lft);
	p->dir = dir;
	p->action = XFRM_POLICY_ALLOW;
}

static void read_rule(const struct xfrm_userpolicy_info *p, struct xfrm_rule *r)
{
	get_addr(&r->src, &p->sel.saddr, p->sel.family);
	get_addr(&r->dst, &p->sel.daddr, p->sel.family);
	r->dir = p->dir;
	r->proto = p->sel.proto;
	r->has_sport = p->sel.sport_mask != 0;
	r->has_dport = p->sel.dport_mask != 0;
	r->sport = ntohs(p->sel.sport);
	r->dport = ntohs(p->sel.dport);
	r->index = p->index;
	r->priority = p->priority;
	r->allows = p->action == XFRM_POLICY_ALLOW;
}

bool xfrm_get_rule(const struct nlmsghdr *h, struct xfrm_rule *r)
{
	const struct xfrm_userpolicy_info *p = NULL;
	const struct nlattr *a;
	size_t head;

	memset(r, 0, sizeof *r);
	switch (h->nlmsg_type) {
	case XFRM_MSG_NEWPOLICY:
	case XFRM_MSG_UPDPOLICY:
		head = sizeof *p;
		break;
	case XFRM_MSG_DELPOLICY: /* the policy itself comes as an attribute */
		head = sizeof(struct xfrm_userpolicy_id);
		break;
	case XFRM_MSG_ACQUIRE:
		head = sizeof(struct xfrm_user_acquire);
		break;
	default:
		return false;
	}
	if (mnl_nlmsg_get_payload_len(h) < head)
		return false;
	if (h->nlmsg_type == XFRM_MSG_ACQUIRE)
		p = &((const struct xfrm_user_acquire *)mnl_nlmsg_get_payload(h))->policy;
	else if (h->nlmsg_type != XFRM_MSG_DELPOLICY)
		p = mnl_nlmsg_get_payload(h);
	for (a = first_attr(h, head); attr_ok(h, a); a = mnl_attr_next(a)) {
		const struct xfrm_user_tmpl *t = mnl_attr_get_payload(a);

		if (mnl_attr_get_type(a) == XFRMA_POLICY &&
		    mnl_attr_get_payload_len(a) >= sizeof *p)
			p = mnl_attr_get_payload(a);
		if (mnl_attr_get_type(a) != XFRMA_TMPL || mnl_attr_get_payload_len(a) < sizeof *t)
			continue;
		r->protects = t->id.proto == IPPROTO_ESP;
		r->optional = t->optional != 0;
		r->tunnel = t->mode == XFRM_MODE_TUNNEL;
		r->reqid = t->reqid;
		r->pin.n = ntohl(t->id.spi);
	}
	if (p == NULL)
		return false;
	read_rule(p, r);
	return true;
}

bool xfrm_rule_same_selector(const struct xfrm_rule *a, const struct xfrm_rule *b)
{
	return a->dir == b->dir && a->proto == b->proto && a->has_sport == b->has_sport &&
	       a->has_dport == b->has_dport && a->sport == b->sport && a->dport == b->dport &&
	       addr_equal(&a->src, &b->src) && addr_equal(&a->dst, &b->dst);
}

/* ---- errors ------------------------------------------------------------------------------ */

bool xfrm_get_error(const struct nlmsghdr *h, int *os, char *text, size_t size)
{
	const struct nlmsgerr *err;
	const struct nlattr *a;
	size_t head = sizeof *err;

	text[0] = '\0';
	if (h->nlmsg_type != NLMSG_ERROR || mnl_nlmsg_get_payload_len(h) < sizeof *err)
		return false;
	err = mnl_nlmsg_get_payload(h);
	*os = -err->error;
	if ((h->nlmsg_flags & NLM_F_ACK_TLVS) == 0)
		return true;
	if ((h->nlmsg_flags & NLM_F_CAPPED) == 0)
		head += err->msg.nlmsg_len - sizeof err->msg; /* the whole request comes back */
	if (head > mnl_nlmsg_get_payload_len(h))
		return true;
	for (a = first_attr(h, head); attr_ok(h, a); a = mnl_attr_next(a))
		if (mnl_attr_get_type(a) == NLMSGERR_ATTR_MSG &&
		    mnl_attr_validate(a, MNL_TYPE_NUL_STRING) >= 0)
			snprintf(text, size, "%s", mnl_attr_get_str(a));
	return true;
}
