/*
 * agent/ipsec/wfp/backend.c - IPsec of the Windows Filtering Platform ("Manual SA"): the operations, and the
 * state of filters and contexts, on the loop's thread. The other files call the engine (db.h).
 *
 *     policy: 8 filters ── pairs: one SA context each (of an earlier run: one entry for each SA)
 *
 * The platform does not have counters or the remaining lifetime of an SA, the choice between two outbound
 * SAs, or the removal of one SA of a context. The outbound SA is removed by Expire (the inbound lives
 * about a minute longer), the inbound by DeleteById.
 */
#include "agent/os/log.h"
#include "agent/ipsec/wfp/db.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define CHECK_MS 10000 /* to check for removed objects: not all removals are notified */
#define CLEAN_WAIT_MS 30000
#define DROPS_MS 1000 /* least time between reports of dropped packets */
#define WINDOW_MAX 64 /* Windows' window is unknown and cannot be set */

struct pair {
	struct pair *next;
	uint64_t id, context;
	bool has_in, has_out;
	struct spi in, out;
	/* Of an earlier run: this entry is one SA, and is not reported yet. */
	bool recovered, unreported;
	uint32_t left_s;
};

struct wfp_policy {
	struct wfp_policy *next;
	struct policy *p;
	uint64_t number;
	struct wfp_filters filters;
	struct pair *pairs;
	bool checking; /* a job of on_checked() is queued */
	bool removing; /* nothing of it is restored any more */
	unsigned drops;
	struct wfp_event drop; /* the last one */
	uint64_t drops_reported_ms;
};

struct wfp {
	struct ipsec db;
	struct ipsec_env env;
	struct wfp_work *work;
	uv_timer_t check_timer;
	struct wfp_policy *policies;
	uint64_t numbers;     /* of policies and pairs so far */
	struct wfp_job *list; /* of plan */
	bool closing;
};

static struct wfp *of(struct ipsec *db)
{
	return (struct wfp *)(void *)db;
}

static struct wfp_policy *policy_of(const struct policy *p)
{
	return (struct wfp_policy *)(uintptr_t)p->ref;
}

static struct pair *find_pair(struct wfp *db, struct ipsec_ctx ctx, struct wfp_policy **pol)
{
	for (*pol = db->policies; *pol != NULL; *pol = (*pol)->next)
		for (struct pair *pair = (*pol)->pairs; pair != NULL; pair = pair->next)
			if (pair->id == ctx.id)
				return pair;
	return NULL;
}

static void free_pair(struct wfp_policy *pol, struct pair *pair)
{
	struct pair **at = &pol->pairs;

	while (*at != pair)
		at = &(*at)->next;
	*at = pair->next;
	free(pair);
}

static struct pair *new_pair(struct wfp *db, struct wfp_policy *pol, uint64_t context)
{
	struct pair *pair = calloc(1, sizeof *pair);

	if (pair == NULL)
		return NULL;
	pair->id = ++db->numbers;
	pair->context = context;
	pair->next = pol->pairs;
	pol->pairs = pair;
	return pair;
}

/* ---- policies ---------------------------------------------------------------------------- */

static void add_recovered(struct wfp *db, struct wfp_policy *pol, const struct wfp_found *f)
{
	for (int half = 0; half < 2; half++) {
		struct spi spi = half == 0 ? f->in : f->out;
		struct pair *pair = spi.n == 0 ? NULL : new_pair(db, pol, f->context);

		if (pair == NULL)
			continue;
		pair->recovered = pair->unreported = true;
		pair->has_in = half == 0;
		pair->has_out = half == 1;
		pair->in = pair->out = spi;
		pair->left_s = f->lifetime_s; /* at most; the start is unknown */
	}
}

static void put_filters(struct wfp_filters *r, const struct policy *p)
{
	r->local = p->local;
	r->remote = p->remote;
	r->control_port = p->control_port;
	r->peer_port = p->peer_port != 0 ? p->peer_port : p->control_port;
}

static int policy_add(struct ipsec *ipsec, struct policy *p, struct err *e)
{
	struct wfp *db = of(ipsec);
	struct wfp_policy *pol = calloc(1, sizeof *pol);
	struct wfp_job *j = wfp_job_new(wfp_filters_add, e);

	if (pol == NULL || j == NULL) {
		free(pol);
		wfp_job_free(j);
		return err_set(e, ERR_OS, "no memory for a policy");
	}
	pol->p = p;
	pol->number = ++db->numbers;
	put_filters(&pol->filters, p);
	j->filters = pol->filters;
	j->undo = wfp_filters_undo;
	j = wfp_do(db->work, j, e);
	if (j == NULL || j->rc < 0) {
		free(pol);
		return wfp_result(j, e);
	}
	pol->filters = j->filters;
	pol->next = db->policies;
	db->policies = pol;
	for (size_t i = 0; i < j->n_found; i++)
		add_recovered(db, pol, &j->found[i]);
	wfp_job_free(j);
	p->ref = (uint64_t)(uintptr_t)pol;
	return 0;
}

/* The contexts of all pairs of the policy. */
static int put_contexts(struct wfp_job *j, const struct wfp_policy *pol)
{
	size_t n = 0;

	for (const struct pair *pair = pol->pairs; pair != NULL; pair = pair->next)
		n++;
	j->ids = calloc(n + 1, sizeof *j->ids);
	if (j->ids == NULL)
		return -1;
	for (const struct pair *pair = pol->pairs; pair != NULL; pair = pair->next)
		j->ids[j->n_ids++] = pair->context;
	j->filters = pol->filters;
	j->policy = pol->number;
	return 0;
}

static int policy_remove(struct ipsec *ipsec, struct policy *p, struct err *e)
{
	struct wfp *db = of(ipsec);
	struct wfp_policy *pol = policy_of(p), **at = &db->policies;
	struct wfp_job *j;

	if (pol == NULL)
		return 0;
	pol->removing = true;
	j = wfp_job_new(wfp_filters_remove, e);
	if (j == NULL || put_contexts(j, pol) < 0) {
		wfp_job_free(j);
		return err_set(e, ERR_OS, "no memory to remove a policy");
	}
	if (wfp_result(wfp_do(db->work, j, e), e) < 0)
		return -1;
	while (*at != pol)
		at = &(*at)->next;
	*at = pol->next;
	while (pol->pairs != NULL)
		free_pair(pol, pol->pairs);
	free(pol);
	p->ref = 0;
	return 0;
}

/* ---- pairs ------------------------------------------------------------------------------- */

static int reserve(struct ipsec *ipsec, struct policy *p, struct ipsec_ctx *ctx, struct spi *in,
		   struct err *e)
{
	struct wfp *db = of(ipsec);
	struct wfp_policy *pol = policy_of(p);
	struct wfp_job *j;
	struct pair *pair;

	if (pol == NULL)
		return err_set(e, ERR_BUG, "no policy: add it first");
	pair = new_pair(db, pol, 0);
	j = pair == NULL ? NULL : wfp_job_new(wfp_pair_reserve, e);
	if (j == NULL) {
		if (pair != NULL)
			free_pair(pol, pair);
		return err_set(e, ERR_OS, "no memory for an SA");
	}
	j->filters = pol->filters;
	j->undo = wfp_pair_unreserve;
	j = wfp_do(db->work, j, e);
	if (j == NULL || j->rc < 0) {
		free_pair(pol, pair);
		return wfp_result(j, e);
	}
	pair->context = j->context;
	*in = pair->in = j->spi;
	ctx->id = pair->id;
	wfp_job_free(j);
	return 0;
}

static int add(struct ipsec *ipsec, struct ipsec_ctx ctx, const struct sa_keys *k, bool outbound,
	       struct err *e)
{
	struct wfp *db = of(ipsec);
	struct wfp_policy *pol;
	struct pair *pair = find_pair(db, ctx, &pol);
	struct wfp_job *j;

	if (pair == NULL || pair->recovered)
		return err_set(e, ERR_BUG, "there is no context %u", (unsigned)ctx.id);
	j = wfp_job_new(wfp_pair_add, e);
	if (j == NULL)
		return -1;
	j->filters = pol->filters;
	j->context = pair->context;
	j->keys = *k;
	j->outbound = outbound;
	j->undo = wfp_pair_unadd;
	j = wfp_do(db->work, j, e);
	if (j == NULL)
		return IPSEC_UNKNOWN; /* undone later, if it is done later */
	if (wfp_result(j, e) < 0)
		return -1;
	if (outbound) {
		pair->has_out = true;
		pair->out = k->spi;
	} else {
		pair->has_in = true;
	}
	return 0;
}

/* The engine sends on an outbound SA at once, so activate() adds it. */
static int install(struct ipsec *ipsec, struct ipsec_ctx ctx, const struct sa_keys *in,
		   const struct sa_keys *out, struct err *e)
{
	(void)out;
	return add(ipsec, ctx, in, false, e);
}

static int activate(struct ipsec *ipsec, struct ipsec_ctx ctx, const struct sa_keys *out,
		    struct err *e)
{
	return add(ipsec, ctx, out, true, e);
}

static int remove_part(struct ipsec *ipsec, struct ipsec_ctx ctx, enum ipsec_part part,
		       struct err *e)
{
	struct wfp *db = of(ipsec);
	struct wfp_policy *pol;
	struct pair *pair = find_pair(db, ctx, &pol);
	bool in, out, expire, all;
	struct wfp_job *j;

	if (pair == NULL)
		return 0;
	in = pair->has_in && (part & IPSEC_INBOUND) == 0;
	out = pair->has_out && (part & IPSEC_OUTBOUND) == 0;
	all = !in && !out;
	/* The other SA of a recovered context is an entry of its own, and is removed later. */
	expire = pair->has_out && !out && (in || (pair->recovered && part != IPSEC_BOTH));
	if (expire || all) {
		j = wfp_job_new(expire ? wfp_pair_expire : wfp_pair_delete, e);
		if (j != NULL)
			j->context = pair->context;
		if (wfp_result(wfp_do(db->work, j, e), e) < 0)
			return -1;
	}
	pair->has_in = in;
	pair->has_out = out;
	if (all)
		free_pair(pol, pair);
	return 0;
}

static int query(struct ipsec *ipsec, struct ipsec_ctx ctx, enum ipsec_part part,
		 struct sa_counts *counts, struct err *e)
{
	struct wfp_policy *pol;
	const struct pair *pair = find_pair(of(ipsec), ctx, &pol);

	(void)counts; /* no counters of one SA: absent, not 0 */
	if (pair == NULL || !(part == IPSEC_INBOUND ? pair->has_in : pair->has_out))
		return err_set(e, ERR_DOWN, "there is no such SA");
	return 0;
}

static int recover(struct ipsec *ipsec, ipsec_found *found, void *arg, struct err *e)
{
	for (struct wfp_policy *pol = of(ipsec)->policies; pol != NULL; pol = pol->next) {
		for (struct pair *pair = pol->pairs; pair != NULL; pair = pair->next) {
			struct ipsec_leftover l = {
				.ctx = {pair->id},
				.part = pair->has_in ? IPSEC_INBOUND : IPSEC_OUTBOUND,
				.local = pol->p->local,
				.remote = pol->p->remote,
				.spi = pair->has_in ? pair->in : pair->out,
				.owner = pol->p->owner,
				.left_s = pair->left_s,
			};

			if (!pair->unreported)
				continue;
			pair->unreported = false;
			if (found(arg, &l, e) < 0)
				return -1;
		}
	}
	return 0;
}

/* ---- changes by others and notifications ------------------------------------------------- */

/* Restores filters, with new ids: no SA uses them any more. */
static bool restore_filters(struct wfp *db, struct wfp_policy *pol)
{
	struct err e = {0};
	struct wfp_job *j = wfp_job_new(wfp_filters_add, &e);

	if (j != NULL)
		j->filters = pol->filters;
	j = wfp_do(db->work, j, &e);
	if (j == NULL || j->rc < 0) {
		wfp_result(j, &e);
		log_line(LOG_ERROR, "peer %s: restoring removed filters: %s", pol->p->peer,
			 e.cause);
		return false;
	}
	pol->filters = j->filters;
	wfp_job_free(j);
	return true;
}

static bool is_listed(const struct wfp_job *j, uint64_t context)
{
	for (size_t i = 0; i < j->n_ids; i++)
		if (j->ids[i] == context)
			return true;
	return false;
}

/* Reports one pair. The callback may change the list, so start from its beginning each time. */
static bool report_one(struct wfp *db, const struct wfp_job *j, bool all, uint64_t up_to)
{
	struct ipsec_event ev = {.kind = IPSEC_EV_REMOVED,
				 .part = IPSEC_BOTH,
				 .text = all ? "another program removed our filters; restored"
					     : "an SA context expired or was removed"};

	for (struct wfp_policy *pol = db->policies; pol != NULL; pol = pol->next) {
		if (pol->number != j->policy)
			continue;
		for (struct pair *pair = pol->pairs; pair != NULL; pair = pair->next) {
			if (pair->id > up_to || !(pair->has_in || pair->has_out) ||
			    !(all || is_listed(j, pair->context)))
				continue;
			pair->has_in = pair->has_out = false; /* reported once */
			ev.owner = pol->p->owner;
			ev.ctx.id = pair->id;
			db->env.on_event(db->env.arg, &ev);
			return true;
		}
	}
	return false;
}

static void on_checked(void *arg, struct wfp_job *j)
{
	struct wfp *db = arg;
	struct wfp_policy *pol = db->policies;
	const uint64_t up_to = db->numbers;
	bool all;

	while (pol != NULL && pol->number != j->policy)
		pol = pol->next;
	if (pol == NULL)
		return;
	pol->checking = false;
	if (j->rc < 0 || db->closing || pol->removing)
		return;
	all = (j->changed || j->existed) && restore_filters(db, pol) && j->changed;
	if (all || j->n_ids > 0)
		while (report_one(db, j, all, up_to))
			;
}

static void start_check(struct wfp *db, struct wfp_policy *pol)
{
	struct wfp_job *j = pol->checking || pol->removing ? NULL : wfp_job_new(wfp_check, NULL);

	if (j == NULL || put_contexts(j, pol) < 0) {
		wfp_job_free(j);
		return;
	}
	pol->checking = true;
	j->done = on_checked;
	wfp_post(db->work, j);
}

static void report_drops(struct wfp *db, struct wfp_policy *pol)
{
	const uint64_t now = uv_now(db->env.loop);
	struct ipsec_event ev = {.kind = IPSEC_EV_DROPPED, .owner = pol->p->owner};
	char text[128];

	if (pol->drops == 0 ||
	    (pol->drops_reported_ms != 0 && now - pol->drops_reported_ms < DROPS_MS))
		return;
	snprintf(text, sizeof text,
		 "%u packets dropped; the last: SPI %08" PRIx32 ", status 0x%08" PRIx32, pol->drops,
		 pol->drop.spi.n, pol->drop.status);
	ev.spi = pol->drop.spi;
	ev.n = pol->drops;
	ev.text = text;
	pol->drops = 0;
	pol->drops_reported_ms = now;
	db->env.on_event(db->env.arg, &ev);
}

static void on_check_timer(uv_timer_t *t)
{
	struct wfp *db = t->data;

	for (struct wfp_policy *pol = db->policies; pol != NULL; pol = pol->next) {
		start_check(db, pol);
		report_drops(db, pol);
	}
}

/* Our own removals are not listed any more when they are notified. */
static bool concerns(const struct wfp_policy *pol, const struct wfp_event *n)
{
	switch (n->kind) {
	case WFP_CONTEXT_GONE:
		for (const struct pair *pair = pol->pairs; pair != NULL; pair = pair->next)
			if (pair->context == n->id && (pair->has_in || pair->has_out))
				return true;
		return false;
	case WFP_FILTER_GONE:
		for (size_t i = 0; i < WFP_FILTERS; i++)
			if (pol->filters.id[i] == n->id)
				return true;
		return false;
	case WFP_DROP:
		return addr_equal(&pol->filters.remote, &n->remote);
	case WFP_EVENT_KINDS:
		break;
	}
	return false;
}

/* Notifications are not trusted: the objects are checked. */
static void on_event(void *arg, const struct wfp_event *news, size_t n)
{
	struct wfp *db = arg;

	if (db->closing)
		return;
	if (n == 0)
		on_check_timer(&db->check_timer);
	for (size_t i = 0; i < n; i++)
		for (struct wfp_policy *pol = db->policies; pol != NULL; pol = pol->next) {
			if (!concerns(pol, &news[i]))
				continue;
			if (news[i].kind != WFP_DROP) {
				start_check(db, pol);
				continue;
			}
			pol->drops++;
			pol->drop = news[i];
			report_drops(db, pol);
		}
}

/* ---- plan and clean ---------------------------------------------------------------------- */

static int plan(struct ipsec *ipsec, const struct policy *p, ipsec_told *told, void *arg,
		struct err *e)
{
	struct wfp *db = of(ipsec);
	struct wfp_filters filters = {0};

	if (db->list == NULL) {
		struct wfp_job *j = wfp_do(db->work, wfp_job_new(wfp_list, e), e);

		if (j == NULL || j->rc < 0)
			return wfp_result(j, e);
		db->list = j;
	}
	if (p == NULL) {
		wfp_plan_rest(db->list, IPSEC_STALE, told, arg);
		return 0;
	}
	put_filters(&filters, p);
	wfp_plan_policy(db->list, &filters, told, arg);
	return 0;
}

static int clean(struct ipsec *ipsec, ipsec_told *told, void *arg, struct err *e)
{
	struct wfp_job *j = wfp_do(of(ipsec)->work, wfp_job_new(wfp_clean, e), e);

	if (j != NULL && j->rc == 0)
		wfp_plan_rest(j, IPSEC_REMOVE, told, arg);
	return wfp_result(j, e);
}

static int statistics(struct ipsec *ipsec, char *text, size_t size, struct err *e)
{
	struct wfp_job *j = wfp_do(of(ipsec)->work, wfp_job_new(wfp_statistics, e), e);

	if (j != NULL && j->rc == 0)
		snprintf(text, size, "%s", j->text);
	return wfp_result(j, e);
}

/* ---- open and close ---------------------------------------------------------------------- */

static void on_closed(uv_handle_t *h)
{
	free(h->data);
}

static int open_wfp(struct ipsec **out, const struct ipsec_env *env, struct err *e)
{
	struct wfp *db = calloc(1, sizeof *db);

	if (db == NULL)
		return err_set(e, ERR_OS, "no memory");
	db->db.ops = &ipsec_wfp;
	db->env = *env;
	if (wfp_work_open(&db->work, env->loop, db, env->looks_only ? NULL : on_event, e) < 0) {
		free(db);
		return -1;
	}
	uv_timer_init(env->loop, &db->check_timer);
	db->check_timer.data = db;
	if (env->looks_only)
		wfp_work_set_wait(db->work, CLEAN_WAIT_MS);
	else
		uv_timer_start(&db->check_timer, on_check_timer, CHECK_MS, CHECK_MS);
	uv_unref((uv_handle_t *)&db->check_timer);
	*out = &db->db;
	return 0;
}

static void close_wfp(struct ipsec *ipsec)
{
	struct wfp *db = of(ipsec);

	db->closing = true;
	wfp_work_close(db->work); /* finishes queued jobs */
	wfp_job_free(db->list);
	while (db->policies != NULL) {
		struct wfp_policy *pol = db->policies;

		db->policies = pol->next;
		while (pol->pairs != NULL)
			free_pair(pol, pol->pairs);
		pol->p->ref = 0;
		free(pol);
	}
	uv_close((uv_handle_t *)&db->check_timer, on_closed);
}

static void can(struct ipsec *ipsec, struct ipsec_can *c)
{
	(void)ipsec;
	c->survives = true;
	c->window_max = WINDOW_MAX;
	c->lifetime_max_s = WFP_LIFE_MAX_S - 3600;
	for (int s = 0; s < SUITE_COUNT; s++)
		suite_list_add(&c->suites, (enum suite)s);
}

const struct ipsec_ops ipsec_wfp = {
	.name = "wfp",
	.open = open_wfp,
	.close = close_wfp,
	.can = can,
	.policy_add = policy_add,
	.policy_remove = policy_remove,
	.reserve = reserve,
	.install = install,
	.activate = activate,
	.remove = remove_part,
	.query = query,
	.recover = recover,
	.plan = plan,
	.clean = clean,
	.statistics = statistics,
};
