/*
 * agent/privsep/policy.c - what the config allows, what was granted, and the check of each request.
 */
#include "agent/privsep/policy.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- peers of the config ----------------------------------------------------------------- */

/* The most contexts that an agent has at once: new, current, held, and those that drain. */
static uint32_t contexts_max(const struct peer_options *o)
{
	const uint32_t drain_ms = o->drain_ms > o->switch_ms ? o->drain_ms : o->switch_ms;
	const uint32_t pace_ms = o->rekey_min_interval_ms;
	uint32_t drain = EXCHANGE_DRAIN_MAX + EXCHANGE_DRAIN_MORE;

	if (pace_ms > 0 && drain_ms / pace_ms < drain)
		drain = drain_ms / pace_ms + 1;
	return 4 + EXCHANGE_HELD_MAX + drain;
}

static void set_peer(struct privsep_peer *p, const struct config *c, const struct peer_config *pc)
{
	const struct peer_options *o = &pc->opt;

	policy_of_peer(&p->policy, c, pc);
	p->suites = o->suites;
	p->esn = o->esn;
	p->window = o->window;
	p->lifetime_s = o->hard_time_s != 0 ? o->hard_time_s : PRIVSEP_LIFETIME_MAX_S;
	p->contexts_max = contexts_max(o);
}

/* The field in which two policies differ, or NULL. Any local address fits where want has none. */
static const char *difference(const struct policy *want, const struct policy *is)
{
	const struct policy_options *a = &want->opt, *b = &is->opt;

	if (!addr_equal(&want->remote, &is->remote))
		return "address";
	if (want->local.len != 0 && !addr_equal(&want->local, &is->local))
		return "own address";
	if (want->control_port != is->control_port || want->peer_port != is->peer_port ||
	    want->local_esp_port != is->local_esp_port ||
	    want->remote_esp_port != is->remote_esp_port)
		return "port";
	if (a->mode != b->mode)
		return "mode";
	if (a->encap != b->encap || a->udp != b->udp)
		return "encapsulation";
	if (a->start != b->start)
		return "start";
	if (a->protects != b->protects || a->exempts != b->exempts ||
	    memcmp(a->protect, b->protect, sizeof a->protect) != 0 ||
	    memcmp(a->exempt, b->exempt, sizeof a->exempt) != 0)
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

/* The index of the grant's peer in a new list, if its policy is the same there. */
static size_t same_peer(const struct privsep_grants *g, const struct privsep_grant *grant,
			const struct privsep_peer *peers, size_t n)
{
	const size_t i = peer_named(peers, n, grant->name);
	struct policy is;

	if (grant->peer == PRIVSEP_NO_PEER || i == PRIVSEP_NO_PEER)
		return PRIVSEP_NO_PEER;
	is = g->peers[grant->peer].policy;
	is.local = grant->local;
	return difference(&peers[i].policy, &is) == NULL ? i : PRIVSEP_NO_PEER;
}

int privsep_grants_configure(struct privsep_grants *g, const struct config *c, struct err *e)
{
	struct privsep_peer *peers = calloc(c->n_peers > 0 ? c->n_peers : 1, sizeof *peers);

	if (peers == NULL)
		return err_set(e, ERR_OS, "no memory for the peers of the config");
	for (size_t i = 0; i < c->n_peers; i++)
		set_peer(&peers[i], c, &c->peers[i]);
	for (size_t i = 0; i < g->n_grants; i++) {
		struct privsep_grant *grant = &g->list[i];

		if (grant->used)
			grant->peer = same_peer(g, grant, peers, c->n_peers);
		if (grant->used && grant->peer != PRIVSEP_NO_PEER)
			peers[grant->peer].is_granted = true;
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
	memset(g, 0, sizeof *g);
}

/* ---- grants ------------------------------------------------------------------------------ */

/* Number of a policy: its index + 1. Of a context: policy 24 bits, index 20, reuse counter 20. */
#define GRANTS_MAX (1u << 24)
#define CONTEXTS_MAX (1u << 20)
#define REUSE_MASK (CONTEXTS_MAX - 1)

static uint32_t number_of(const struct privsep_grants *g, const struct privsep_grant *grant)
{
	return (uint32_t)(grant - g->list) + 1;
}

uint64_t privsep_context_number(const struct privsep_grants *g, const struct privsep_grant *grant,
				const struct privsep_context *context)
{
	return (uint64_t)number_of(g, grant) << 40 | (uint64_t)(context - grant->contexts) << 20 |
	       context->reuse;
}

static struct privsep_grant *find_free_grant(struct privsep_grants *g)
{
	struct privsep_grant *more;
	size_t n = g->n_grants > 0 ? 2 * g->n_grants : 1;

	for (size_t i = 0; g->used_grants < g->n_grants && i < g->n_grants; i++) {
		size_t at = (g->next + i) % g->n_grants;

		if (!g->list[at].used) {
			g->next = at;
			return &g->list[at];
		}
	}
	if (n >= GRANTS_MAX)
		return NULL;
	more = realloc(g->list, n * sizeof *more);
	if (more == NULL)
		return NULL;
	memset(more + g->n_grants, 0, (n - g->n_grants) * sizeof *more);
	g->list = more;
	g->next = g->n_grants;
	g->n_grants = n;
	return &g->list[g->next];
}

uint32_t privsep_grant_add(struct privsep_grants *g, struct privsep_grant *grant,
			   const struct privsep_request *r)
{
	grant->used = true;
	g->used_grants++;
	memcpy(grant->name, r->add.peer, sizeof grant->name);
	grant->local = r->add.local;
	grant->peer = peer_named(g->peers, g->n_peers, grant->name);
	if (grant->peer != PRIVSEP_NO_PEER)
		g->peers[grant->peer].is_granted = true;
	return number_of(g, grant);
}

void privsep_grant_remove(struct privsep_grants *g, struct privsep_grant *grant)
{
	const uint32_t reuses = grant->reuses;

	if (grant->peer != PRIVSEP_NO_PEER)
		g->peers[grant->peer].is_granted = false;
	free(grant->contexts);
	memset(grant, 0, sizeof *grant);
	grant->reuses = reuses;
	g->used_grants--;
}

static struct privsep_context *find_free_context(struct privsep_grant *grant)
{
	struct privsep_context *more;
	uint32_t n = grant->n_contexts > 0 ? 2 * grant->n_contexts : 2;

	for (uint32_t i = 0; grant->used_contexts < grant->n_contexts && i < grant->n_contexts; i++)
		if (!grant->contexts[i].used)
			return &grant->contexts[i];
	if (n > CONTEXTS_MAX)
		return NULL;
	more = realloc(grant->contexts, n * sizeof *more);
	if (more == NULL)
		return NULL;
	memset(more + grant->n_contexts, 0, (n - grant->n_contexts) * sizeof *more);
	grant->contexts = more;
	more += grant->n_contexts;
	grant->n_contexts = n;
	return more;
}

uint64_t privsep_context_add(struct privsep_grants *g, struct privsep_grant *grant, uint64_t inner,
			     struct spi in, uint8_t parts)
{
	struct privsep_context *context = find_free_context(grant);

	if (context == NULL)
		return 0;
	grant->reuses = (grant->reuses & REUSE_MASK) % REUSE_MASK + 1; /* never 0 */
	*context = (struct privsep_context){.inner = inner,
					    .reuse = grant->reuses,
					    .in = in,
					    .used = true,
					    .reserved = parts == 0,
					    .recovered = parts != 0,
					    .parts = parts};
	grant->used_contexts++;
	grant->own_contexts += !context->recovered;
	return privsep_context_number(g, grant, context);
}

void privsep_context_installed(struct privsep_context *context, struct spi out)
{
	context->out = out;
	context->parts = IPSEC_INBOUND;
	context->reserved = false;
}

void privsep_context_activated(struct privsep_context *context)
{
	context->parts |= IPSEC_OUTBOUND;
}

void privsep_context_removed(struct privsep_grant *grant, struct privsep_context *context,
			     uint8_t parts)
{
	context->parts &= (uint8_t)~parts;
	if ((parts & IPSEC_INBOUND) != 0)
		context->reserved = false;
	if (!context->used || context->parts != 0 || context->reserved)
		return;
	context->used = false;
	grant->used_contexts--;
	grant->own_contexts -= !context->recovered;
	if (grant->used_contexts == 0) { /* gives memory back after many rekeys in a short time */
		free(grant->contexts);
		grant->contexts = NULL;
		grant->n_contexts = 0;
	}
}

struct privsep_context *privsep_context_find(const struct privsep_grant *grant, uint64_t inner)
{
	for (uint32_t i = 0; i < grant->n_contexts; i++)
		if (grant->contexts[i].used && grant->contexts[i].inner == inner)
			return &grant->contexts[i];
	return NULL;
}

/* ---- checks ------------------------------------------------------------------------------ */

/* A request, and the grant and the context that it names. */
struct check {
	struct privsep_grants *g;
	const struct privsep_request *r;
	privsep_route *route;
	void *route_arg;
	struct privsep_grant *grant;
	struct privsep_context *context; /* NULL: it is gone */
};

static int forbid(struct err *e, const char *peer, const char *what)
{
	return err_set(e, ERR_PERM, "peer %s: the config does not allow %s", peer, what);
}

static int check_configured(struct check *k, struct err *e)
{
	const struct policy *want = &k->r->add;
	const size_t peer = peer_named(k->g->peers, k->g->n_peers, want->peer);
	const struct policy *is;
	struct addr local;
	const char *what;

	if (peer == PRIVSEP_NO_PEER) {
		err_set(e, ERR_PERM, "the config has no peer %s", want->peer);
		return err_hint(e, "was the config changed? sapair reload");
	}
	is = &k->g->peers[peer].policy;
	what = difference(is, want);
	if (what == NULL && is->local.len == 0) {
		if (k->route(k->route_arg, &is->remote, &local, e) < 0)
			return err_in(e, "peer %s", want->peer);
		if (!addr_equal(&local, &want->local))
			what = "own address";
	}
	if (what != NULL) {
		err_set(e, ERR_PERM, "peer %s: another %s than in the config", want->peer, what);
		return err_hint(e, "was the config changed? sapair reload");
	}
	if (k->g->peers[peer].is_granted)
		return err_set(e, ERR_BUG, "peer %s: policy added twice", want->peer);
	k->grant = find_free_grant(k->g);
	return k->grant != NULL ? 0 : err_set(e, ERR_OS, "no memory for a policy");
}

static int check_nothing(struct check *k, struct err *e)
{
	(void)k, (void)e;
	return 0;
}

static bool is_within(uint64_t limit, uint64_t most)
{
	return most == 0 || (limit != 0 && limit <= most);
}

static bool limits_within(const struct sa_limits *is, const struct sa_limits *most)
{
	return is_within(is->soft_bytes, most->soft_bytes) &&
	       is_within(is->hard_bytes, most->hard_bytes) &&
	       is_within(is->soft_packets, most->soft_packets) &&
	       is_within(is->hard_packets, most->hard_packets);
}

static int check_sa(const struct privsep_peer *p, const struct privsep_sa *sa, struct err *e)
{
	const struct sa_keys *k = &sa->keys;
	const char *name = p->policy.peer;

	if (!spi_usable(k->spi))
		return err_set(e, ERR_PERM, "peer %s: SPI %08" PRIx32 " is none for an SA", name,
			       k->spi.n);
	if (!suite_list_has(&p->suites, k->suite))
		return forbid(e, name, suite_info(k->suite)->name);
	if (k->esn && !p->esn)
		return forbid(e, name, "extended sequence numbers");
	if (k->window > p->window)
		return forbid(e, name, "so long a replay window");
	if (k->lifetime_s == 0 || k->lifetime_s > p->lifetime_s)
		return forbid(e, name, "so long a lifetime");
	if (!limits_within(&sa->limits, &p->policy.limits) ||
	    (!k->esn && !is_within(sa->limits.hard_packets, PRIVSEP_PACKETS_MAX)))
		return forbid(e, name, "so many bytes or packets of an SA");
	return 0;
}

static bool spi_granted(const struct check *k, struct spi is, struct spi granted, const char *what,
			struct err *e)
{
	if (spi_equal(is, granted))
		return true;
	err_set(e, ERR_PERM, "peer %s: SPI %08" PRIx32 " was not %s", k->grant->name, is.n, what);
	return false;
}

/* A context in that state, of a peer that the config still has. */
static int check_context(const struct check *k, bool in_state, const char *state, struct err *e)
{
	if (k->context == NULL)
		return err_set(e, ERR_BUG, "context %" PRIx64 " is gone", k->r->ctx);
	if (k->grant->peer == PRIVSEP_NO_PEER)
		return forbid(e, k->grant->name, "it any more");
	if (k->context->recovered || !in_state)
		return err_set(e, ERR_BUG, "peer %s: context %" PRIx64 " is not %s", k->grant->name,
			       k->r->ctx, state);
	return 0;
}

static int check_reserved(struct check *k, struct err *e)
{
	const struct privsep_sa *in = &k->r->in, *out = &k->r->out;

	if (check_context(k, k->context != NULL && k->context->reserved, "reserved", e) < 0 ||
	    !spi_granted(k, in->keys.spi, k->context->in, "reserved", e))
		return -1;
	/* The back end applies one set of limits to both. */
	if (in->keys.esn != out->keys.esn ||
	    memcmp(&in->limits, &out->limits, sizeof in->limits) != 0)
		return forbid(e, k->grant->name, "two SAs with different limits");
	if (check_sa(&k->g->peers[k->grant->peer], in, e) < 0)
		return -1;
	return check_sa(&k->g->peers[k->grant->peer], out, e);
}

static int check_installed(struct check *k, struct err *e)
{
	const struct privsep_context *context = k->context;

	if (check_context(k, context != NULL && context->parts == IPSEC_INBOUND, "installed", e) <
		    0 ||
	    !spi_granted(k, k->r->out.keys.spi, context->out, "installed", e))
		return -1;
	return check_sa(&k->g->peers[k->grant->peer], &k->r->out, e);
}

static int check_room(struct check *k, struct err *e)
{
	if (k->grant->peer == PRIVSEP_NO_PEER)
		return forbid(e, k->grant->name, "it any more");
	if (k->grant->own_contexts >= k->g->peers[k->grant->peer].contexts_max)
		return forbid(e, k->grant->name, "so many SAs at once");
	return 0;
}

static int check_any_part(struct check *k, struct err *e)
{
	return k->r->part == 0 ? err_set(e, ERR_BUG, "remove: no part") : 0;
}

static int check_one_part(struct check *k, struct err *e)
{
	if (k->r->part != IPSEC_INBOUND && k->r->part != IPSEC_OUTBOUND)
		return err_set(e, ERR_BUG, "query: one part at a time");
	return k->context != NULL && (k->context->parts & k->r->part) != 0
		       ? 0
		       : err_set(e, ERR_DOWN, "context %" PRIx64 " has no such SA", k->r->ctx);
}

static int find_policy(struct check *k, struct err *e)
{
	const uint32_t number = k->r->policy;

	if (number == 0 || number > k->g->n_grants || !k->g->list[number - 1].used)
		return err_set(e, ERR_BUG, "no policy of number %" PRIu32, number);
	k->grant = &k->g->list[number - 1];
	return 0;
}

static int find_context(struct check *k, struct err *e)
{
	const uint64_t number = k->r->ctx >> 40;
	const uint32_t i = (uint32_t)(k->r->ctx >> 20) & (CONTEXTS_MAX - 1);
	const uint32_t reuse = (uint32_t)k->r->ctx & REUSE_MASK;
	struct privsep_grant *grant;

	if (number == 0 || number > k->g->n_grants || reuse == 0)
		return err_set(e, ERR_BUG, "no context of number %" PRIx64, k->r->ctx);
	k->grant = grant = &k->g->list[number - 1];
	if (grant->used && i < grant->n_contexts && grant->contexts[i].used &&
	    grant->contexts[i].reuse == reuse)
		k->context = &grant->contexts[i];
	return 0;
}

int privsep_check(struct privsep_grants *g, const struct privsep_request *r, privsep_route *route,
		  void *arg, struct privsep_grant **grant, struct privsep_context **context,
		  struct err *e)
{
	static int (*const checks[PRIVSEP_OPS])(struct check *, struct err *) = {
#define CHECK_OF(name, fn, fields, condition) [PRIVSEP_##name] = check_##condition,
		PRIVSEP_REQUESTS(CHECK_OF)
#undef CHECK_OF
	};
	const unsigned has = privsep_has((unsigned)r->op);
	struct check k = {.g = g, .r = r, .route = route, .route_arg = arg};
	int rc = 0;

	*grant = NULL;
	*context = NULL;
	if ((unsigned)r->op >= PRIVSEP_OPS || checks[r->op] == NULL)
		return err_set(e, ERR_BUG, "no request of number %d", (int)r->op);
	if ((has & PRIVSEP_HAS_POLICY) != 0)
		rc = find_policy(&k, e);
	if ((has & PRIVSEP_HAS_CTX) != 0)
		rc = find_context(&k, e);
	if (rc == 0)
		rc = checks[r->op](&k, e);
	*grant = k.grant;
	*context = k.context;
	return rc;
}
