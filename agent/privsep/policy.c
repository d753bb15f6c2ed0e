/*
 * agent/privsep/policy.c - what the config lets a peer have, what is in force of it, and what may come to it.
 */
#include "agent/privsep/policy.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- what the config says ---------------------------------------------------------------- */

static void copy_policy(struct privsep_policy *s, const struct config *c,
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

void privsep_peer_of(struct privsep_peer *p, const struct config *c, const struct peer_config *pc)
{
	const struct peer_options *o = &pc->opt;

	memset(p, 0, sizeof *p);
	copy_policy(&p->policy, c, pc);
	p->suites = o->suites;
	p->esn = o->esn;
	p->window = o->window;
	p->lifetime_s = o->hard_time_s != 0 ? o->hard_time_s : PRIVSEP_LIFETIME_MAX_S;
	p->soft_bytes = o->rekey_bytes;
	p->soft_packets = o->rekey_packets;
	p->hard_bytes = o->hard_bytes;
	p->hard_packets = o->hard_packets;
	p->pairs_max = pairs_max(o);
}

/* In which field two policies differ, or NULL. No local address in want: another one decides. */
static const char *differs(const struct privsep_policy *want, const struct privsep_policy *is)
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

static size_t peer_named(const struct privsep_peer *peers, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(peers[i].policy.peer, name) == 0)
			return i;
	return PRIVSEP_NO_PEER;
}

/* Where the peer of a policy that is in force stands in a new list. */
static size_t same_peer(const struct privsep_book *b, const struct privsep_held *h,
			const struct privsep_peer *peers, size_t n)
{
	const size_t i = peer_named(peers, n, h->name);
	struct privsep_policy is;

	if (h->peer == PRIVSEP_NO_PEER || i == PRIVSEP_NO_PEER)
		return PRIVSEP_NO_PEER;
	is = b->peers[h->peer].policy;
	is.local = h->local;
	return differs(&peers[i].policy, &is) == NULL ? i : PRIVSEP_NO_PEER;
}

int privsep_book_config(struct privsep_book *b, const struct config *c, struct err *e)
{
	struct privsep_peer *peers = calloc(c->n_peers > 0 ? c->n_peers : 1, sizeof *peers);

	if (peers == NULL)
		return err_set(e, ERR_OS, "no memory for the peers of the config");
	for (size_t i = 0; i < c->n_peers; i++)
		privsep_peer_of(&peers[i], c, &c->peers[i]);
	for (size_t i = 0; i < b->n_held; i++) {
		struct privsep_held *h = &b->held[i];

		if (h->used)
			h->peer = same_peer(b, h, peers, c->n_peers);
		if (h->used && h->peer != PRIVSEP_NO_PEER)
			peers[h->peer].held = true;
	}
	free(b->peers);
	b->peers = peers;
	b->n_peers = c->n_peers;
	return 0;
}

void privsep_book_free(struct privsep_book *b)
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

static uint32_t number_of(const struct privsep_book *b, const struct privsep_held *h)
{
	return (uint32_t)(h - b->held) + 1;
}

uint64_t privsep_book_ctx(const struct privsep_book *b, const struct privsep_held *h,
			  const struct privsep_slot *s)
{
	return (uint64_t)number_of(b, h) << 40 | (uint64_t)(s - h->slots) << 20 | s->turn;
}

static struct privsep_held *free_one(struct privsep_book *b)
{
	struct privsep_held *more;
	size_t n;

	for (size_t i = 0; b->used_held < b->n_held && i < b->n_held; i++) {
		struct privsep_held *h = &b->held[(b->next + i) % b->n_held];

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

uint32_t privsep_book_add(struct privsep_book *b, struct privsep_held *h,
			  const struct privsep_request *r)
{
	h->used = true;
	b->used_held++;
	memcpy(h->name, r->add.peer, sizeof h->name);
	h->local = r->add.local;
	h->peer = peer_named(b->peers, b->n_peers, h->name);
	if (h->peer != PRIVSEP_NO_PEER)
		b->peers[h->peer].held = true;
	return number_of(b, h);
}

void privsep_book_remove(struct privsep_book *b, struct privsep_held *h)
{
	const uint32_t turns = h->turns;

	if (h->peer != PRIVSEP_NO_PEER)
		b->peers[h->peer].held = false;
	free(h->slots);
	memset(h, 0, sizeof *h);
	h->turns = turns;
	b->used_held--;
}

static struct privsep_slot *free_slot(struct privsep_held *h)
{
	struct privsep_slot *more;
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

uint64_t privsep_book_reserve(struct privsep_book *b, struct privsep_held *h, uint64_t inner,
			      struct spi in, uint8_t old_parts)
{
	struct privsep_slot *s = free_slot(h);

	if (s == NULL)
		return 0;
	h->turns = (h->turns & TURN_MASK) % TURN_MASK + 1; /* never 0 */
	*s = (struct privsep_slot){.inner = inner,
				   .turn = h->turns,
				   .in = in,
				   .used = true,
				   .reserved = old_parts == 0,
				   .old = old_parts != 0,
				   .parts = old_parts};
	h->used_slots++;
	if (!s->old)
		h->own_slots++;
	return privsep_book_ctx(b, h, s);
}

void privsep_book_installed(struct privsep_slot *s, struct spi out)
{
	s->out = out;
	s->parts = PRIVSEP_IN;
	s->reserved = false;
}

void privsep_book_activated(struct privsep_slot *s)
{
	s->parts |= PRIVSEP_OUT;
}

void privsep_book_lost(struct privsep_held *h, struct privsep_slot *s, uint8_t parts)
{
	s->parts &= (uint8_t)~parts;
	if ((parts & PRIVSEP_IN) != 0)
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

struct privsep_slot *privsep_book_find(const struct privsep_held *h, uint64_t inner)
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

static int check_policy(struct privsep_book *b, const struct privsep_policy *want,
			privsep_route *route, void *arg, struct privsep_held **held, struct err *e)
{
	const size_t peer = peer_named(b->peers, b->n_peers, want->peer);
	const struct privsep_policy *is;
	struct addr local;
	const char *what;

	if (peer == PRIVSEP_NO_PEER) {
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

static int find_policy(struct privsep_book *b, uint32_t number, struct privsep_held **held,
		       struct err *e)
{
	if (number == 0 || number > b->n_held || !b->held[number - 1].used)
		return err_set(e, ERR_BUG, "no policy of number %" PRIu32, number);
	*held = &b->held[number - 1];
	return 0;
}

/* *slot stays NULL for one that is gone. */
static int find_ctx(struct privsep_book *b, uint64_t ctx, struct privsep_held **held,
		    struct privsep_slot **slot, struct err *e)
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

static int check_limits(const struct privsep_peer *p, const struct privsep_sa *sa, struct err *e)
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
	    (!k->esn && !is_within(sa->hard_packets, PRIVSEP_PACKETS_MAX)))
		return forbidden(e, name, "so many bytes or packets of an SA");
	return 0;
}

static int check_spi(const struct privsep_held *h, struct spi spi, const struct spi *reserved,
		     struct err *e)
{
	if (spi_usable(spi) && (reserved == NULL || spi_equal(spi, *reserved)))
		return 0;
	return err_set(e, ERR_PERM, "peer %s: SPI %08" PRIx32 " %s", h->name, spi.n,
		       reserved != NULL ? "was not reserved" : "is none for an SA");
}

static bool has_equal_limits(const struct privsep_sa *a, const struct privsep_sa *b)
{
	return a->keys.esn == b->keys.esn && a->soft_bytes == b->soft_bytes &&
	       a->hard_bytes == b->hard_bytes && a->soft_packets == b->soft_packets &&
	       a->hard_packets == b->hard_packets;
}

/* A context that is in force, of a peer that the config still has. */
static int check_slot(const struct privsep_request *r, const struct privsep_held *h,
		      const struct privsep_slot *s, struct err *e)
{
	if (s == NULL)
		return err_set(e, ERR_BUG, "context %" PRIx64 " is gone", r->ctx);
	return h->peer == PRIVSEP_NO_PEER ? forbidden(e, h->name, "it any more") : 0;
}

static int check_install(const struct privsep_book *b, const struct privsep_request *r,
			 const struct privsep_held *h, const struct privsep_slot *s, struct err *e)
{
	if (check_slot(r, h, s, e) < 0)
		return -1;
	if (s->old || !s->reserved)
		return err_set(e, ERR_BUG, "peer %s: context %" PRIx64 " is not reserved", h->name,
			       r->ctx);
	if (check_spi(h, r->in.keys.spi, &s->in, e) < 0 ||
	    check_spi(h, r->out.keys.spi, NULL, e) < 0)
		return -1;
	if (!has_equal_limits(&r->in, &r->out))
		return forbidden(e, h->name, "two SAs with different limits");
	if (check_limits(&b->peers[h->peer], &r->in, e) < 0)
		return -1;
	return check_limits(&b->peers[h->peer], &r->out, e);
}

static int check_activate(const struct privsep_book *b, const struct privsep_request *r,
			  const struct privsep_held *h, const struct privsep_slot *s, struct err *e)
{
	if (check_slot(r, h, s, e) < 0)
		return -1;
	if (s->old || s->parts != PRIVSEP_IN)
		return err_set(e, ERR_BUG, "peer %s: context %" PRIx64 " is not installed", h->name,
			       r->ctx);
	if (!spi_equal(r->out.keys.spi, s->out))
		return err_set(e, ERR_PERM, "peer %s: SPI %08" PRIx32 " was not installed", h->name,
			       r->out.keys.spi.n);
	return check_limits(&b->peers[h->peer], &r->out, e);
}

static int check_reserve(const struct privsep_book *b, const struct privsep_held *h, struct err *e)
{
	if (h->peer == PRIVSEP_NO_PEER)
		return forbidden(e, h->name, "it any more");
	if (h->own_slots >= b->peers[h->peer].pairs_max)
		return forbidden(e, h->name, "so many SAs at once");
	return 0;
}

int privsep_check(struct privsep_book *b, const struct privsep_request *r, privsep_route *route,
		  void *arg, struct privsep_held **held, struct privsep_slot **slot, struct err *e)
{
	*held = NULL;
	*slot = NULL;
	switch (r->op) {
	case PRIVSEP_POLICY_ADD:
		return check_policy(b, &r->add, route, arg, held, e);
	case PRIVSEP_POLICY_REMOVE:
		return find_policy(b, r->policy, held, e);
	case PRIVSEP_RESERVE:
		return find_policy(b, r->policy, held, e) < 0 ? -1 : check_reserve(b, *held, e);
	case PRIVSEP_INSTALL:
		return find_ctx(b, r->ctx, held, slot, e) < 0
			       ? -1
			       : check_install(b, r, *held, *slot, e);
	case PRIVSEP_ACTIVATE:
		return find_ctx(b, r->ctx, held, slot, e) < 0
			       ? -1
			       : check_activate(b, r, *held, *slot, e);
	case PRIVSEP_REMOVE:
		if (r->part == 0)
			return err_set(e, ERR_BUG, "remove: no part");
		return find_ctx(b, r->ctx, held, slot, e);
	case PRIVSEP_QUERY:
		if (r->part != PRIVSEP_IN && r->part != PRIVSEP_OUT)
			return err_set(e, ERR_BUG, "query: one part at a time");
		if (find_ctx(b, r->ctx, held, slot, e) < 0)
			return -1;
		return *slot != NULL && ((*slot)->parts & r->part) != 0
			       ? 0
			       : err_set(e, ERR_DOWN, "context %" PRIx64 " has no such SA", r->ctx);
	case PRIVSEP_RECOVER:
	case PRIVSEP_EXEMPT:
	case PRIVSEP_RELOAD:
		return 0;
	default:
		return err_set(e, ERR_BUG, "no request of number %d", (int)r->op);
	}
}
