/*
 * agent/privsep/record.c - requests to the helper and its answers as bytes: a table of fields each.
 */
#include "agent/privsep/record.h"

#include <stddef.h>
#include <string.h>

enum kind { UINT, TEXT, ADDR, SUITES, KEY };

/* One member of a struct. Numbers are in the host's byte order: both ends are on one host. */
struct field {
	enum kind kind;
	size_t off, size;
	unsigned end; /* UINT: the value is below it; 0: any value */
};

#define FIELD(kind, s, member, end)                                                       \
	{                                                                                 \
		kind, offsetof(struct s, member), sizeof(((struct s *)NULL)->member), end \
	}
#define POLICY(kind, member, end) FIELD(kind, policy, member, end)
#define SA(kind, member, end) FIELD(kind, privsep_sa, member, end)
#define REQUEST(kind, member, end) FIELD(kind, privsep_request, member, end)
#define ANSWER(kind, member, end) FIELD(kind, privsep_answer, member, end)
#define PART_END (IPSEC_BOTH + 1)

static const struct field policy_fields[] = {
	POLICY(TEXT, peer, 0),
	POLICY(ADDR, local, 0),
	POLICY(ADDR, remote, 0),
	POLICY(UINT, control_port, 0),
	POLICY(UINT, peer_port, 0),
	POLICY(UINT, local_esp_port, 0),
	POLICY(UINT, remote_esp_port, 0),
	POLICY(UINT, opt.mode, MODE_PERMISSIVE + 1),
	POLICY(UINT, opt.encap, ENCAP_TUNNEL + 1),
	POLICY(UINT, opt.start, START_SEAMLESS + 1),
	POLICY(UINT, opt.udp, 2),
	POLICY(UINT, opt.protects, PROTECT_MAX + 1),
	POLICY(UINT, opt.exempts, PROTECT_MAX + 1),
#define SELECTORS(i) POLICY(TEXT, opt.protect[i], 0), POLICY(TEXT, opt.exempt[i], 0)
	SELECTORS(0),
	SELECTORS(1),
	SELECTORS(2),
	SELECTORS(3),
	SELECTORS(4),
	SELECTORS(5),
	SELECTORS(6),
	SELECTORS(7),
};
_Static_assert(PROTECT_MAX == 8, "a row of SELECTORS() for each");

static const struct field sa_fields[] = {
	SA(UINT, keys.spi.n, 0),        SA(UINT, keys.suite, SUITE_COUNT),
	SA(UINT, keys.esn, 2),          SA(UINT, keys.lifetime_s, 0),
	SA(UINT, keys.window, 0),       SA(UINT, keys.epoch, 0),
	SA(UINT, limits.soft_bytes, 0), SA(UINT, limits.soft_packets, 0),
	SA(UINT, limits.hard_bytes, 0), SA(UINT, limits.hard_packets, 0),
	SA(KEY, keys.key, 0),
};

static const struct field policy_number[] = {REQUEST(UINT, policy, 0)};
static const struct field ctx_number[] = {REQUEST(UINT, ctx, 0)};
static const struct field part_field[] = {REQUEST(UINT, part, PART_END)};
static const struct field ipv6_field[] = {REQUEST(UINT, ipv6, 2)};

static const struct field answer_fields[] = {
	ANSWER(UINT, code, ERR_COUNT),
	ANSWER(UINT, unknown, 2),
	ANSWER(UINT, os, 0),
	ANSWER(UINT, policy, 0),
	ANSWER(UINT, ctx, 0),
	ANSWER(UINT, part, PART_END),
	ANSWER(UINT, spi.n, 0),
	ANSWER(ADDR, local, 0),
	ANSWER(ADDR, remote, 0),
	ANSWER(UINT, left_s, 0),
	ANSWER(UINT, kind, IPSEC_EV_LOST + 1),
	ANSWER(UINT, reason, 0),
	ANSWER(UINT, counts.known, 0),
	ANSWER(UINT, counts.packets, 0),
	ANSWER(UINT, counts.bytes, 0),
	ANSWER(UINT, counts.replay_dropped, 0),
	ANSWER(UINT, counts.integrity_failed, 0),
	ANSWER(UINT, can.esn, 2),
	ANSWER(UINT, can.tunnel, 2),
	ANSWER(UINT, can.udp, 2),
	ANSWER(UINT, can.seamless, 2),
	ANSWER(UINT, can.permissive, 2),
	ANSWER(UINT, can.counts, 2),
	ANSWER(UINT, can.survives, 2),
	ANSWER(UINT, can.selectors, 2),
	ANSWER(UINT, can.window_max, 0),
	ANSWER(UINT, can.lifetime_max_s, 0),
	ANSWER(SUITES, can.suites, 0),
	ANSWER(TEXT, cause, 0),
	ANSWER(TEXT, hint, 0),
};

/* A part of a record: fields of the struct that starts at off. */
struct group {
	unsigned has;
	size_t off, n;
	const struct field *fields;
};
#define GROUP(has, off, fields)                                    \
	{                                                          \
		has, off, sizeof fields / sizeof fields[0], fields \
	}

static const struct group request_groups[] = {
	GROUP(PRIVSEP_HAS_ADD, offsetof(struct privsep_request, add), policy_fields),
	GROUP(PRIVSEP_HAS_POLICY, 0, policy_number),
	GROUP(PRIVSEP_HAS_CTX, 0, ctx_number),
	GROUP(PRIVSEP_HAS_PART, 0, part_field),
	GROUP(PRIVSEP_HAS_IN, offsetof(struct privsep_request, in), sa_fields),
	GROUP(PRIVSEP_HAS_OUT, offsetof(struct privsep_request, out), sa_fields),
	GROUP(PRIVSEP_HAS_IPV6, 0, ipv6_field),
};
#define GROUPS (sizeof request_groups / sizeof request_groups[0])
static const struct group answer_group = GROUP(0, 0, answer_fields);

unsigned privsep_has(unsigned op)
{
	static const uint8_t has[PRIVSEP_OPS] = {
#define HAS(name, fn, fields, condition) [PRIVSEP_##name] = (fields),
		PRIVSEP_REQUESTS(HAS)
#undef HAS
	};

	return op < PRIVSEP_OPS ? has[op] : 0;
}

/* ---- one field --------------------------------------------------------------------------- */

static size_t size_of(const struct field *f)
{
	return f->kind == KEY ? 1 + SECRET_MAX : f->size;
}

static void put_field(uint8_t *at, const void *member, const struct field *f)
{
	const struct addr *a = member;
	const uint8_t *key;
	size_t n;

	switch (f->kind) {
	case UINT:
	case SUITES:
		memcpy(at, member, f->size);
		break;
	case TEXT:
		memcpy(at, member, strnlen(member, f->size - 1));
		break;
	case ADDR:
		*at = a->len;
		memcpy(at + 1, a->bytes, a->len);
		break;
	case KEY:
		key = secret_bytes(member, &n);
		*at = (uint8_t)n;
		memcpy(at + 1, key, n);
		break;
	}
}

/* Members with a limit have 1 or 4 bytes. */
static bool is_below(const uint8_t *at, const struct field *f)
{
	uint32_t n = *at;

	if (f->size == sizeof n)
		memcpy(&n, at, sizeof n);
	return f->end == 0 || n < f->end;
}

static bool get_suites(struct suite_list *l, const uint8_t *at)
{
	if (*at > SUITE_COUNT)
		return false;
	for (size_t i = 1; i <= *at; i++)
		if (at[i] >= SUITE_COUNT || !suite_list_add(l, (enum suite)at[i]))
			return false;
	return true;
}

/* False: not a value of this field. Texts may end up in a log, so they must be printable. */
static bool get_field(void *member, const uint8_t *at, const struct field *f)
{
	struct addr *a = member;
	size_t n = *at;

	switch (f->kind) {
	case UINT:
		if (!is_below(at, f))
			return false;
		memcpy(member, at, f->size);
		return true;
	case SUITES:
		return get_suites(member, at);
	case TEXT:
		n = strnlen((const char *)at, f->size);
		if (n == f->size || !text_printable((const char *)at, n))
			return false;
		memcpy(member, at, n);
		return true;
	case ADDR:
		if (n != 0 && n != 4 && n != 16)
			return false;
		a->len = (uint8_t)n;
		memcpy(a->bytes, at + 1, n);
		return true;
	case KEY:
		return n <= SECRET_MAX && secret_set(member, at + 1, n);
	}
	return false;
}

/* Returns where the next group starts. */
static uint8_t *put_group(uint8_t *at, const void *base, const struct group *g)
{
	for (const struct field *f = g->fields; f < g->fields + g->n; at += size_of(f++))
		put_field(at, (const uint8_t *)base + g->off + f->off, f);
	return at;
}

/* Likewise; NULL for a bad value, and the fields behind it stay 0. */
static const uint8_t *get_group(const uint8_t *at, void *base, const struct group *g)
{
	for (const struct field *f = g->fields; f < g->fields + g->n; at += size_of(f++))
		if (!get_field((uint8_t *)base + g->off + f->off, at, f))
			return NULL;
	return at;
}

/* ---- records ----------------------------------------------------------------------------- */

/* Version, number of the request, sequence number. */
#define HEAD 6

static void put_head(uint8_t out[PRIVSEP_LEN], enum privsep_op op, uint32_t seq)
{
	memset(out, 0, PRIVSEP_LEN);
	out[0] = PRIVSEP_VERSION;
	out[1] = (uint8_t)op;
	memcpy(out + 2, &seq, sizeof seq);
}

static int get_head(const uint8_t *in, size_t n, uint32_t *seq, struct err *e)
{
	if (n != PRIVSEP_LEN)
		return err_set(e, ERR_BUG, "a record of %zu bytes, not %d", n, PRIVSEP_LEN);
	if (in[0] != PRIVSEP_VERSION)
		return err_set(e, ERR_BUG, "version %u, not %d", (unsigned)in[0], PRIVSEP_VERSION);
	memcpy(seq, in + 2, sizeof *seq);
	return 0;
}

void privsep_put_request(uint8_t out[PRIVSEP_LEN], const struct privsep_request *r)
{
	const unsigned has = privsep_has((unsigned)r->op);
	uint8_t *at = out + HEAD;

	put_head(out, r->op, r->seq);
	for (size_t i = 0; i < GROUPS; i++)
		if ((has & request_groups[i].has) != 0)
			at = put_group(at, r, &request_groups[i]);
}

static size_t key_len(const struct privsep_sa *sa, unsigned has)
{
	return has != 0 ? suite_key_len(sa->keys.suite) : 0;
}

static bool get_fields(struct privsep_request *r, const uint8_t *at, unsigned has)
{
	for (size_t i = 0; at != NULL && i < GROUPS; i++)
		if ((has & request_groups[i].has) != 0)
			at = get_group(at, r, &request_groups[i]);
	return at != NULL && secret_len(&r->in.keys.key) == key_len(&r->in, has & PRIVSEP_HAS_IN) &&
	       secret_len(&r->out.keys.key) == key_len(&r->out, has & PRIVSEP_HAS_OUT);
}

int privsep_get_request(struct privsep_request *r, const uint8_t *in, size_t n, struct err *e)
{
	uint8_t again[PRIVSEP_LEN];
	bool ok;

	memset(r, 0, sizeof *r);
	if (get_head(in, n, &r->seq, e) < 0)
		return -1;
	if (in[1] <= PRIVSEP_READY || in[1] >= PRIVSEP_EVENT)
		return err_set(e, ERR_BUG, "no request of number %u", (unsigned)in[1]);
	r->op = (enum privsep_op)in[1];
	ok = get_fields(r, in + HEAD, privsep_has(in[1]));
	if (ok) { /* bytes that were not read must be zero */
		privsep_put_request(again, r);
		ok = bytes_equal(again, in, PRIVSEP_LEN);
		wipe(again, sizeof again);
	}
	if (ok)
		return 0;
	wipe(r, sizeof *r);
	return err_set(e, ERR_BUG, "a request of kind %u is malformed", (unsigned)in[1]);
}

void privsep_put_answer(uint8_t out[PRIVSEP_LEN], const struct privsep_answer *a)
{
	put_head(out, a->op, a->seq);
	put_group(out + HEAD, a, &answer_group);
}

int privsep_get_answer(struct privsep_answer *a, const uint8_t *in, size_t n, struct err *e)
{
	uint8_t again[PRIVSEP_LEN];

	memset(a, 0, sizeof *a);
	if (get_head(in, n, &a->seq, e) < 0)
		return -1;
	if (in[1] == 0 || in[1] >= PRIVSEP_OPS)
		return err_set(e, ERR_BUG, "no answer of number %u", (unsigned)in[1]);
	a->op = (enum privsep_op)in[1];
	if (get_group(in + HEAD, a, &answer_group) != NULL) {
		privsep_put_answer(again, a);
		if (memcmp(again, in, PRIVSEP_LEN) == 0)
			return 0;
	}
	memset(a, 0, sizeof *a);
	return err_set(e, ERR_BUG, "an answer of kind %u is malformed", (unsigned)in[1]);
}
