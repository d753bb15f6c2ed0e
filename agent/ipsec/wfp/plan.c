/*
 * agent/ipsec/wfp/plan.c - the filters and SAs that a config needs, compared with the existing ones; and
 * the removal of all objects of this program.
 */
#include "agent/ipsec/wfp/api.h"

#include "agent/ipsec/wfp/db.h"

#include <stdlib.h>

#define BATCH 64
#define ANY_ACTION 0xffffffffu

/* ---- on the engine's thread: existing objects ---------------------------------------------- */

static struct wfp_object *one_more(struct wfp_job *j)
{
	struct wfp_object *grown = realloc(j->objects, (j->n_objects + 1) * sizeof *grown);

	if (grown == NULL) {
		err_set(&j->e, ERR_OS, "no memory for the existing objects");
		return NULL;
	}
	j->objects = grown;
	grown += j->n_objects++;
	memset(grown, 0, sizeof *grown);
	return grown;
}

static void take_address(struct addr *a, const FWP_CONDITION_VALUE0 *v)
{
	if (v->type == FWP_UINT32) {
		*a = wfp_addr_of_v4(v->uint32);
	} else if (v->type == FWP_BYTE_ARRAY16_TYPE) {
		a->len = 16;
		memcpy(a->bytes, v->byteArray16->byteArray16, 16);
	}
}

static int take_filter(struct wfp_job *j, const FWPM_FILTER0 *f, bool is_out)
{
	const GUID *source_port = is_out ? &wfp_cond_local_port : &wfp_cond_remote_port;
	const GUID *target_port = is_out ? &wfp_cond_remote_port : &wfp_cond_local_port;
	struct wfp_object *w = one_more(j);
	struct ipsec_object *o;

	if (w == NULL)
		return -1;
	o = &w->o;
	o->is_policy = true;
	o->is_out = is_out;
	o->id = f->filterId;
	memcpy(w->guid, &f->filterKey, sizeof w->guid);
	o->protects = f->action.type == FWP_ACTION_CALLOUT_TERMINATING;
	o->priority = f->weight.type == FWP_UINT8 ? f->weight.uint8 : 0;
	for (UINT32 i = 0; i < f->numFilterConditions; i++) {
		const FWPM_FILTER_CONDITION0 *c = &f->filterCondition[i];
		const GUID *field = &c->fieldKey;

		if (IsEqualGUID(field, &wfp_cond_local)) {
			take_address(is_out ? &o->src : &o->dst, &c->conditionValue);
		} else if (IsEqualGUID(field, &wfp_cond_remote)) {
			take_address(is_out ? &o->dst : &o->src, &c->conditionValue);
		} else if (IsEqualGUID(field, &wfp_cond_protocol)) {
			o->proto = c->conditionValue.uint8;
		} else if (IsEqualGUID(field, source_port)) {
			o->has_sport = true;
			o->sport = c->conditionValue.uint16;
		} else if (IsEqualGUID(field, target_port)) {
			o->has_dport = true;
			o->dport = c->conditionValue.uint16;
		}
	}
	return 0;
}

static int list_layer(struct wfp_engine *g, struct wfp_job *j, const GUID *layer, bool is_out)
{
	FWPM_FILTER_ENUM_TEMPLATE0 want;
	GUID provider = wfp_provider;
	HANDLE list = NULL;
	UINT32 n = BATCH;
	int rc = 0;
	DWORD code;

	memset(&want, 0, sizeof want);
	want.providerKey = &provider;
	want.layerKey = *layer;
	want.enumType = FWP_FILTER_ENUM_OVERLAPPING;
	want.actionMask = ANY_ACTION;
	code = FwpmFilterCreateEnumHandle0(g->handle, &want, &list);
	if (code != ERROR_SUCCESS)
		return wfp_failed(&j->e, code, "FwpmFilterCreateEnumHandle0");
	while (rc == 0 && n == BATCH) {
		FWPM_FILTER0 **entries = NULL;

		code = FwpmFilterEnum0(g->handle, list, BATCH, &entries, &n);
		if (code != ERROR_SUCCESS) {
			rc = wfp_failed(&j->e, code, "FwpmFilterEnum0");
			break;
		}
		for (UINT32 i = 0; i < n && rc == 0; i++)
			rc = take_filter(j, entries[i], is_out);
		if (entries != NULL)
			FwpmFreeMemory0((void **)&entries);
	}
	FwpmFilterDestroyEnumHandle0(g->handle, list);
	return rc;
}

/* Our filter with this id, or NULL. */
static const struct wfp_object *filter_of(const struct wfp_job *j, uint64_t id)
{
	for (size_t i = 0; i < j->n_objects; i++)
		if (j->objects[i].o.is_policy && j->objects[i].o.id == id)
			return &j->objects[i];
	return NULL;
}

static int take_half(struct wfp_job *j, const struct wfp_found *c, bool is_out)
{
	const uint64_t filter = is_out ? c->out_filter : c->in_filter;
	const struct wfp_object *f = filter_of(j, filter);
	struct wfp_object half = {.filter = filter}, *w;

	if (filter == 0 || f == NULL)
		return 0;
	half.o = (struct ipsec_object){.is_out = is_out,
				       .src = f->o.src,
				       .dst = f->o.dst,
				       .spi = is_out ? c->out : c->in,
				       .id = c->context};
	w = one_more(j); /* f is invalid now */
	if (w != NULL)
		*w = half;
	return w != NULL ? 0 : -1;
}

int wfp_list(struct wfp_engine *g, struct wfp_job *j)
{
	const struct {
		const GUID *layer;
		bool is_out;
	} layers[] = {{&wfp_layer_out_v4, true},
		      {&wfp_layer_in_v4, false},
		      {&wfp_layer_out_v6, true},
		      {&wfp_layer_in_v6, false}};

	free(j->objects);
	j->objects = NULL;
	j->n_objects = 0;
	for (size_t i = 0; i < sizeof layers / sizeof layers[0]; i++)
		if (list_layer(g, j, layers[i].layer, layers[i].is_out) < 0)
			return -1;
	if (j->n_objects == 0)
		return 0; /* without a filter no SA can be ours */
	j->any = true;
	if (wfp_find_contexts(g, j) < 0)
		return -1;
	for (size_t i = 0; i < j->n_found; i++)
		if (take_half(j, &j->found[i], true) < 0 || take_half(j, &j->found[i], false) < 0)
			return -1;
	return 0;
}

static uint32_t remove_listed(struct wfp_engine *g, struct wfp_job *j, const char **call)
{
	DWORD code = ERROR_SUCCESS;

	*call = "FwpmFilterDeleteByKey0";
	for (size_t i = 0; i < j->n_objects && code == ERROR_SUCCESS; i++) {
		GUID key;

		if (!j->objects[i].o.is_policy)
			continue;
		memcpy(&key, j->objects[i].guid, sizeof key);
		code = FwpmFilterDeleteByKey0(g->handle, &key);
		if (code == (DWORD)FWP_E_FILTER_NOT_FOUND)
			code = ERROR_SUCCESS;
	}
	if (code != ERROR_SUCCESS)
		return code;
	*call = "FwpmProviderDeleteByKey0";
	code = FwpmProviderDeleteByKey0(g->handle, &wfp_provider);
	return code == (DWORD)FWP_E_PROVIDER_NOT_FOUND ? ERROR_SUCCESS : code;
}

/* SAs first: until the filters are removed, traffic is blocked, not in clear. */
int wfp_clean(struct wfp_engine *g, struct wfp_job *j)
{
	if (wfp_list(g, j) < 0)
		return -1;
	for (size_t i = 0; i < j->n_objects; i++)
		if (!j->objects[i].o.is_policy &&
		    wfp_delete_context(g, j->objects[i].o.id, &j->e) < 0)
			return -1;
	return wfp_transaction(g, j, remove_listed);
}

/* ---- on the loop's thread ------------------------------------------------------------------ */

static void report(const struct ipsec_object *what, enum ipsec_change change, ipsec_told *told,
		   void *arg)
{
	struct ipsec_object o = *what;

	o.change = change;
	told(arg, &o);
}

/* A filter to be added, as plan shows it. */
static void wanted(struct ipsec_object *o, const struct wfp_filters *r, enum wfp_role role)
{
	const bool out = wfp_is_out(role), here = role == WFP_IN_LISTEN || role == WFP_OUT_LISTEN;

	*o = (struct ipsec_object){.is_policy = true,
				   .is_out = out,
				   .src = out ? r->local : r->remote,
				   .dst = out ? r->remote : r->local,
				   .protects = wfp_protects(role)};
	if (o->protects)
		return;
	o->priority = FWPM_WEIGHT_RANGE_IKE_EXEMPTIONS;
	if (role == WFP_IN_ICMP || role == WFP_OUT_ICMP) {
		o->proto = r->local.len == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
		return;
	}
	o->proto = IPPROTO_TCP;
	o->has_sport = here == out;
	o->has_dport = !o->has_sport;
	*(o->has_sport ? &o->sport : &o->dport) = here ? r->control_port : r->peer_port;
}

static void plan_sas(struct wfp_job *list, const uint64_t filters[2], const struct wfp_filters *r,
		     ipsec_told *told, void *arg)
{
	for (int out = 1; out >= 0; out--) {
		const struct ipsec_object none = {.is_out = out == 1,
						  .src = out == 1 ? r->local : r->remote,
						  .dst = out == 1 ? r->remote : r->local};
		bool any = false;

		for (size_t i = 0; i < list->n_objects; i++) {
			struct wfp_object *w = &list->objects[i];

			if (w->o.is_policy || w->o.is_out != (out == 1) || filters[out] == 0 ||
			    w->filter != filters[out])
				continue;
			report(&w->o, IPSEC_KEEP, told, arg);
			w->matched = any = true;
		}
		if (!any)
			report(&none, IPSEC_ADD, told, arg);
	}
}

void wfp_plan_policy(struct wfp_job *list, const struct wfp_filters *r, ipsec_told *told, void *arg)
{
	uint64_t filters[2] = {0, 0}; /* that protect: in, out */

	for (int role = 0; role < WFP_FILTERS; role++) {
		struct wfp_object *there = NULL;
		struct ipsec_object o;
		uint8_t guid[16];

		if (!wfp_filter_key(r, (enum wfp_role)role, guid))
			continue;
		for (size_t i = 0; i < list->n_objects; i++)
			if (list->objects[i].o.is_policy &&
			    memcmp(list->objects[i].guid, guid, sizeof guid) == 0)
				there = &list->objects[i];
		wanted(&o, r, (enum wfp_role)role);
		if (there != NULL) {
			there->matched = true;
			o.id = there->o.id;
			if (o.protects)
				filters[o.is_out ? 1 : 0] = o.id;
		}
		report(&o, there != NULL ? IPSEC_KEEP : IPSEC_ADD, told, arg);
	}
	plan_sas(list, filters, r, told, arg);
}

void wfp_plan_rest(const struct wfp_job *list, enum ipsec_change change, ipsec_told *told,
		   void *arg)
{
	for (size_t i = 0; i < list->n_objects; i++)
		if (!list->objects[i].matched)
			report(&list->objects[i].o, change, told, arg);
}
