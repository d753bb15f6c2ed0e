/*
 * agent/ipsec/wfp/policy.c - sessions with the engine, and the filters of a pair of hosts.
 *
 * Eight filters for a pair, in the default sublayer, added in one transaction, so that a protecting
 * filter never exists without the exemptions for our own connection. A filter's key is derived from its
 * content: a filter with this key is the same filter.
 */
#include "agent/ipsec/wfp/api.h"

#include "agent/ipsec/wfp/db.h"
#include "crypto/hkdf.h"

#include <stdio.h>

#define LOCK_WAIT_MS 5000 /* for another program's transaction */
#define TRIES 3           /* of restoring and removing */
#define PAUSE_MS 20

static const FWP_ACTION_TYPE permit = FWP_ACTION_PERMIT;

/* Indices: IPv6, outbound. */
static const struct {
	const GUID *layer, *callout;
} layers[2][2] = {
	{{&wfp_layer_in_v4, &wfp_callout_in_v4}, {&wfp_layer_out_v4, &wfp_callout_out_v4}},
	{{&wfp_layer_in_v6, &wfp_callout_in_v6}, {&wfp_layer_out_v6, &wfp_callout_out_v6}},
};

/* ---- sessions ---------------------------------------------------------------------------- */

int wfp_engine_open(struct wfp_engine *g, struct err *e)
{
	wchar_t name[] = L"sapair";
	FWPM_SESSION0 session;
	DWORD code;

	if (g->handle != NULL)
		return 0;
	memset(&session, 0, sizeof session);
	session.displayData.name = name;
	session.txnWaitTimeoutInMSec = LOCK_WAIT_MS;
	/* Not dynamic: SA contexts cannot be, and the filters must survive the agent. */
	code = FwpmEngineOpen0(NULL, RPC_C_AUTHN_WINNT, NULL, &session, &g->handle);
	if (code != ERROR_SUCCESS) {
		g->handle = NULL;
		return wfp_failed(e, code, "FwpmEngineOpen0");
	}
	/* Everybody may open it. Check that we may write. */
	code = FwpmTransactionBegin0(g->handle, 0);
	if (code == ERROR_SUCCESS)
		code = FwpmTransactionAbort0(g->handle);
	if (code == ERROR_SUCCESS) {
		wfp_subscribe(g);
		return 0;
	}
	wfp_engine_close(g);
	return wfp_failed(e, code, "FwpmTransactionBegin0");
}

void wfp_engine_close(struct wfp_engine *g)
{
	if (g->handle != NULL) {
		wfp_unsubscribe(g);
		FwpmEngineClose0(g->handle);
	}
	g->handle = NULL;
}

/* ---- one filter -------------------------------------------------------------------------- */

bool wfp_filter_key(const struct wfp_filters *r, enum wfp_role role, uint8_t key[16])
{
	static const char what[] = "sapair filter 1";
	const uint8_t rest[5] = {(uint8_t)role, (uint8_t)(r->control_port >> 8),
				 (uint8_t)r->control_port, (uint8_t)(r->peer_port >> 8),
				 (uint8_t)r->peer_port};
	const struct bytes parts[] = {{what, sizeof what},
				      {rest, sizeof rest},
				      {r->local.bytes, r->local.len},
				      {r->remote.bytes, r->remote.len}};
	uint8_t hash[SHA256_LEN];

	if (!sha256(parts, sizeof parts / sizeof parts[0], hash))
		return false;
	memcpy(key, hash, 16);
	key[7] =
		(uint8_t)((key[7] & 0x0f) | 0x80); /* RFC 9562: version 8, in a GUID's byte order */
	key[8] = (uint8_t)((key[8] & 0x3f) | 0x80);
	return true;
}

static bool key_of(const struct wfp_filters *r, enum wfp_role role, GUID *key)
{
	uint8_t bytes[16];

	if (!wfp_filter_key(r, role, bytes))
		return false;
	memcpy(key, bytes, sizeof *key);
	return true;
}

/* A filter, and what it points to. */
struct new_filter {
	FWPM_FILTER0 f;
	FWPM_FILTER_CONDITION0 cond[5];
	FWP_BYTE_ARRAY16 v6[2];
	wchar_t name[128];
	GUID provider;
};

static FWP_CONDITION_VALUE0 *condition(struct new_filter *m, const GUID *field, FWP_DATA_TYPE type)
{
	FWPM_FILTER_CONDITION0 *c = &m->cond[m->f.numFilterConditions++];

	c->fieldKey = *field;
	c->matchType = FWP_MATCH_EQUAL;
	c->conditionValue.type = type;
	return &c->conditionValue;
}

static void address_condition(struct new_filter *m, const GUID *field, const struct addr *a,
			      FWP_BYTE_ARRAY16 *room)
{
	if (a->len == 4) {
		condition(m, field, FWP_UINT32)->uint32 = wfp_v4_of(a);
		return;
	}
	memcpy(room->byteArray16, a->bytes, 16);
	condition(m, field, FWP_BYTE_ARRAY16_TYPE)->byteArray16 = room;
}

static void name_filter(struct new_filter *m, const struct wfp_filters *r, enum wfp_role role)
{
	static const char *const texts[WFP_FILTERS] = {"protect inbound",
						       "protect outbound",
						       "allow ICMP in",
						       "allow ICMP out",
						       "allow the agents' link in",
						       "allow the agents' link out",
						       "allow the agents' link in, dialled",
						       "allow the agents' link out, dialled"};
	char local[ADDR_TEXT], remote[ADDR_TEXT];

	addr_put(local, &r->local);
	addr_put(remote, &r->remote);
	swprintf(m->name, sizeof m->name / sizeof m->name[0], L"sapair %hs - %hs: %hs", local,
		 remote, texts[role]);
	m->f.displayData.name = m->name;
}

static bool make_filter(struct new_filter *m, const struct wfp_filters *r, enum wfp_role role)
{
	const bool v6 = r->local.len == 16, out = wfp_is_out(role);

	memset(m, 0, sizeof *m);
	m->provider = wfp_provider;
	m->f.providerKey = &m->provider;
	m->f.filterCondition = m->cond;
	if (!key_of(r, role, &m->f.filterKey))
		return false;
	name_filter(m, r, role);
	m->f.layerKey = *layers[v6][out].layer;
	condition(m, &wfp_cond_local_type, FWP_UINT8)->uint8 = NlatUnicast;
	address_condition(m, &wfp_cond_local, &r->local, &m->v6[0]);
	address_condition(m, &wfp_cond_remote, &r->remote, &m->v6[1]);
	if (wfp_protects(role)) { /* weight FWP_EMPTY: below all exemptions */
		m->f.action.type = FWP_ACTION_CALLOUT_TERMINATING;
		m->f.action.calloutKey = *layers[v6][out].callout;
		return true;
	}
	m->f.action.type = permit;
	m->f.weight.type = FWP_UINT8;
	m->f.weight.uint8 = FWPM_WEIGHT_RANGE_IKE_EXEMPTIONS;
	if (role == WFP_IN_ICMP || role == WFP_OUT_ICMP) {
		condition(m, &wfp_cond_protocol, FWP_UINT8)->uint8 = v6 ? IPPROTO_ICMPV6
									: IPPROTO_ICMP;
		return true;
	}
	condition(m, &wfp_cond_protocol, FWP_UINT8)->uint8 = IPPROTO_TCP;
	if (role == WFP_IN_LISTEN || role == WFP_OUT_LISTEN)
		condition(m, &wfp_cond_local_port, FWP_UINT16)->uint16 = r->control_port;
	else
		condition(m, &wfp_cond_remote_port, FWP_UINT16)->uint16 = r->peer_port;
	return true;
}

/* ---- a pair of hosts --------------------------------------------------------------------- */

static DWORD add_provider(struct wfp_engine *g)
{
	wchar_t name[] = L"sapair",
		text[] = L"IPsec security associations, agreed by sapair agents";
	FWPM_PROVIDER0 p;
	DWORD code;

	memset(&p, 0, sizeof p);
	p.providerKey = wfp_provider;
	p.displayData.name = name;
	p.displayData.description = text;
	code = FwpmProviderAdd0(g->handle, &p, NULL);
	return code == (DWORD)FWP_E_ALREADY_EXISTS ? ERROR_SUCCESS : code;
}

static DWORD add_filter(struct wfp_engine *g, struct wfp_job *j, enum wfp_role role)
{
	struct new_filter m;
	FWPM_FILTER0 *existing = NULL;
	UINT64 id = 0;
	DWORD code;

	if (!make_filter(&m, &j->filters, role))
		return ERROR_NOT_ENOUGH_MEMORY;
	code = FwpmFilterAdd0(g->handle, &m.f, NULL, &id);
	if (code == (DWORD)FWP_E_ALREADY_EXISTS) {
		code = FwpmFilterGetByKey0(g->handle, &m.f.filterKey, &existing);
		if (code != ERROR_SUCCESS)
			return code;
		id = existing->filterId;
		FwpmFreeMemory0((void **)&existing);
		j->existed = true;
	} else if (code == ERROR_SUCCESS) {
		j->changed = true;
	}
	j->filters.id[role] = id;
	return code;
}

int wfp_transaction(struct wfp_engine *g, struct wfp_job *j, wfp_step *step)
{
	const char *call = "FwpmTransactionBegin0";
	DWORD code = FwpmTransactionBegin0(g->handle, 0);

	if (code != ERROR_SUCCESS)
		return wfp_failed(&j->e, code, call);
	code = step(g, j, &call);
	if (code == ERROR_SUCCESS) {
		call = "FwpmTransactionCommit0";
		code = FwpmTransactionCommit0(g->handle);
	}
	if (code == ERROR_SUCCESS)
		return 0;
	FwpmTransactionAbort0(g->handle); /* fails if the commit has aborted it */
	return wfp_failed(&j->e, code, call);
}

static uint32_t add_filters(struct wfp_engine *g, struct wfp_job *j, const char **call)
{
	DWORD code = add_provider(g);

	*call = "FwpmProviderAdd0";
	for (int role = 0; role < WFP_FILTERS && code == ERROR_SUCCESS; role++) {
		*call = "FwpmFilterAdd0";
		code = add_filter(g, j, (enum wfp_role)role);
	}
	return code;
}

int wfp_filters_add(struct wfp_engine *g, struct wfp_job *j)
{
	j->changed = j->existed = false;
	if (wfp_transaction(g, j, add_filters) < 0)
		return -1;
	return j->existed ? wfp_find_contexts(g, j) : 0; /* SAs of an earlier run */
}

static bool is_gone(DWORD code)
{
	return code == (DWORD)FWP_E_FILTER_NOT_FOUND || code == (DWORD)FWP_E_PROVIDER_NOT_FOUND ||
	       code == (DWORD)FWP_E_NOT_FOUND;
}

/* The provider stays while filters of another pair use it. */
static DWORD remove_provider(struct wfp_engine *g)
{
	DWORD code = FwpmProviderDeleteByKey0(g->handle, &wfp_provider);

	return is_gone(code) || code == (DWORD)FWP_E_IN_USE ? ERROR_SUCCESS : code;
}

static uint32_t remove_filters(struct wfp_engine *g, struct wfp_job *j, const char **call)
{
	DWORD code = ERROR_SUCCESS;

	*call = "FwpmFilterDeleteByKey0";
	for (int role = 0; role < WFP_FILTERS && code == ERROR_SUCCESS; role++) {
		GUID key;

		if (!key_of(&j->filters, (enum wfp_role)role, &key))
			return ERROR_NOT_ENOUGH_MEMORY;
		code = FwpmFilterDeleteByKey0(g->handle, &key);
		if (is_gone(code))
			code = ERROR_SUCCESS;
	}
	if (code != ERROR_SUCCESS)
		return code;
	*call = "FwpmProviderDeleteByKey0";
	return remove_provider(g);
}

static int remove_contexts(struct wfp_engine *g, struct wfp_job *j)
{
	for (size_t i = 0; i < j->n_ids; i++)
		if (wfp_delete_context(g, j->ids[i], &j->e) < 0)
			return -1;
	/* contexts that we do not know, but that use these filters */
	if (wfp_find_contexts(g, j) < 0)
		return -1;
	for (size_t i = 0; i < j->n_found; i++)
		if (wfp_delete_context(g, j->found[i].context, &j->e) < 0)
			return -1;
	return 0;
}

int wfp_filters_remove(struct wfp_engine *g, struct wfp_job *j)
{
	int rc = -1;

	for (int i = 0; i < TRIES && rc < 0; i++) {
		if (i > 0)
			Sleep(PAUSE_MS);
		rc = remove_contexts(g, j);
		if (rc == 0)
			rc = wfp_transaction(g, j, remove_filters);
		if (rc < 0 && wfp_is_dead(j->e.os))
			break;
	}
	return rc;
}

void wfp_filters_undo(struct wfp_engine *g, struct wfp_job *j)
{
	if (j->changed && !j->existed)
		wfp_filters_remove(g, j);
}
