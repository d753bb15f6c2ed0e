/*
 * agent/privsep/record.c - requests to the helper and its answers as bytes.
 */
#include "agent/privsep/record.h"

#include <string.h>

/* Where the next field goes, or comes from. A bad field makes the whole record bad. */
struct put {
	uint8_t *at;
};
struct get {
	const uint8_t *at;
	bool bad;
};

static void put_uint(struct put *p, uint64_t v, unsigned bytes)
{
	for (unsigned i = bytes; i-- > 0;)
		*p->at++ = (uint8_t)(v >> 8 * i);
}

static uint64_t get_uint(struct get *g, unsigned bytes)
{
	uint64_t v = 0;

	while (bytes-- > 0)
		v = v << 8 | *g->at++;
	return v;
}

static uint8_t get_u8(struct get *g)
{
	return (uint8_t)get_uint(g, 1);
}

static uint16_t get_u16(struct get *g)
{
	return (uint16_t)get_uint(g, 2);
}

static uint32_t get_u32(struct get *g)
{
	return (uint32_t)get_uint(g, 4);
}

static uint8_t get_below(struct get *g, unsigned end)
{
	uint8_t v = get_u8(g);

	g->bad = g->bad || v >= end;
	return v < end ? v : 0;
}

static bool get_bool(struct get *g)
{
	return get_below(g, 2) != 0;
}

static void put_text(struct put *p, const char *text, size_t size)
{
	size_t n = strnlen(text, size - 1);

	memcpy(p->at, text, n);
	p->at += size;
}

/* What comes from the other process may end in a log. */
static void get_text(struct get *g, char *text, size_t size)
{
	size_t n = strnlen((const char *)g->at, size);

	if (n < size && text_printable((const char *)g->at, n))
		memcpy(text, g->at, n);
	else
		g->bad = true;
	g->at += size;
}

static void put_addr(struct put *p, const struct addr *a)
{
	put_uint(p, a->len, 1);
	memcpy(p->at, a->bytes, a->len);
	p->at += sizeof a->bytes;
}

static void get_addr(struct get *g, struct addr *a)
{
	a->len = get_u8(g);
	if (a->len != 0 && a->len != 4 && a->len != 16) {
		g->bad = true;
		a->len = 0;
	}
	memcpy(a->bytes, g->at, a->len);
	g->at += sizeof a->bytes;
}

static void put_policy(struct put *p, const struct privsep_policy *a)
{
	put_text(p, a->peer, sizeof a->peer);
	put_addr(p, &a->local);
	put_addr(p, &a->remote);
	put_uint(p, a->control_port, 2);
	put_uint(p, a->peer_port, 2);
	put_uint(p, a->local_esp_port, 2);
	put_uint(p, a->remote_esp_port, 2);
	put_uint(p, a->mode, 1);
	put_uint(p, a->encap, 1);
	put_uint(p, a->start, 1);
	put_uint(p, a->udp, 1);
	put_uint(p, a->protects, 1);
	put_uint(p, a->exempts, 1);
	for (size_t i = 0; i < a->protects; i++)
		put_text(p, a->protect[i], PROTECT_TEXT);
	for (size_t i = 0; i < a->exempts; i++)
		put_text(p, a->exempt[i], PROTECT_TEXT);
}

static void get_policy(struct get *g, struct privsep_policy *a)
{
	get_text(g, a->peer, sizeof a->peer);
	get_addr(g, &a->local);
	get_addr(g, &a->remote);
	a->control_port = get_u16(g);
	a->peer_port = get_u16(g);
	a->local_esp_port = get_u16(g);
	a->remote_esp_port = get_u16(g);
	a->mode = get_below(g, MODE_PERMISSIVE + 1);
	a->encap = get_below(g, ENCAP_TUNNEL + 1);
	a->start = get_below(g, CONFIG_START_SEAMLESS + 1);
	a->udp = get_bool(g);
	a->protects = get_below(g, PROTECT_MAX + 1);
	a->exempts = get_below(g, PROTECT_MAX + 1);
	for (size_t i = 0; i < a->protects; i++)
		get_text(g, a->protect[i], PROTECT_TEXT);
	for (size_t i = 0; i < a->exempts; i++)
		get_text(g, a->exempt[i], PROTECT_TEXT);
}

static void put_sa(struct put *p, const struct privsep_sa *sa)
{
	const struct sa_keys *k = &sa->keys;
	size_t n;
	const uint8_t *key = secret_bytes(&k->key, &n);

	put_uint(p, k->spi.n, 4);
	put_uint(p, (unsigned)k->suite, 1);
	put_uint(p, k->esn, 1);
	put_uint(p, k->lifetime_s, 4);
	put_uint(p, k->window, 4);
	put_uint(p, k->epoch, 8);
	put_uint(p, sa->soft_bytes, 8);
	put_uint(p, sa->soft_packets, 8);
	put_uint(p, sa->hard_bytes, 8);
	put_uint(p, sa->hard_packets, 8);
	put_uint(p, n, 1);
	memcpy(p->at, key, n);
	p->at += SECRET_MAX;
}

static void get_sa(struct get *g, struct privsep_sa *sa)
{
	struct sa_keys *k = &sa->keys;
	size_t n;

	k->spi.n = get_u32(g);
	k->suite = (enum suite)get_below(g, SUITE_COUNT);
	k->esn = get_bool(g);
	k->lifetime_s = get_u32(g);
	k->window = get_u32(g);
	k->epoch = get_uint(g, 8);
	sa->soft_bytes = get_uint(g, 8);
	sa->soft_packets = get_uint(g, 8);
	sa->hard_bytes = get_uint(g, 8);
	sa->hard_packets = get_uint(g, 8);
	n = get_u8(g);
	if (n != suite_key_len(k->suite) || !secret_set(&k->key, g->at, n))
		g->bad = true;
	g->at += SECRET_MAX;
}

void privsep_put_request(uint8_t out[PRIVSEP_LEN], const struct privsep_request *r)
{
	struct put p = {out};

	memset(out, 0, PRIVSEP_LEN);
	put_uint(&p, PRIVSEP_VERSION, 1);
	put_uint(&p, (unsigned)r->op, 1);
	put_uint(&p, r->seq, 4);
	switch (r->op) {
	case PRIVSEP_POLICY_ADD:
		put_policy(&p, &r->add);
		break;
	case PRIVSEP_POLICY_REMOVE:
	case PRIVSEP_RESERVE:
		put_uint(&p, r->policy, 4);
		break;
	case PRIVSEP_INSTALL:
		put_uint(&p, r->ctx, 8);
		put_sa(&p, &r->in);
		put_sa(&p, &r->out);
		break;
	case PRIVSEP_ACTIVATE:
		put_uint(&p, r->ctx, 8);
		put_sa(&p, &r->out);
		break;
	case PRIVSEP_REMOVE:
	case PRIVSEP_QUERY:
		put_uint(&p, r->ctx, 8);
		put_uint(&p, r->part, 1);
		break;
	case PRIVSEP_EXEMPT:
		put_uint(&p, r->ipv6, 1);
		break;
	default:
		break;
	}
}

/* The head, which both kinds of record share. */
static int get_head(struct get *g, size_t n, uint8_t *op, uint32_t *seq, struct err *e)
{
	uint8_t version;

	if (n != PRIVSEP_LEN)
		return err_set(e, ERR_BUG, "a record of %zu bytes, not %d", n, PRIVSEP_LEN);
	version = get_u8(g);
	*op = get_u8(g);
	*seq = get_u32(g);
	if (version != PRIVSEP_VERSION)
		return err_set(e, ERR_BUG, "version %u, not %d", (unsigned)version,
			       PRIVSEP_VERSION);
	return 0;
}

int privsep_get_request(struct privsep_request *r, const uint8_t *in, size_t n, struct err *e)
{
	uint8_t again[PRIVSEP_LEN], op;
	struct get g = {in, false};
	bool same;

	memset(r, 0, sizeof *r);
	if (get_head(&g, n, &op, &r->seq, e) < 0)
		return -1;
	r->op = (enum privsep_op)op;
	switch (op) {
	case PRIVSEP_POLICY_ADD:
		get_policy(&g, &r->add);
		break;
	case PRIVSEP_POLICY_REMOVE:
	case PRIVSEP_RESERVE:
		r->policy = get_u32(&g);
		break;
	case PRIVSEP_INSTALL:
		r->ctx = get_uint(&g, 8);
		get_sa(&g, &r->in);
		get_sa(&g, &r->out);
		break;
	case PRIVSEP_ACTIVATE:
		r->ctx = get_uint(&g, 8);
		get_sa(&g, &r->out);
		break;
	case PRIVSEP_REMOVE:
	case PRIVSEP_QUERY:
		r->ctx = get_uint(&g, 8);
		r->part = get_below(&g, (PRIVSEP_IN | PRIVSEP_OUT) + 1);
		break;
	case PRIVSEP_EXEMPT:
		r->ipv6 = get_bool(&g);
		break;
	case PRIVSEP_RECOVER:
	case PRIVSEP_RELOAD:
		break;
	default:
		return err_set(e, ERR_BUG, "no request of number %u", (unsigned)op);
	}
	/* What was not read must be zero, and what was read has one way to be written. */
	privsep_put_request(again, r);
	same = bytes_equal(again, in, PRIVSEP_LEN);
	wipe(again, sizeof again);
	if (!g.bad && same)
		return 0;
	wipe(r, sizeof *r);
	return err_set(e, ERR_BUG, "a request of kind %u is malformed", (unsigned)op);
}

void privsep_put_answer(uint8_t out[PRIVSEP_LEN], const struct privsep_answer *a)
{
	struct put p = {out};

	memset(out, 0, PRIVSEP_LEN);
	put_uint(&p, PRIVSEP_VERSION, 1);
	put_uint(&p, (unsigned)a->op, 1);
	put_uint(&p, a->seq, 4);
	put_uint(&p, (unsigned)a->code, 1);
	put_uint(&p, a->absent, 1);
	put_uint(&p, a->unknown, 1);
	put_uint(&p, a->os, 4);
	put_uint(&p, a->policy, 4);
	put_uint(&p, a->ctx, 8);
	put_uint(&p, a->part, 1);
	put_uint(&p, a->spi.n, 4);
	put_addr(&p, &a->local);
	put_addr(&p, &a->remote);
	put_uint(&p, a->left_s, 4);
	put_uint(&p, a->kind, 1);
	put_uint(&p, a->reason, 1);
	put_uint(&p, a->reasons, 4);
	put_uint(&p, a->known, 1);
	for (size_t i = 0; i < 4; i++)
		put_uint(&p, a->counts[i], 8);
	put_uint(&p, a->can, 4);
	put_uint(&p, a->window_max, 4);
	put_uint(&p, a->lifetime_max_s, 4);
	put_uint(&p, a->suites.n, 1);
	memcpy(p.at, a->suites.v, a->suites.n);
	p.at += SUITE_COUNT;
	put_text(&p, a->cause, sizeof a->cause);
	put_text(&p, a->hint, sizeof a->hint);
}

static void get_suites(struct get *g, struct suite_list *l)
{
	uint8_t n = get_below(g, SUITE_COUNT + 1);
	struct get each = *g;

	for (uint8_t i = 0; i < n; i++)
		if (!suite_list_add(l, (enum suite)get_below(&each, SUITE_COUNT)))
			g->bad = true;
	g->bad = g->bad || each.bad;
	g->at += SUITE_COUNT;
}

int privsep_get_answer(struct privsep_answer *a, const uint8_t *in, size_t n, struct err *e)
{
	uint8_t again[PRIVSEP_LEN], op;
	struct get g = {in, false};

	memset(a, 0, sizeof *a);
	if (get_head(&g, n, &op, &a->seq, e) < 0)
		return -1;
	if (op == 0 || op >= PRIVSEP_OPS)
		return err_set(e, ERR_BUG, "no answer of number %u", (unsigned)op);
	a->op = (enum privsep_op)op;
	a->code = (enum err_code)get_below(&g, ERR_COUNT);
	a->absent = get_bool(&g);
	a->unknown = get_bool(&g);
	a->os = get_u32(&g);
	a->policy = get_u32(&g);
	a->ctx = get_uint(&g, 8);
	a->part = get_below(&g, (PRIVSEP_IN | PRIVSEP_OUT) + 1);
	a->spi.n = get_u32(&g);
	get_addr(&g, &a->local);
	get_addr(&g, &a->remote);
	a->left_s = get_u32(&g);
	a->kind = get_u8(&g);
	a->reason = get_u8(&g);
	a->reasons = get_u32(&g);
	a->known = get_u8(&g);
	for (size_t i = 0; i < 4; i++)
		a->counts[i] = get_uint(&g, 8);
	a->can = get_u32(&g);
	a->window_max = get_u32(&g);
	a->lifetime_max_s = get_u32(&g);
	get_suites(&g, &a->suites);
	get_text(&g, a->cause, sizeof a->cause);
	get_text(&g, a->hint, sizeof a->hint);
	privsep_put_answer(again, a);
	if (!g.bad && memcmp(again, in, PRIVSEP_LEN) == 0)
		return 0;
	memset(a, 0, sizeof *a);
	return err_set(e, ERR_BUG, "an answer of kind %u is malformed", (unsigned)op);
}
