/*
 * agent/daemon/pair/manual.c - a pair with a host that has no agent.
 */
#include "agent/daemon/pair/pair.h"

#include "agent/daemon/pair/inner.h"
#include "agent/os/os.h"
#include "crypto/random.h"

#include <stdlib.h>
#include <string.h>

#define MANUAL_S 5400 /* lifetime, if the config sets no limit */

static int check_possible(const struct pair *p, struct err *e)
{
	if (p->current != NULL || p->is_linked) {
		err_set(e, ERR_USAGE, "%s has an agent, and is paired with it", p->name);
		return err_hint(e, "a manual pair is for hosts without an agent");
	}
	if (p->agent->can.datagrams)
		return err_set(e, ERR_USAGE,
			       "this back end does ESP in its own process, between agents only");
	if (p->policy->opt.udp)
		return err_set(e, ERR_USAGE,
			       "the peer has \"udp\": ESP in UDP needs a program on that host");
	return 0;
}

static uint32_t lifetime_of(const struct pair *p, int64_t not_after)
{
	int64_t left = not_after - os_wall_ms() / 1000;
	uint32_t s = p->opt->hard_time_s != 0 ? p->opt->hard_time_s : MANUAL_S;

	if (p->agent->can.lifetime_max_s != 0 && s > p->agent->can.lifetime_max_s)
		s = p->agent->can.lifetime_max_s;
	return left < (int64_t)s ? (uint32_t)(left > 1 ? left : 1) : s;
}

static enum suite suite_of(const struct pair *p)
{
	const struct suite_list *l = &p->opt->suites;

	for (uint8_t i = 0; i < l->n; i++)
		if (suite_list_has(&p->agent->can.suites, (enum suite)l->v[i]))
			return (enum suite)l->v[i];
	return SUITE_AES256GCM16;
}

static int install(struct pair *p, struct generation *g, struct sa_keys *in, struct sa_keys *out,
		   struct err *e)
{
	struct ipsec *db = p->agent->db;

	generations_set_limits(p, false);
	in->spi = g->in;
	random_secret(&in->key, suite_key_len(in->suite));
	g->keys->in = in->key;
	*out = *in;
	out->spi = g->out;
	random_secret(&out->key, suite_key_len(out->suite));
	g->keys->out = out->key;
	if (ipsec_install(db, g->ctx, in, out, e) < 0)
		return err_in(e, "install the SAs");
	g->has_in = true;
	if (ipsec_activate(db, g->ctx, out, e) < 0)
		return err_in(e, "activate the outbound SA %08x", out->spi.n);
	g->has_out = true;
	return 0;
}

int manual_pair(struct pair *p, int64_t not_after, struct pair_view *out, struct err *e)
{
	struct sa_keys k = {.window = p->opt->window}, out_keys;
	struct generation *g;
	int rc;

	if (check_possible(p, e) < 0)
		return -1;
	g = generation_new(p->agent);
	if (g == NULL)
		return err_set(e, ERR_OS, "no memory for an SA");
	g->keys = calloc(1, sizeof *g->keys);
	if (g->keys == NULL || ipsec_reserve(p->agent->db, p->policy, &g->ctx, &g->in, e) < 0) {
		generation_free(p->agent, g);
		return err_in(e, "reserve an SPI");
	}
	if (k.window > p->agent->can.window_max)
		k.window = p->agent->can.window_max;
	g->suite = k.suite = suite_of(p);
	k.lifetime_s = lifetime_of(p, not_after);
	do {
		g->out.n = random_u32();
		k.qm_sa_id = random_u32();
	} while (g->out.n < SPI_MIN || spi_equal(g->out, g->in) || k.qm_sa_id == 0);
	g->recovered = true;
	rc = install(p, g, &k, &out_keys, e);
	g->since_ms = loop_now_ms();
	g->hard_ms = g->since_ms + (uint64_t)k.lifetime_s * 1000;
	wipe(&k, sizeof k);
	wipe(&out_keys, sizeof out_keys);
	if (rc < 0) {
		generation_remove(p, g);
		return -1;
	}
	g->next = p->superseded;
	p->superseded = g;
	deadline_set_by(&p->generations_due, g->hard_ms);
	generation_view(g, out);
	return 0;
}

void manual_forget_keys(struct pair *p, struct ipsec_ctx ctx)
{
	struct generation *g = generation_find(p, ctx);

	if (p->agent->cfg.export_keys || g == NULL)
		return;
	wipe(g->keys, sizeof *g->keys);
	free(g->keys);
	g->keys = NULL;
}
