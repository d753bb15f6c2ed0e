/*
 * agent/ipsec/soft/backend.c - security associations in process: ESP in UDP (RFC 3948), no privilege.
 *
 * It carries only the agent's probes, so that a pair can be verified on any system. It is strict about
 * the order of calls: a mistake that a kernel might accept is ERR_BUG here.
 *
 * It enforces limits of bytes and packets; the agent enforces lifetimes. SAs end with the process, and
 * keys are wiped.
 */
#include "agent/ipsec/soft/db.h"
#include "crypto/random.h"
#include "proto/esp/udp.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define COMPARED 32 /* newest pairs of a policy, so that the cost of a rekey is bounded */
#define NUMBERS_SOFT 0xf0000000u /* without ESN: rekey at this sequence number */

static struct soft *of(struct ipsec *db)
{
	return (struct soft *)(void *)db;
}

/* A key is used for one SA in one direction (I4). */
static int check_unused(const struct pair *pair, const struct sa_keys *k, bool outbound,
			struct err *e)
{
	unsigned left = COMPARED;

	for (const struct pair *q = pair->policy->pairs; q != NULL && left-- > 0;
	     q = q->next_of_policy) {
		if ((q->in != NULL && secret_equal(&q->in->esp.key, &k->key)) ||
		    (q->out != NULL && secret_equal(&q->out->esp.key, &k->key)))
			return err_set(e, ERR_BUG,
				       "the key of another SA of this peer (SPI %08" PRIx32
				       "): one key, one SA",
				       q->spi.n);
		if (outbound && q->out != NULL && spi_equal(q->out->esp.spi, k->spi))
			return err_set(e, ERR_BUG, "outbound SPI %08" PRIx32 " is in use already",
				       k->spi.n);
	}
	return 0;
}

static int no_context(const struct soft *db, struct ipsec_ctx ctx, struct err *e)
{
	if (!soft_was_reserved(db, ctx))
		return err_set(e, ERR_BUG, "unknown context %" PRIx64, ctx.id);
	return err_set(e, ERR_BUG, "context %" PRIx64 " is gone", ctx.id);
}

/* ---- the interface ----------------------------------------------------------------------- */

static int soft_open(struct ipsec **out, const struct ipsec_env *env, struct err *e)
{
	struct soft *db = calloc(1, sizeof *db);

	if (db == NULL)
		return err_set(e, ERR_OS, "no memory");
	db->n_buckets = 64;
	db->buckets = calloc(db->n_buckets, sizeof *db->buckets);
	if (db->buckets == NULL) {
		free(db);
		return err_set(e, ERR_OS, "no memory");
	}
	db->db.ops = &ipsec_soft;
	db->env = *env;
	db->last_waiting = &db->waiting;
	uv_timer_init(env->loop, &db->wake);
	uv_timer_init(env->loop, &db->report);
	db->wake.data = db->report.data = db;
	db->handles = 2;
	*out = &db->db;
	return 0;
}

static struct soft_policy *policy_of(const struct policy *p, struct err *e)
{
	struct soft_policy *pol = (struct soft_policy *)(uintptr_t)p->ref;

	if (pol == NULL)
		err_set(e, ERR_BUG, "peer %s: no policy was added", p->peer);
	return pol;
}

static int soft_policy_add(struct ipsec *ipsec, struct policy *p, struct err *e)
{
	struct soft *db = of(ipsec);
	const struct endpoint at = {p->local, p->local_esp_port};
	struct soft_policy *pol;

	if (p->local_esp_port == 0 || p->remote_esp_port == 0)
		return err_set(e, ERR_USAGE, "peer %s: soft needs a UDP port on both hosts",
			       p->peer);
	for (pol = db->policies; pol != NULL; pol = pol->next)
		if (addr_equal(&pol->p->local, &p->local) &&
		    addr_equal(&pol->p->remote, &p->remote) &&
		    pol->p->local_esp_port == p->local_esp_port &&
		    pol->p->remote_esp_port == p->remote_esp_port)
			return err_set(e, ERR_USAGE,
				       "peer %s: peer %s has the same addresses and ports", p->peer,
				       pol->p->peer);

	pol = calloc(1, sizeof *pol);
	if (pol == NULL)
		return err_set(e, ERR_OS, "no memory");
	pol->p = p;
	pol->socket = soft_socket_take(db, &at, e);
	if (pol->socket == NULL) {
		free(pol);
		return err_in(e, "peer %s", p->peer);
	}
	pol->next = db->policies;
	db->policies = pol;
	p->ref = (uintptr_t)pol;
	return 0;
}

static void free_policy(struct soft *db, struct soft_policy *pol)
{
	struct soft_policy **at = &db->policies;

	soft_forget_events(db, pol, 0, 0);
	if (db->dropped.policy == pol)
		db->dropped.policy = NULL;
	for (struct pair *pair = pol->pairs, *next; pair != NULL; pair = next) {
		next = pair->next_of_policy;
		soft_free_pair(db, pair);
	}
	soft_socket_drop(db, pol->socket);
	while (*at != pol)
		at = &(*at)->next;
	*at = pol->next;
	pol->p->ref = 0;
	free(pol);
}

static int soft_policy_remove(struct ipsec *ipsec, struct policy *p, struct err *e)
{
	struct soft_policy *pol = policy_of(p, e);

	if (pol == NULL)
		return -1;
	free_policy(of(ipsec), pol);
	return 0;
}

static int soft_reserve(struct ipsec *ipsec, struct policy *p, struct ipsec_ctx *ctx,
			struct spi *in, struct err *e)
{
	struct soft *db = of(ipsec);
	struct soft_policy *pol = policy_of(p, e);
	struct pair *pair;

	if (pol == NULL)
		return -1;
	pair = calloc(1, sizeof *pair);
	if (pair == NULL)
		return err_set(e, ERR_OS, "no memory");
	do {
		pair->spi.n = random_u32();
	} while (!spi_usable(pair->spi) || soft_pair_of_spi(db, pair->spi) != NULL);
	pair->id = (uint64_t)++db->reserved << 32 | pair->spi.n;
	pair->policy = pol;

	soft_insert_pair(db, pair);
	ctx->id = pair->id;
	*in = pair->spi;
	return 0;
}

static struct inbound *new_inbound(const struct sa_keys *k)
{
	const size_t words = replay_words(k->window);
	struct inbound *in = calloc(1, sizeof *in + words * sizeof in->words[0]);

	if (in == NULL)
		return NULL;
	in->esp.spi = k->spi;
	in->esp.suite = k->suite;
	in->esp.key = k->key;
	replay_init(&in->esp.replay, k->window, k->esn, in->words);
	return in;
}

static struct outbound *new_outbound(const struct sa_keys *k)
{
	struct outbound *out = calloc(1, sizeof *out);

	if (out == NULL)
		return NULL;
	out->esp.spi = k->spi;
	out->esp.suite = k->suite;
	out->esp.key = k->key;
	out->esp.esn = k->esn;
	random_bytes(out->esp.iv_salt, sizeof out->esp.iv_salt);
	return out;
}

static int check_install(const struct pair *pair, const struct sa_keys *in,
			 const struct sa_keys *out, struct err *e)
{
	if (pair->in != NULL)
		return err_set(e, ERR_BUG, "inbound SA of SPI %08" PRIx32 " installed twice",
			       pair->spi.n);
	if (pair->out != NULL)
		return err_set(e, ERR_BUG, "inbound SA of SPI %08" PRIx32 " was removed already",
			       pair->spi.n);
	if (!spi_equal(in->spi, pair->spi))
		return err_set(e, ERR_BUG, "inbound SPI %08" PRIx32 "; %08" PRIx32 " was reserved",
			       in->spi.n, pair->spi.n);
	if (secret_equal(&in->key, &out->key))
		return err_set(e, ERR_BUG,
			       "one key for both SAs of SPI %08" PRIx32 ": one key, one SA",
			       pair->spi.n);
	return check_unused(pair, in, false, e) < 0 ? -1 : check_unused(pair, out, true, e);
}

static int soft_install(struct ipsec *ipsec, struct ipsec_ctx ctx, const struct sa_keys *in,
			const struct sa_keys *out, struct err *e)
{
	struct soft *db = of(ipsec);
	struct pair *pair = soft_pair_of_ctx(db, ctx);
	struct inbound *inbound;
	struct outbound *outbound;

	if (pair == NULL)
		return no_context(db, ctx, e);
	if (check_install(pair, in, out, e) < 0)
		return -1;
	inbound = new_inbound(in);
	outbound = new_outbound(out);
	if (inbound == NULL || outbound == NULL) {
		soft_free_inbound(inbound);
		soft_wipe_free(outbound, sizeof *outbound);
		return err_set(e, ERR_OS, "no memory");
	}
	pair->in = inbound;
	pair->out = outbound;
	return 0;
}

static int soft_activate(struct ipsec *ipsec, struct ipsec_ctx ctx, const struct sa_keys *k,
			 struct err *e)
{
	struct soft *db = of(ipsec);
	struct pair *pair = soft_pair_of_ctx(db, ctx);
	struct outbound *out;

	if (pair == NULL)
		return no_context(db, ctx, e);
	out = pair->out;
	if (out == NULL)
		return err_set(e, ERR_BUG, "no outbound SA to activate (inbound SPI %08" PRIx32 ")",
			       pair->spi.n);
	if (out->order > 0)
		return err_set(e, ERR_BUG, "outbound SA of context %" PRIx64 " activated twice",
			       ctx.id);
	if (!spi_equal(out->esp.spi, k->spi) || !secret_equal(&out->esp.key, &k->key))
		return err_set(e, ERR_BUG,
			       "outbound SPI %08" PRIx32 "; %08" PRIx32 " was installed", k->spi.n,
			       out->esp.spi.n);
	out->order = ++db->activated;
	pair->policy->selected = pair;
	return 0;
}

static int soft_remove(struct ipsec *ipsec, struct ipsec_ctx ctx, enum ipsec_part part,
		       struct err *e)
{
	struct soft *db = of(ipsec);
	struct pair *pair = soft_pair_of_ctx(db, ctx);
	struct soft_policy *pol;
	bool was_selected;

	if (pair == NULL)
		return soft_was_reserved(db, ctx) ? 0 : no_context(db, ctx, e);
	pol = pair->policy;
	was_selected = pol->selected == pair && ((unsigned)part & IPSEC_OUTBOUND) != 0;
	soft_forget_events(db, pol, ctx.id, part);
	soft_end_parts(db, pair, part);
	if (was_selected)
		soft_select_newest(pol);
	return 0;
}

static int soft_query(struct ipsec *ipsec, struct ipsec_ctx ctx, enum ipsec_part part,
		      struct sa_counts *counts, struct err *e)
{
	struct soft *db = of(ipsec);
	const struct pair *pair = soft_pair_of_ctx(db, ctx);

	if (pair == NULL && !soft_was_reserved(db, ctx))
		return no_context(db, ctx, e);
	if (pair != NULL && part == IPSEC_INBOUND && pair->in != NULL) {
		counts->known = IPSEC_KNOWS_PACKETS | IPSEC_KNOWS_BYTES | IPSEC_KNOWS_REPLAY |
				IPSEC_KNOWS_INTEGRITY;
		counts->packets = pair->in->packets;
		counts->bytes = pair->in->bytes;
		counts->replay_dropped = pair->in->replay_dropped;
		counts->integrity_failed = pair->in->integrity_failed;
		return 0;
	}
	if (pair != NULL && part == IPSEC_OUTBOUND && pair->out != NULL) {
		counts->known = IPSEC_KNOWS_PACKETS | IPSEC_KNOWS_BYTES;
		counts->packets = pair->out->packets;
		counts->bytes = pair->out->bytes;
		return 0;
	}
	return err_set(e, ERR_DOWN, "context %" PRIx64 " has no %s SA", ctx.id,
		       part == IPSEC_INBOUND ? "inbound" : "outbound");
}

static int soft_recover(struct ipsec *ipsec, ipsec_found *found, void *arg, struct err *e)
{
	(void)ipsec, (void)found, (void)arg, (void)e; /* nothing outlives the process */
	return 0;
}

static int end_outbound(struct soft *db, struct pair *pair, enum rekey_reason reason,
			const char *text, struct err *e)
{
	const char *peer = pair->policy->p->peer;

	soft_raise_later(db, pair, IPSEC_EV_HARD, IPSEC_OUTBOUND, reason, text);
	soft_end_parts(db, pair, IPSEC_OUTBOUND);
	return err_set(e, ERR_DOWN, "peer %s: %s", peer, text);
}

static int soft_send(struct ipsec *ipsec, struct policy *p, const uint8_t *data, size_t n,
		     struct err *e)
{
	struct soft *db = of(ipsec);
	const struct soft_policy *pol = policy_of(p, e);
	const size_t inner_len = UDP_HEAD + n;
	uint8_t *inner = db->sent; /* esp_seal() moves it to where it belongs */
	struct outbound *out;
	struct pair *pair;
	size_t len;

	if (pol == NULL)
		return -1;
	if (n > PACKET_MAX - ESP_OVERHEAD_MAX - UDP_HEAD)
		return err_set(e, ERR_BUG, "peer %s: a payload of %zu bytes; %d go in", p->peer, n,
			       PACKET_MAX - ESP_OVERHEAD_MAX - UDP_HEAD);
	pair = pol->selected;
	if (pair == NULL)
		return err_set(e, ERR_DOWN, "peer %s: no SA to send on", p->peer);
	out = pair->out;
	if (soft_over_hard(p, out->packets + 1, out->bytes + inner_len))
		return end_outbound(db, pair, REASON_BYTES,
				    "outbound: hard limit of bytes or packets", e);

	memcpy(inner + UDP_HEAD, data, n);
	udp_put(inner, inner_len,
		&(struct udp_flow){p->local, p->remote, p->local_esp_port, p->remote_esp_port});

	switch (esp_seal(&out->esp, ESP_NEXT_UDP, inner, inner_len, db->sent, sizeof db->sent,
			 &len)) {
	case ESP_OK:
		break;
	case ESP_EXHAUSTED:
		return end_outbound(db, pair, REASON_PACKETS,
				    "outbound: the sequence numbers are used up", e);
	case ESP_NO_MEMORY:
		return err_set(e, ERR_OS, "peer %s: seal a packet: no memory", p->peer);
	default:
		return err_set(e, ERR_BUG, "peer %s: seal a packet of %zu bytes", p->peer, n);
	}
	out->packets++;
	out->bytes += inner_len;
	soft_warn(db, pair, IPSEC_OUTBOUND, &out->soft_told, out->packets, out->bytes,
		  !out->esp.esn && out->esp.seq >= NUMBERS_SOFT);
	return soft_transmit(pol->socket, p, db->sent, len, e);
}

static void soft_can(struct ipsec *ipsec, struct ipsec_can *can)
{
	(void)ipsec;
	can->esn = can->udp = can->permissive = can->counts = can->datagrams = true;
	can->window_max = REPLAY_WINDOW_MAX;
	for (unsigned s = 0; s < SUITE_COUNT; s++)
		suite_list_add(&can->suites, (enum suite)s);
}

static void soft_close(struct ipsec *ipsec)
{
	struct soft *db = of(ipsec);

	db->closing = true;
	while (db->policies != NULL)
		free_policy(db, db->policies);
	free(db->buckets);
	db->buckets = NULL;
	uv_close((uv_handle_t *)&db->wake, soft_timer_closed);
	uv_close((uv_handle_t *)&db->report, soft_timer_closed);
}

const struct ipsec_ops ipsec_soft = {
	.name = "soft",
	.open = soft_open,
	.close = soft_close,
	.can = soft_can,
	.policy_add = soft_policy_add,
	.policy_remove = soft_policy_remove,
	.reserve = soft_reserve,
	.install = soft_install,
	.activate = soft_activate,
	.remove = soft_remove,
	.query = soft_query,
	.recover = soft_recover,
	.send = soft_send,
};
