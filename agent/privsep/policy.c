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

/* So many pairs an agent may have at once: new, current, grant, and those that drain. */
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
static size_t same_peer(const struct privsep_grants *g, const struct privsep_grant *h,
			const struct privsep_peer *peers, size_t n)
{
	const size_t i = peer_named(peers, n, h->name);
	struct privsep_policy is;

	if (h->peer == PRIVSEP_NO_PEER || i == PRIVSEP_NO_PEER)
		return PRIVSEP_NO_PEER;
	is = g->peers[h->peer].policy;
	is.local = h->local;
	return differs(&peers[i].policy, &is) == NULL ? i : PRIVSEP_NO_PEER;
}

int privsep_grants_configure(struct privsep_grants *g, const struct config *c, struct err *e)
{
	struct privsep_peer *peers = calloc(c->n_peers > 0 ? c->n_peers : 1, sizeof *peers);

	if (peers == NULL)
		return err_set(e, ERR_OS, "no memory for the peers of the config");
	for (size_t i = 0; i < c->n_peers; i++)
		privsep_peer_of(&peers[i], c, &c->peers[i]);
	for (size_t i = 0; i < g->n_grants; i++) {
		struct privsep_grant *h = &g->list[i];

		if (h->used)
			h->peer = same_peer(b, h, peers, c->n_peers);
		if (h->used && h->peer != PRIVSEP_NO_PEER)
			peers[h->peer].is_granted = true;
	}
	free(g->peers);
	g->peers = peers;
	g->n_peers = c->n_peers;
	return 0;
}

void privsep_grants_free(struct privsep_grants *g)
{
	for (size_t i = 0; i < g->n_grants; i++)
		free(g->list[i].contexts);
	free(g->list);
	free(g->peers);
	memset(b, 0, sizeof *b);
}

/* ---- the grants ---------------------------------------------------------------------------- */

/* Number of a context: policy 24 bits, context 20, reuse 20. Of a policy: its place, from 1 on. */
#define GRANTS_MAX (1u << 24)
#define CONTEXTS_MAX (1u << 20)
#define REUSE_MASK (CONTEXTS_MAX - 1)

static uint32_t number_of(const struct privsep_grants *g, const struct privsep_grant *h)
{
	return (uint32_t)(h - g->list) + 1;
}

uint64_t privsep_context_number(const struct privsep_grants *g, const struct privsep_grant *h,
			  const struct privsep_context *s)
{
	return (uint64_t)number_of(b, h) << 40 | (uint64_t)(s - h->contexts) << 20 | s->reuse;
}

static struct privsep_grant *free_grant(struct privsep_grants *g)
{
	struct privsep_grant *more;
	size_t n;

	for (size_t i = 0; g->used_grants < g->n_grants && i < g->n_grants; i++) {
		struct privsep_grant *h = &g->list[(g->next + i) % g->n_grants];

		if (h->used)
			continue;
		g->next = (size_t)(h - g->list);
		return h;
	}
	n = g->n_grants > 0 ? 2 * g->n_grants : 1;
	if (n >= GRANTS_MAX)
		return NULL;
	more = realloc(g->list, n * sizeof *more);
	if (more == NULL)
		return NULL;
	memset(more + g->n_grants, 0, (n - g->n_grants) * sizeof *more);
	g->list = more;
	more += g->n_grants;
	g->next = g->n_grants;
	g->n_grants = n;
	return more;
}

uint32_t privsep_grant_add(struct privsep_grants *g, struct privsep_grant *h,
			  const struct privsep_request *r)
{
	h->used = true;
	g->used_grants++;
	memcpy(h->name, r->add.peer, sizeof h->name);
	h->local = r->add.local;
	h->peer = peer_named(g->peers, g->n_peers, h->name);
	if (h->peer != PRIVSEP_NO_PEER)
		g->peers[h->peer].is_granted = true;
	return number_of(b, h);
}

void privsep_grant_remove(struct privsep_grants *g, struct privsep_grant *h)
{
	const uint32_t reuses = h->reuses;

	if (h->peer != PRIVSEP_NO_PEER)
		g->peers[h->peer].is_granted = false;
	free(h->contexts);
	memset(h, 0, sizeof *h);
	h->reuses = reuses;
	g->used_grants--;
}

static struct privsep_context *free_context(struct privsep_grant *h)
{
	struct privsep_context *more;
	uint32_t n = h->n_contexts > 0 ? 2 * h->n_contexts : 2;

	for (uint32_t i = 0; h->used_contexts < h->n_contexts && i < h->n_contexts; i++)
		if (!h->contexts[i].used)
			return &h->contexts[i];
	if (n > CONTEXTS_MAX)
		return NULL;
	more = realloc(h->contexts, n * sizeof *more);
	if (more == NULL)
		return NULL;
	memset(more + h->n_contexts, 0, (n - h->n_contexts) * sizeof *more);
	h->contexts = more;
	more += h->n_contexts;
	h->n_contexts = n;
	return more;
}

uint64_t privsep_context_add(struct privsep_grants *g, struct privsep_grant *h, uint64_t inner,
			      struct spi in, uint8_t old_parts)
{
	struct privsep_context *s = free_context(h);

	if (s == NULL)
		return 0;
	h->reuses = (h->reuses & REUSE_MASK) % REUSE_MASK + 1; /* never 0 */
	*s = (struct privsep_context){.inner = inner,
				   .reuse = h->reuses,
				   .in = in,
				   .used = true,
				   .reserved = old_parts == 0,
				   .old = old_parts != 0,
				   .parts = old_parts};
	h->used_contexts++;
	if (!s->old)
		h->own_contexts++;
	return privsep_context_number(b, h, s);
}

void privsep_context_installed(struct privsep_context *s, struct spi out)
{
	s->out = out;
	s->parts = IPSEC_INBOUND;
	s->reserved = false;
}

void privsep_context_activated(struct privsep_context *s)
{
	s->parts |= IPSEC_OUTBOUND;
}

void privsep_context_removed(struct privsep_grant *h, struct privsep_context *s, uint8_t parts)
{
	s->parts &= (uint8_t)~parts;
	if ((parts & IPSEC_INBOUND) != 0)
		s->reserved = false;
	if (!s->used || s->parts != 0 || s->reserved)
		return;
	s->used = false;
	h->used_contexts--;
	if (!s->old)
		h->own_contexts--;
	if (h->used_contexts == 0) { /* after a burst */
		free(h->contexts);
		h->contexts = NULL;
		h->n_contexts = 0;
	}
}

struct privsep_context *privsep_context_find(const struct privsep_grant *h, uint64_t inner)
{
	for (uint32_t i = 0; i < h->n_contexts; i++)
		if (h->contexts[i].used && h->contexts[i].inner == inner)
			return &h->contexts[i];
	return NULL;
}

/* ---- judgement --------------------------------------------------------------------------- */

static int forbidden(struct err *e, const char *peer, const char *what)
{
	return err_set(e, ERR_PERM, "peer %s: the config does not allow %s", peer, what);
}

static int check_policy(struct privsep_grants *g, const struct privsep_policy *want,
			privsep_route *route, void *arg, struct privsep_grant **grant, struct err *e)
{
	const size_t peer = peer_named(g->peers, g->n_peers, want->peer);
	const struct privsep_policy *is;
	struct addr local;
	const char *what;

	if (peer == PRIVSEP_NO_PEER) {
		err_set(e, ERR_PERM, "the config has no peer %s", want->peer);
		return err_hint(e, "was the config changed? sapair reload");
	}
	is = &g->peers[peer].policy;
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
	if (g->peers[peer].is_granted)
		return err_set(e, ERR_BUG, "peer %s: policy added twice", want->peer);
	*grant = free_grant(b);
	return *grant != NULL ? 0 : err_set(e, ERR_OS, "no memory for a policy");
}

static int find_policy(struct privsep_grants *g, uint32_t number, struct privsep_grant **grant,
		       struct err *e)
{
	if (number == 0 || number > g->n_grants || !g->list[number - 1].used)
		return err_set(e, ERR_BUG, "no policy of number %" PRIu32, number);
	*grant = &g->list[number - 1];
	return 0;
}

/* *context stays NULL for one that is gone. */
static int find_ctx(struct privsep_grants *g, uint64_t ctx, struct privsep_grant **grant,
		    struct privsep_context **context, struct err *e)
{
	const uint64_t number = ctx >> 40;
	const uint32_t i = (uint32_t)(ctx >> 20) & (CONTEXTS_MAX - 1),
		       reuse = (uint32_t)ctx & REUSE_MASK;

	if (number == 0 || number > g->n_grants || reuse == 0)
		return err_set(e, ERR_BUG, "no context of number %" PRIx64, ctx);
	*grant = &g->list[number - 1];
	if ((*grant)->used && i < (*grant)->n_contexts && (*grant)->contexts[i].used &&
	    (*grant)->contexts[i].reuse == reuse)
		*context = &(*grant)->contexts[i];
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

static int check_spi(const struct privsep_grant *h, struct spi spi, const struct spi *reserved,
		     struct err *e)
{
	if (spi_usable(spi) && (reserved == NULL || spi_equal(spi, *reserved)))
		return 0;
	return err_set(e, ERR_PERM, "peer %s: SPI %08" PRIx32 " %s", h->name, spi.n,
		       reserved != NULL ? "was not reserved" : "is none for an SA");
}

static bool has_equal_limits(const struct privsep_sa *a, const struct privsep_sa *b)
{
	return a->keys.esn == g->keys.esn && a->soft_bytes == g->soft_bytes &&
	       a->hard_bytes == g->hard_bytes && a->soft_packets == g->soft_packets &&
	       a->hard_packets == g->hard_packets;
}

/* A context that is in force, of a peer that the config still has. */
static int check_context(const struct privsep_request *r, const struct privsep_grant *h,
		      const struct privsep_context *s, struct err *e)
{
	if (s == NULL)
		return err_set(e, ERR_BUG, "context %" PRIx64 " is gone", r->ctx);
	return h->peer == PRIVSEP_NO_PEER ? forbidden(e, h->name, "it any more") : 0;
}

static int check_install(const struct privsep_grants *g, const struct privsep_request *r,
			 const struct privsep_grant *h, const struct privsep_context *s, struct err *e)
{
	if (check_context(r, h, s, e) < 0)
		return -1;
	if (s->old || !s->reserved)
		return err_set(e, ERR_BUG, "peer %s: context %" PRIx64 " is not reserved", h->name,
			       r->ctx);
	if (check_spi(h, r->in.keys.spi, &s->in, e) < 0 ||
	    check_spi(h, r->out.keys.spi, NULL, e) < 0)
		return -1;
	if (!has_equal_limits(&r->in, &r->out))
		return forbidden(e, h->name, "two SAs with different limits");
	if (check_limits(&g->peers[h->peer], &r->in, e) < 0)
		return -1;
	return check_limits(&g->peers[h->peer], &r->out, e);
}

static int check_activate(const struct privsep_grants *g, const struct privsep_request *r,
			  const struct privsep_grant *h, const struct privsep_context *s, struct err *e)
{
	if (check_context(r, h, s, e) < 0)
		return -1;
	if (s->old || s->parts != IPSEC_INBOUND)
		return err_set(e, ERR_BUG, "peer %s: context %" PRIx64 " is not installed", h->name,
			       r->ctx);
	if (!spi_equal(r->out.keys.spi, s->out))
		return err_set(e, ERR_PERM, "peer %s: SPI %08" PRIx32 " was not installed", h->name,
			       r->out.keys.spi.n);
	return check_limits(&g->peers[h->peer], &r->out, e);
}

static int check_reserve(const struct privsep_grants *g, const struct privsep_grant *h, struct err *e)
{
	if (h->peer == PRIVSEP_NO_PEER)
		return forbidden(e, h->name, "it any more");
	if (h->own_contexts >= g->peers[h->peer].pairs_max)
		return forbidden(e, h->name, "so many SAs at once");
	return 0;
}

int privsep_check(struct privsep_grants *g, const struct privsep_request *r, privsep_route *route,
		  void *arg, struct privsep_grant **grant, struct privsep_context **context, struct err *e)
{
	*grant = NULL;
	*context = NULL;
	switch (r->op) {
	case PRIVSEP_POLICY_ADD:
		return check_policy(b, &r->add, route, arg, grant, e);
	case PRIVSEP_POLICY_REMOVE:
		return find_policy(b, r->policy, grant, e);
	case PRIVSEP_RESERVE:
		return find_policy(b, r->policy, grant, e) < 0 ? -1 : check_reserve(b, *grant, e);
	case PRIVSEP_INSTALL:
		return find_ctx(b, r->ctx, grant, context, e) < 0
			       ? -1
			       : check_install(b, r, *grant, *context, e);
	case PRIVSEP_ACTIVATE:
		return find_ctx(b, r->ctx, grant, context, e) < 0
			       ? -1
			       : check_activate(b, r, *grant, *context, e);
	case PRIVSEP_REMOVE:
		if (r->part == 0)
			return err_set(e, ERR_BUG, "remove: no part");
		return find_ctx(b, r->ctx, grant, context, e);
	case PRIVSEP_QUERY:
		if (r->part != IPSEC_INBOUND && r->part != IPSEC_OUTBOUND)
			return err_set(e, ERR_BUG, "query: one part at a time");
		if (find_ctx(b, r->ctx, grant, context, e) < 0)
			return -1;
		return *context != NULL && ((*context)->parts & r->part) != 0
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
