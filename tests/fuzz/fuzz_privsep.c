/*
 * agent/privsep: a privileged helper, and an agent process under the control of an attacker. For any
 * records and any changes of the config, the system gets only policies of configured peers and their
 * SAs, each once, with a context that was reserved, and within the limits of the config.
 *
 * The expected judgement comes from a second, simple implementation: the text of the config below,
 * and a list of the objects of the system.
 */
#include "agent/privsep/policy.h"
#include "proto/json/decode.h"
#include "tests/fuzz/fuzz.h"

#define ZEROS "0000000000000000000000000000000000000000000000000000000000000000"
#define BETA                                                                         \
	"{\"name\":\"beta\",\"address\":\"192.0.2.2\",\"pin\":\"sha256:" ZEROS "\"," \
	"\"rekey\":{\"min_interval_ms\":1000},\"drain_ms\":1000,\"switch_ms\":500}"
#define GAMMA                                                                          \
	"{\"name\":\"gamma\",\"address\":\"2001:db8::3\",\"esn\":false,\"window\":64," \
	"\"suites\":[\"aes128gcm16\"],\"hard\":{\"time_s\":60,\"bytes\":1000,"         \
	"\"packets\":100},\"rekey\":{\"time_s\":30,\"bytes\":500,\"packets\":50,"      \
	"\"min_interval_ms\":1000},\"drain_ms\":1000,\"switch_ms\":500}"
#define CONFIG(peers) "{\"listen\":\"192.0.2.1\",\"peers\":[" peers "]}"

static const char *const configs[] = {CONFIG(BETA "," GAMMA), CONFIG(BETA), CONFIG(GAMMA),
				      CONFIG("")};
static bool has_peer[4][2] = {{true, true}, {true, false}, {false, true}, {false, false}};
enum { CONFIGS = 4, CTXS = 256, POLICIES = 64, SEEN = 512 };

static struct privsep_grants grants;
static unsigned config_now;

/* The objects of the system. */
static struct installed {
	bool on, allowed; /* allowed: its peer has been in the config since */
	uint32_t number;
	size_t peer; /* 0 beta, 1 gamma */
} policies[POLICIES];
static struct ctx {
	bool on, old; /* old: of an earlier run */
	uint64_t ctx, inner;
	uint32_t policy;
	struct spi in, out;
	uint8_t parts;
} ctxs[CTXS];
static uint64_t seen[SEEN], inners;
static size_t n_seen;

static int route(void *arg, const struct addr *remote, struct addr *local, struct err *e)
{
	(void)arg;
	(void)e;
	MUST(remote->len == 16);
	return addr_parse(local, "2001:db8::1", NULL);
}

static void configure(unsigned which)
{
	struct config c;

	MUST(config_parse(&c, configs[which], strlen(configs[which]), NULL) == 0);
	MUST(privsep_grants_configure(&grants, &c, NULL) == 0);
	config_free(&c);
	config_now = which;
	for (size_t i = 0; i < POLICIES; i++)
		if (!has_peer[which][policies[i].peer])
			policies[i].allowed = false;
}

static struct installed *policy_of(uint32_t number)
{
	for (size_t i = 0; i < POLICIES; i++)
		if (policies[i].on && policies[i].number == number)
			return &policies[i];
	return NULL;
}

static struct ctx *ctx_of(uint64_t number)
{
	for (size_t i = 0; i < CTXS; i++)
		if (ctxs[i].on && ctxs[i].ctx == number)
			return &ctxs[i];
	return NULL;
}

/* ---- operations that the helper allowed ---------------------------------------------------- */

static void policy_add(const struct privsep_request *r, struct privsep_grant *grant)
{
	const struct policy *a = &r->add;
	const size_t peer = strcmp(a->peer, "gamma") == 0;
	struct installed *free_grant = NULL;
	struct addr local, remote;

	MUST(grant != NULL && !grant->used && (peer == 1 || strcmp(a->peer, "beta") == 0));
	MUST(has_peer[config_now][peer]);
	MUST(addr_parse(&remote, peer ? "2001:db8::3" : "192.0.2.2", NULL) == 0);
	MUST(addr_parse(&local, peer ? "2001:db8::1" : "192.0.2.1", NULL) == 0);
	MUST(addr_equal(&a->remote, &remote) && addr_equal(&a->local, &local));
	MUST(a->opt.mode == MODE_REQUIRED && a->opt.encap == ENCAP_TRANSPORT && !a->opt.udp);
	for (size_t i = 0; i < POLICIES; i++) {
		MUST(!policies[i].on || !policies[i].allowed || policies[i].peer != peer);
		if (!policies[i].on)
			free_grant = &policies[i];
	}
	if (free_grant == NULL)
		return; /* the system refuses */
	*free_grant = (struct installed){true, true, privsep_grant_add(&grants, grant, r), peer};
	MUST(free_grant->number != 0);
}

static void policy_remove(const struct privsep_request *r, struct privsep_grant *grant)
{
	struct installed *p = policy_of(r->policy);

	MUST(p != NULL && grant != NULL && grant->used);
	p->on = false;
	for (size_t i = 0; i < CTXS; i++)
		if (ctxs[i].policy == r->policy)
			ctxs[i].on = false;
	privsep_grant_remove(&grants, grant);
}

/* Is it within the limits of the config for that peer? */
static void judge(const struct installed *p, const struct privsep_sa *sa)
{
	const struct sa_keys *k = &sa->keys;

	MUST(p != NULL && p->allowed && k->spi.n >= SPI_MIN);
	MUST(secret_len(&k->key) == suite_key_len(k->suite) && k->lifetime_s > 0);
	MUST(k->esn ||
	     (sa->limits.hard_packets > 0 && sa->limits.hard_packets <= PRIVSEP_PACKETS_MAX));
	if (p->peer == 1) {
		MUST(k->suite == SUITE_AES128GCM16 && !k->esn && k->window <= 64);
		MUST(k->lifetime_s <= 60 && sa->limits.hard_bytes <= 1000 &&
		     sa->limits.hard_bytes > 0);
		MUST(sa->limits.hard_packets <= 100 && sa->limits.soft_packets <= 50);
		MUST(sa->limits.soft_bytes > 0 && sa->limits.soft_bytes <= 500 &&
		     sa->limits.soft_packets > 0);
	} else {
		MUST(k->suite == SUITE_AES256GCM16 || k->suite == SUITE_AES128GCM16 ||
		     k->suite == SUITE_AES256_SHA256);
	}
}

/* old: the parts of an SA of an earlier run, which the system reports. */
static void reserve(uint32_t policy, struct privsep_grant *grant, uint8_t old)
{
	struct installed *p = policy_of(policy);
	struct ctx *c = NULL;
	unsigned own = 0;

	MUST(p != NULL && grant != NULL && (p->allowed || old != 0));
	for (size_t i = 0; i < CTXS; i++) {
		own += ctxs[i].on && !ctxs[i].old && ctxs[i].policy == policy;
		if (!ctxs[i].on)
			c = &ctxs[i];
	}
	if (c == NULL || n_seen == SEEN)
		return;
	*c = (struct ctx){.on = true,
			  .old = old != 0,
			  .inner = ++inners,
			  .policy = policy,
			  .parts = old};
	c->in.n = 256 + (uint32_t)inners;
	c->ctx = privsep_context_add(&grants, grant, c->inner, c->in, old);
	MUST(c->ctx != 0 && (old != 0 || own < 4 + EXCHANGE_HELD_MAX + 2));
	for (size_t i = 0; i < n_seen; i++)
		MUST(seen[i] != c->ctx); /* no number is used twice */
	seen[n_seen++] = c->ctx;
	MUST(privsep_context_find(grant, c->inner) != NULL);
}

static void install(const struct privsep_request *r, struct privsep_context *context)
{
	struct ctx *c = ctx_of(r->ctx);

	MUST(c != NULL && context != NULL && context->inner == c->inner && !c->old);
	MUST(c->parts == 0 && r->in.keys.spi.n == c->in.n);
	judge(policy_of(c->policy), &r->in);
	judge(policy_of(c->policy), &r->out);
	MUST(r->out.keys.esn == r->in.keys.esn);
	MUST(r->out.limits.hard_packets == r->in.limits.hard_packets);
	c->parts = IPSEC_INBOUND;
	c->out = r->out.keys.spi;
	privsep_context_installed(context, c->out);
	MUST(context->parts == c->parts && !context->reserved);
}

static void activate(const struct privsep_request *r, struct privsep_context *context)
{
	struct ctx *c = ctx_of(r->ctx);

	MUST(c != NULL && context != NULL && context->inner == c->inner && !c->old);
	MUST(c->parts == IPSEC_INBOUND && r->out.keys.spi.n == c->out.n);
	judge(policy_of(c->policy), &r->out);
	c->parts |= IPSEC_OUTBOUND;
	privsep_context_activated(context);
	MUST(context->parts == c->parts);
}

static void lose(struct privsep_grant *grant, struct privsep_context *context, struct ctx *c,
		 uint8_t parts)
{
	c->parts &= (uint8_t)~parts;
	if (c->parts == 0)
		c->on = context->reserved && (parts & IPSEC_INBOUND) == 0;
	privsep_context_removed(grant, context, parts);
}

static void perform(const struct privsep_request *r)
{
	struct privsep_grant *grant;
	struct privsep_context *context;
	struct ctx *c = ctx_of(r->ctx);
	struct err e = {0};

	if (privsep_check(&grants, r, route, NULL, &grant, &context, &e) < 0) {
		MUST(e.code == ERR_PERM || e.code == ERR_BUG || e.code == ERR_DOWN);
		MUST(text_printable(e.cause, strlen(e.cause)));
		return;
	}
	switch (r->op) {
	case PRIVSEP_POLICY_ADD:
		policy_add(r, grant);
		break;
	case PRIVSEP_POLICY_REMOVE:
		policy_remove(r, grant);
		break;
	case PRIVSEP_RESERVE:
		reserve(r->policy, grant, 0);
		break;
	case PRIVSEP_INSTALL:
		install(r, context);
		break;
	case PRIVSEP_ACTIVATE:
		activate(r, context);
		break;
	case PRIVSEP_REMOVE:
		MUST((context == NULL) == (c == NULL) && (r->part & ~3) == 0);
		if (context != NULL) {
			MUST(context->inner == c->inner);
			lose(grant, context, c, r->part);
		}
		break;
	case PRIVSEP_QUERY:
		MUST(context != NULL && c != NULL && context->inner == c->inner);
		MUST((c->parts & r->part) != 0);
		break;
	default:
		MUST(r->op == PRIVSEP_RECOVER || r->op == PRIVSEP_EXEMPT ||
		     r->op == PRIVSEP_RELOAD);
		break;
	}
}

/* ---- requests of the agent ----------------------------------------------------------- */

static void receive(const uint8_t *wire, size_t n)
{
	struct privsep_request r;
	struct privsep_answer a;
	uint8_t again[PRIVSEP_LEN];
	struct err e = {0};

	if (privsep_get_request(&r, wire, n, &e) == 0) {
		MUST(n == PRIVSEP_LEN);
		privsep_put_request(again, &r);
		MUST(memcmp(again, wire, PRIVSEP_LEN) == 0);
		perform(&r);
		wipe(&r, sizeof r);
	} else {
		MUST(e.code == ERR_BUG && is_zero(&r.in, sizeof r.in));
		MUST(is_zero(&r.out, sizeof r.out));
	}
	if (privsep_get_answer(&a, wire, n, &e) == 0) {
		privsep_put_answer(again, &a);
		MUST(memcmp(again, wire, PRIVSEP_LEN) == 0);
		MUST(text_printable(a.cause, strlen(a.cause)) && a.code < ERR_COUNT);
	}
}

static uint64_t some_ctx(struct tape *t)
{
	uint8_t which = tape_byte(t);

	if (which >= 0xf0)
		return (uint64_t)tape_u32(t) << 20 | which;
	return n_seen > 0 ? seen[(n_seen - 1 - which % n_seen) % n_seen] : which;
}

/* Keys that are almost valid; spi: the valid one, or NULL. */
static void made_up_sa(struct tape *t, struct privsep_sa *sa, const struct spi *spi)
{
	struct sa_keys *k = &sa->keys;
	uint8_t wrong;

	k->spi.n = 256u + tape_byte(t);
	if (spi != NULL && (k->spi.n & 7) != 7)
		k->spi = *spi;
	wrong = tape_byte(t);
	k->suite = wrong & 1 ? SUITE_AES128GCM16 : (enum suite)(tape_byte(t) % SUITE_COUNT);
	(void)secret_room(&k->key, suite_key_len(k->suite));
	k->esn = (wrong & 2) != 0;
	k->window = wrong & 4 ? 1u << tape_byte(t) % 32 : 64;
	k->lifetime_s = wrong & 8 ? tape_u32(t) : 60;
	sa->limits.hard_bytes = wrong & 16 ? tape_u32(t) : 1000;
	sa->limits.soft_bytes = wrong & 32 ? tape_u32(t) : 500;
	sa->limits.hard_packets = wrong & 64 ? tape_u32(t) : 100;
	sa->limits.soft_packets = wrong & 128 ? tape_u32(t) : 50;
}

/* A request that is almost valid. */
static void made_up(struct tape *t, enum privsep_op op)
{
	struct privsep_request r = {.op = op, .seq = tape_byte(t)};
	const struct ctx *c;
	uint8_t wire[PRIVSEP_LEN], wrong;

	switch (op) {
	case PRIVSEP_POLICY_ADD:
		if (grants.n_peers > 0)
			r.add = grants.peers[tape_byte(t) % grants.n_peers].policy;
		if (r.add.local.len == 0)
			(void)addr_parse(&r.add.local, "2001:db8::1", NULL);
		break;
	case PRIVSEP_POLICY_REMOVE:
	case PRIVSEP_RESERVE:
		r.policy = tape_byte(t) % 8;
		break;
	case PRIVSEP_INSTALL:
		r.ctx = some_ctx(t);
		c = ctx_of(r.ctx);
		made_up_sa(t, &r.in, c != NULL ? &c->in : NULL);
		made_up_sa(t, &r.out, NULL);
		break;
	case PRIVSEP_ACTIVATE:
		r.ctx = some_ctx(t);
		c = ctx_of(r.ctx);
		made_up_sa(t, &r.out, c != NULL ? &c->out : NULL);
		break;
	case PRIVSEP_REMOVE:
	case PRIVSEP_QUERY:
		r.ctx = some_ctx(t);
		r.part = tape_byte(t) & 3;
		break;
	default:
		break;
	}
	privsep_put_request(wire, &r);
	wrong = tape_byte(t);
	if (wrong > 0xe0) /* and one byte is changed */
		wire[(wrong << 8 | tape_byte(t)) % PRIVSEP_LEN] = tape_byte(t);
	receive(wire, sizeof wire);
}

/* The system removes an SA, or reports one of an earlier run. */
static void by_itself(struct tape *t)
{
	const struct ctx *c = ctx_of(some_ctx(t));
	const uint8_t how = tape_byte(t);
	struct installed *p = &policies[0];

	for (size_t i = 0; i < POLICIES; i++)
		if (policies[(how + i) % POLICIES].on)
			p = &policies[(how + i) % POLICIES];
	if (c != NULL && (how & 3) != 0) {
		struct privsep_grant *h = &grants.list[c->policy - 1];
		struct privsep_context *s = privsep_context_find(h, c->inner);

		MUST(s != NULL);
		lose(h, s, ctx_of(c->ctx), c->parts != 0 ? how & 3 : IPSEC_INBOUND);
	} else if (p->on) {
		reserve(p->number, &grants.list[p->number - 1], 1 + how % 3);
	}
}

static void happen(struct tape *t)
{
	uint8_t wire[PRIVSEP_LEN] = {0}, what = tape_byte(t);
	const uint8_t *part;
	size_t n;

	switch (what % 16) {
	case 0: /* any record */
		part = tape_take(t, PRIVSEP_LEN, &n);
		memcpy(wire, part, n);
		receive(wire, PRIVSEP_LEN);
		break;
	case 1: /* of any size */
		part = tape_take(t, what, &n);
		receive(part, n);
		break;
	case 2:
		configure(tape_byte(t) % CONFIGS);
		break;
	case 3:
		by_itself(t);
		break;
	default:
		made_up(t, (enum privsep_op)(PRIVSEP_POLICY_ADD + what / 16 % (PRIVSEP_OPS - 2)));
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tape t = {data, size};

	json_start();
	memset(policies, 0, sizeof policies);
	memset(ctxs, 0, sizeof ctxs);
	n_seen = 0;
	inners = 0;
	configure(0);
	for (unsigned n = 0; t.left > 0 && n < 500; n++)
		happen(&t);
	privsep_grants_free(&grants);
	return 0;
}
