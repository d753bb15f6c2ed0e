/*
 * proto/apart.c - requests to the helper and its answers as bytes, and its judgement of them.
 */
#include "proto/apart.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- bytes ------------------------------------------------------------------------------- */

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

static void put_policy(struct put *p, const struct apart_policy *a)
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

static void get_policy(struct get *g, struct apart_policy *a)
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

static void put_sa(struct put *p, const struct apart_sa *sa)
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

static void get_sa(struct get *g, struct apart_sa *sa)
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

void apart_put_request(uint8_t out[APART_LEN], const struct apart_request *r)
{
	struct put p = {out};

	memset(out, 0, APART_LEN);
	put_uint(&p, APART_VERSION, 1);
	put_uint(&p, (unsigned)r->op, 1);
	put_uint(&p, r->seq, 4);
	switch (r->op) {
	case APART_POLICY_ADD:
		put_policy(&p, &r->add);
		break;
	case APART_POLICY_REMOVE:
	case APART_RESERVE:
		put_uint(&p, r->policy, 4);
		break;
	case APART_OPEN_PAIR:
		put_uint(&p, r->policy, 4);
		put_sa(&p, &r->sa);
		put_sa(&p, &r->out);
		break;
	case APART_ADD_INBOUND:
	case APART_ADD_OUTBOUND:
	case APART_ADD_BOTH:
		put_uint(&p, r->ctx, 8);
		put_sa(&p, &r->sa);
		if (r->op != APART_ADD_BOTH)
			break;
		put_sa(&p, &r->out);
		put_uint(&p, r->next, 1);
		break;
	case APART_REMOVE:
	case APART_QUERY:
		put_uint(&p, r->ctx, 8);
		put_uint(&p, r->part, 1);
		break;
	case APART_EXEMPT:
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

	if (n != APART_LEN)
		return err_set(e, ERR_BUG, "a record of %zu bytes, not %d", n, APART_LEN);
	version = get_u8(g);
	*op = get_u8(g);
	*seq = get_u32(g);
	if (version != APART_VERSION)
		return err_set(e, ERR_BUG, "version %u, not %d", (unsigned)version, APART_VERSION);
	return 0;
}

int apart_get_request(struct apart_request *r, const uint8_t *in, size_t n, struct err *e)
{
	uint8_t again[APART_LEN], op;
	struct get g = {in, false};
	bool same;

	memset(r, 0, sizeof *r);
	if (get_head(&g, n, &op, &r->seq, e) < 0)
		return -1;
	r->op = (enum apart_op)op;
	switch (op) {
	case APART_POLICY_ADD:
		get_policy(&g, &r->add);
		break;
	case APART_POLICY_REMOVE:
	case APART_RESERVE:
		r->policy = get_u32(&g);
		break;
	case APART_OPEN_PAIR:
		r->policy = get_u32(&g);
		get_sa(&g, &r->sa);
		get_sa(&g, &r->out);
		break;
	case APART_ADD_INBOUND:
	case APART_ADD_OUTBOUND:
	case APART_ADD_BOTH:
		r->ctx = get_uint(&g, 8);
		get_sa(&g, &r->sa);
		if (op != APART_ADD_BOTH)
			break;
		get_sa(&g, &r->out);
		r->next = get_bool(&g);
		break;
	case APART_REMOVE:
	case APART_QUERY:
		r->ctx = get_uint(&g, 8);
		r->part = get_below(&g, (APART_IN | APART_OUT) + 1);
		break;
	case APART_EXEMPT:
		r->ipv6 = get_bool(&g);
		break;
	case APART_LEFTOVER:
	case APART_RELOAD:
		break;
	default:
		return err_set(e, ERR_BUG, "no request of number %u", (unsigned)op);
	}
	/* What was not read must be zero, and what was read has one way to be written. */
	apart_put_request(again, r);
	same = bytes_equal(again, in, APART_LEN);
	wipe(again, sizeof again);
	if (!g.bad && same)
		return 0;
	wipe(r, sizeof *r);
	return err_set(e, ERR_BUG, "a request of kind %u is malformed", (unsigned)op);
}

void apart_put_answer(uint8_t out[APART_LEN], const struct apart_answer *a)
{
	struct put p = {out};

	memset(out, 0, APART_LEN);
	put_uint(&p, APART_VERSION, 1);
	put_uint(&p, (unsigned)a->op, 1);
	put_uint(&p, a->seq, 4);
	put_uint(&p, (unsigned)a->code, 1);
	put_uint(&p, a->absent, 1);
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

int apart_get_answer(struct apart_answer *a, const uint8_t *in, size_t n, struct err *e)
{
	uint8_t again[APART_LEN], op;
	struct get g = {in, false};

	memset(a, 0, sizeof *a);
	if (get_head(&g, n, &op, &a->seq, e) < 0)
		return -1;
	if (op == 0 || op >= APART_OPS)
		return err_set(e, ERR_BUG, "no answer of number %u", (unsigned)op);
	a->op = (enum apart_op)op;
	a->code = (enum err_code)get_below(&g, ERR_COUNT);
	a->absent = get_bool(&g);
	a->os = get_u32(&g);
	a->policy = get_u32(&g);
	a->ctx = get_uint(&g, 8);
	a->part = get_below(&g, (APART_IN | APART_OUT) + 1);
	a->spi.n = get_u32(&g);
	get_addr(&g, &a->local);
	get_addr(&g, &a->remote);
	a->left_s = get_u32(&g);
	a->kind = get_u8(&g);
	a->reason = get_u8(&g);
	a->known = get_u8(&g);
	for (size_t i = 0; i < 4; i++)
		a->counts[i] = get_uint(&g, 8);
	a->can = get_u32(&g);
	a->window_max = get_u32(&g);
	a->lifetime_max_s = get_u32(&g);
	get_suites(&g, &a->suites);
	get_text(&g, a->cause, sizeof a->cause);
	get_text(&g, a->hint, sizeof a->hint);
	apart_put_answer(again, a);
	if (!g.bad && memcmp(again, in, APART_LEN) == 0)
		return 0;
	memset(a, 0, sizeof *a);
	return err_set(e, ERR_BUG, "an answer of kind %u is malformed", (unsigned)op);
}

/* ---- what the config says ---------------------------------------------------------------- */

static void copy_policy(struct apart_policy *s, const struct config *c,
			const struct peer_config *pc)
{
	const struct peer_options *o = &pc->opt;

	memcpy(s->peer, pc->name, sizeof s->peer);
	s->remote = pc->remote.addr;
	s->local = pc->local;
	for (size_t i = 0; s->local.len == 0 && i < c->listens; i++)
		if (c->listen[i].addr.len == s->remote.len && !addr_is_any(&c->listen[i].addr))
			s->local = c->listen[i].addr;
	s->control_port = c->listens > 0 ? c->listen[0].port : PROTO_PORT;
	s->peer_port = pc->remote.port;
	s->local_esp_port = c->esp_port;
	s->remote_esp_port = pc->esp_port;
	s->mode = (uint8_t)o->mode;
	s->encap = (uint8_t)o->encap;
	s->start = (uint8_t)o->start;
	s->udp = o->udp;
	s->protects = o->protects;
	s->exempts = o->exempts;
	memcpy(s->protect, o->protect, sizeof s->protect);
	memcpy(s->exempt, o->exempt, sizeof s->exempt);
}

/* So many pairs an agent may have at once: new, current, held, and those that drain. */
static uint32_t pairs_max(const struct peer_options *o)
{
	const uint32_t drain_ms = o->drain_ms > o->switch_ms ? o->drain_ms : o->switch_ms;
	const uint32_t pace_ms = o->rekey_min_interval_ms;

	uint32_t drain = EXCHANGE_DRAIN_MAX + EXCHANGE_DRAIN_MORE;

	if (pace_ms > 0 && drain_ms / pace_ms < drain)
		drain = drain_ms / pace_ms + 1;
	return 4 + EXCHANGE_HELD_MAX + drain;
}

void apart_peer_of(struct apart_peer *p, const struct config *c, const struct peer_config *pc)
{
	const struct peer_options *o = &pc->opt;

	memset(p, 0, sizeof *p);
	copy_policy(&p->policy, c, pc);
	p->suites = o->suites;
	p->esn = o->esn;
	p->window = o->window;
	p->lifetime_s = o->hard_time_s != 0 ? o->hard_time_s : APART_LIFETIME_MAX_S;
	p->soft_bytes = o->rekey_bytes;
	p->soft_packets = o->rekey_packets;
	p->hard_bytes = o->hard_bytes;
	p->hard_packets = o->hard_packets;
	p->pairs_max = pairs_max(o);
}

/* In which field two policies differ, or NULL. No local address in want: another one decides. */
static const char *differs(const struct apart_policy *want, const struct apart_policy *is)
{
	if (!addr_equal(&want->remote, &is->remote))
		return "address";
	if (want->local.len != 0 && !addr_equal(&want->local, &is->local))
		return "own address";
	if (want->control_port != is->control_port || want->peer_port != is->peer_port ||
	    want->local_esp_port != is->local_esp_port ||
	    want->remote_esp_port != is->remote_esp_port)
		return "port";
	if (want->mode != is->mode)
		return "mode";
	if (want->encap != is->encap || want->udp != is->udp)
		return "encapsulation";
	if (want->start != is->start)
		return "start";
	if (want->protects != is->protects || want->exempts != is->exempts ||
	    memcmp(want->protect, is->protect, sizeof want->protect) != 0 ||
	    memcmp(want->exempt, is->exempt, sizeof want->exempt) != 0)
		return "selectors";
	return NULL;
}

static size_t peer_named(const struct apart_peer *peers, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(peers[i].policy.peer, name) == 0)
			return i;
	return APART_NO_PEER;
}

/* Where the peer of a policy that is in force stands in a new list. */
static size_t same_peer(const struct apart_book *b, const struct apart_held *h,
			const struct apart_peer *peers, size_t n)
{
	const size_t i = peer_named(peers, n, h->name);
	struct apart_policy is;

	if (h->peer == APART_NO_PEER || i == APART_NO_PEER)
		return APART_NO_PEER;
	is = b->peers[h->peer].policy;
	is.local = h->local;
	return differs(&peers[i].policy, &is) == NULL ? i : APART_NO_PEER;
}

int apart_book_config(struct apart_book *b, const struct config *c, struct err *e)
{
	struct apart_peer *peers = calloc(c->n_peers > 0 ? c->n_peers : 1, sizeof *peers);

	if (peers == NULL)
		return err_set(e, ERR_OS, "no memory for the peers of the config");
	for (size_t i = 0; i < c->n_peers; i++)
		apart_peer_of(&peers[i], c, &c->peers[i]);
	for (size_t i = 0; i < b->n_held; i++) {
		struct apart_held *h = &b->held[i];

		if (h->used)
			h->peer = same_peer(b, h, peers, c->n_peers);
		if (h->used && h->peer != APART_NO_PEER)
			peers[h->peer].held = true;
	}
	free(b->peers);
	b->peers = peers;
	b->n_peers = c->n_peers;
	return 0;
}

void apart_book_free(struct apart_book *b)
{
	for (size_t i = 0; i < b->n_held; i++)
		free(b->held[i].slots);
	free(b->held);
	free(b->peers);
	memset(b, 0, sizeof *b);
}

/* ---- the book ---------------------------------------------------------------------------- */

/* Number of a context: policy 24 bits, slot 20, turn 20. Of a policy: its place, from 1 on. */
#define HELD_MAX (1u << 24)
#define SLOTS_MAX (1u << 20)
#define TURN_MASK (SLOTS_MAX - 1)

static uint32_t number_of(const struct apart_book *b, const struct apart_held *h)
{
	return (uint32_t)(h - b->held) + 1;
}

uint64_t apart_book_ctx(const struct apart_book *b, const struct apart_held *h,
			const struct apart_slot *s)
{
	return (uint64_t)number_of(b, h) << 40 | (uint64_t)(s - h->slots) << 20 | s->turn;
}

static struct apart_held *free_one(struct apart_book *b)
{
	struct apart_held *more;
	size_t n;

	for (size_t i = 0; b->used_held < b->n_held && i < b->n_held; i++) {
		struct apart_held *h = &b->held[(b->next + i) % b->n_held];

		if (h->used)
			continue;
		b->next = (size_t)(h - b->held);
		return h;
	}
	n = b->n_held > 0 ? 2 * b->n_held : 1;
	if (n >= HELD_MAX)
		return NULL;
	more = realloc(b->held, n * sizeof *more);
	if (more == NULL)
		return NULL;
	memset(more + b->n_held, 0, (n - b->n_held) * sizeof *more);
	b->held = more;
	more += b->n_held;
	b->next = b->n_held;
	b->n_held = n;
	return more;
}

uint32_t apart_book_add(struct apart_book *b, struct apart_held *h, const struct apart_request *r)
{
	h->used = true;
	b->used_held++;
	memcpy(h->name, r->add.peer, sizeof h->name);
	h->local = r->add.local;
	h->peer = peer_named(b->peers, b->n_peers, h->name);
	if (h->peer != APART_NO_PEER)
		b->peers[h->peer].held = true;
	return number_of(b, h);
}

void apart_book_remove(struct apart_book *b, struct apart_held *h)
{
	const uint32_t turns = h->turns;

	if (h->peer != APART_NO_PEER)
		b->peers[h->peer].held = false;
	free(h->slots);
	memset(h, 0, sizeof *h);
	h->turns = turns;
	b->used_held--;
}

static struct apart_slot *free_slot(struct apart_held *h)
{
	struct apart_slot *more;
	uint32_t n = h->n_slots > 0 ? 2 * h->n_slots : 2;

	for (uint32_t i = 0; h->used_slots < h->n_slots && i < h->n_slots; i++)
		if (!h->slots[i].used)
			return &h->slots[i];
	if (n > SLOTS_MAX)
		return NULL;
	more = realloc(h->slots, n * sizeof *more);
	if (more == NULL)
		return NULL;
	memset(more + h->n_slots, 0, (n - h->n_slots) * sizeof *more);
	h->slots = more;
	more += h->n_slots;
	h->n_slots = n;
	return more;
}

uint64_t apart_book_reserve(struct apart_book *b, struct apart_held *h, uint64_t inner,
			    struct spi in, uint8_t old_parts)
{
	struct apart_slot *s = free_slot(h);

	if (s == NULL)
		return 0;
	h->turns = (h->turns & TURN_MASK) % TURN_MASK + 1; /* never 0 */
	*s = (struct apart_slot){.inner = inner,
				 .turn = h->turns,
				 .in = in,
				 .used = true,
				 .reserved = old_parts == 0,
				 .old = old_parts != 0,
				 .parts = old_parts};
	h->used_slots++;
	if (!s->old)
		h->own_slots++;
	return apart_book_ctx(b, h, s);
}

uint64_t apart_book_new(struct apart_book *b, struct apart_held *h, uint64_t inner, struct spi in)
{
	const uint64_t ctx = apart_book_reserve(b, h, inner, in, 0);

	if (ctx != 0)
		apart_book_added(apart_book_find(h, inner), APART_ADD_INBOUND);
	return ctx;
}

void apart_book_added(struct apart_slot *s, enum apart_op op)
{
	if (op != APART_ADD_OUTBOUND) {
		s->parts |= APART_IN;
		s->reserved = false;
	}
	if (op != APART_ADD_INBOUND)
		s->parts |= APART_OUT;
}

void apart_book_lost(struct apart_held *h, struct apart_slot *s, uint8_t parts)
{
	s->parts &= (uint8_t)~parts;
	if ((parts & APART_IN) != 0)
		s->reserved = false;
	if (!s->used || s->parts != 0 || s->reserved)
		return;
	s->used = false;
	h->used_slots--;
	if (!s->old)
		h->own_slots--;
	if (h->used_slots == 0) { /* after a burst */
		free(h->slots);
		h->slots = NULL;
		h->n_slots = 0;
	}
}

struct apart_slot *apart_book_find(const struct apart_held *h, uint64_t inner)
{
	for (uint32_t i = 0; i < h->n_slots; i++)
		if (h->slots[i].used && h->slots[i].inner == inner)
			return &h->slots[i];
	return NULL;
}

/* ---- judgement --------------------------------------------------------------------------- */

static int forbidden(struct err *e, const char *peer, const char *what)
{
	return err_set(e, ERR_PERM, "peer %s: the config does not allow %s", peer, what);
}

static int check_policy(struct apart_book *b, const struct apart_policy *want, apart_route *route,
			void *arg, struct apart_held **held, struct err *e)
{
	const size_t peer = peer_named(b->peers, b->n_peers, want->peer);
	const struct apart_policy *is;
	struct addr local;
	const char *what;

	if (peer == APART_NO_PEER) {
		err_set(e, ERR_PERM, "the config has no peer %s", want->peer);
		return err_hint(e, "was the config changed? sapair reload");
	}
	is = &b->peers[peer].policy;
	what = differs(is, want);
	if (what == NULL && is->local.len == 0) {
		if (route(arg, &is->remote, &local, e) < 0)
			return err_in(e, "peer %s", want->peer);
		if (!addr_equal(&local, &want->local))
			what = "own address";
	}
	if (what != NULL) {
		err_set(e, ERR_PERM, "peer %s: another %s than in the config", want->peer, what);
		return err_hint(e, "was the config changed? sapair reload");
	}
	if (b->peers[peer].held)
		return err_set(e, ERR_BUG, "peer %s: policy added twice", want->peer);
	*held = free_one(b);
	return *held != NULL ? 0 : err_set(e, ERR_OS, "no memory for a policy");
}

static int find_policy(struct apart_book *b, uint32_t number, struct apart_held **held,
		       struct err *e)
{
	if (number == 0 || number > b->n_held || !b->held[number - 1].used)
		return err_set(e, ERR_BUG, "no policy of number %" PRIu32, number);
	*held = &b->held[number - 1];
	return 0;
}

/* *slot stays NULL for one that is gone. */
static int find_ctx(struct apart_book *b, uint64_t ctx, struct apart_held **held,
		    struct apart_slot **slot, struct err *e)
{
	const uint64_t number = ctx >> 40;
	const uint32_t i = (uint32_t)(ctx >> 20) & (SLOTS_MAX - 1),
		       turn = (uint32_t)ctx & TURN_MASK;

	if (number == 0 || number > b->n_held || turn == 0)
		return err_set(e, ERR_BUG, "no context of number %" PRIx64, ctx);
	*held = &b->held[number - 1];
	if ((*held)->used && i < (*held)->n_slots && (*held)->slots[i].used &&
	    (*held)->slots[i].turn == turn)
		*slot = &(*held)->slots[i];
	return 0;
}

static bool is_within(uint64_t limit, uint64_t most)
{
	return most == 0 || (limit != 0 && limit <= most);
}

static int check_limits(const struct apart_peer *p, const struct apart_sa *sa, struct err *e)
{
	const struct sa_keys *k = &sa->keys;
	const char *name = p->policy.peer;

	if (!suite_list_has(&p->suites, k->suite))
		return forbidden(e, name, suite_info(k->suite)->name);
	if (k->esn && !p->esn)
		return forbidden(e, name, "extended sequence numbers");
	if (k->window > p->window)
		return forbidden(e, name, "so long a replay window");
	if (k->lifetime_s == 0 || k->lifetime_s > p->lifetime_s)
		return forbidden(e, name, "so long a lifetime");
	if (!is_within(sa->soft_bytes, p->soft_bytes) ||
	    !is_within(sa->hard_bytes, p->hard_bytes) ||
	    !is_within(sa->soft_packets, p->soft_packets) ||
	    !is_within(sa->hard_packets, p->hard_packets) ||
	    (!k->esn && !is_within(sa->hard_packets, APART_PACKETS_MAX)))
		return forbidden(e, name, "so many bytes or packets of an SA");
	return 0;
}

static int check_spi(const struct apart_held *h, struct spi spi, const struct spi *reserved,
		     struct err *e)
{
	if (spi_usable(spi) && (reserved == NULL || spi_equal(spi, *reserved)))
		return 0;
	return err_set(e, ERR_PERM, "peer %s: SPI %08" PRIx32 " %s", h->name, spi.n,
		       reserved != NULL ? "was not reserved" : "is none for an SA");
}

/* The outbound one of two. Both get the limits of the first. */
static int check_out(const struct apart_book *b, const struct apart_request *r,
		     const struct apart_held *h, struct err *e)
{
	const struct apart_sa *in = &r->sa, *out = &r->out;

	if (check_spi(h, out->keys.spi, NULL, e) < 0)
		return -1;
	if (out->keys.esn != in->keys.esn || out->soft_bytes != in->soft_bytes ||
	    out->hard_bytes != in->hard_bytes || out->soft_packets != in->soft_packets ||
	    out->hard_packets != in->hard_packets)
		return forbidden(e, h->name, "two SAs with different limits");
	return check_limits(&b->peers[h->peer], &r->out, e);
}

static int check_sa(const struct apart_book *b, const struct apart_request *r,
		    const struct apart_held *h, const struct apart_slot *s, struct err *e)
{
	const bool in = r->op != APART_ADD_OUTBOUND;

	if (s == NULL)
		return err_set(e, ERR_BUG, "context %" PRIx64 " is gone", r->ctx);
	if (h->peer == APART_NO_PEER)
		return forbidden(e, h->name, "it any more");
	if (s->old || (in ? !s->reserved : s->parts != APART_IN))
		return err_set(e, ERR_BUG, "peer %s: %s SA of context %" PRIx64 " out of turn",
			       h->name, in ? "inbound" : "outbound", r->ctx);
	if (check_spi(h, r->sa.keys.spi, in ? &s->in : NULL, e) < 0 ||
	    check_limits(&b->peers[h->peer], &r->sa, e) < 0)
		return -1;
	return r->op == APART_ADD_BOTH ? check_out(b, r, h, e) : 0;
}

int apart_check_more(const struct apart_book *b, const struct apart_held *h, struct err *e)
{
	if (h->peer == APART_NO_PEER)
		return forbidden(e, h->name, "it any more");
	if (h->own_slots >= b->peers[h->peer].pairs_max)
		return forbidden(e, h->name, "so many SAs at once");
	return 0;
}

static int check_new(const struct apart_book *b, const struct apart_request *r,
		     const struct apart_held *h, struct err *e)
{
	if (apart_check_more(b, h, e) < 0 || check_spi(h, r->sa.keys.spi, NULL, e) < 0 ||
	    check_limits(&b->peers[h->peer], &r->sa, e) < 0)
		return -1;
	return check_out(b, r, h, e);
}

int apart_check(struct apart_book *b, const struct apart_request *r, apart_route *route, void *arg,
		struct apart_held **held, struct apart_slot **slot, struct err *e)
{
	*held = NULL;
	*slot = NULL;
	switch (r->op) {
	case APART_POLICY_ADD:
		return check_policy(b, &r->add, route, arg, held, e);
	case APART_POLICY_REMOVE:
		return find_policy(b, r->policy, held, e);
	case APART_RESERVE:
		return find_policy(b, r->policy, held, e) < 0 ? -1 : apart_check_more(b, *held, e);
	case APART_OPEN_PAIR:
		return find_policy(b, r->policy, held, e) < 0 ? -1 : check_new(b, r, *held, e);
	case APART_ADD_INBOUND:
	case APART_ADD_OUTBOUND:
	case APART_ADD_BOTH:
		if (find_ctx(b, r->ctx, held, slot, e) < 0)
			return -1;
		return check_sa(b, r, *held, *slot, e);
	case APART_REMOVE:
		if (r->part == 0)
			return err_set(e, ERR_BUG, "remove: no part");
		return find_ctx(b, r->ctx, held, slot, e);
	case APART_QUERY:
		if (r->part != APART_IN && r->part != APART_OUT)
			return err_set(e, ERR_BUG, "query: one part at a time");
		if (find_ctx(b, r->ctx, held, slot, e) < 0)
			return -1;
		return *slot != NULL && ((*slot)->parts & r->part) != 0
			       ? 0
			       : err_set(e, ERR_DOWN, "context %" PRIx64 " has no such SA", r->ctx);
	case APART_LEFTOVER:
	case APART_EXEMPT:
	case APART_RELOAD:
		return 0;
	default:
		return err_set(e, ERR_BUG, "no request of number %d", (int)r->op);
	}
}
