/* tests/windows/standin/filter.c - providers and filters */
#include <stdlib.h>
#include <string.h>

#include "agent/ipsec/wfp/api.h"
#include "tests/windows/standin/engine.h"

static int provider_index(const GUID *key)
{
	for (int i = 0; i < PROVIDERS; i++)
		if (s.providers[i].used && IsEqualGUID(&s.providers[i].key, key))
			return i;
	return -1;
}

API FwpmProviderAdd0(HANDLE h, const FWPM_PROVIDER0 *p, PSECURITY_DESCRIPTOR sd)
{
	DWORD code = begin_write(h, "FwpmProviderAdd0");
	char key[40];

	if (code != 0)
		return code;
	guid_text(key, &p->providerKey);
	if (sd != NULL)
		code = E(FWP_E_INVALID_PARAMETER);
	else if (p->displayData.name == NULL)
		code = E(FWP_E_NULL_DISPLAY_NAME);
	else if (provider_index(&p->providerKey) >= 0)
		code = E(FWP_E_ALREADY_EXISTS);
	for (int i = 0; i < PROVIDERS && code == 0; i++)
		if (!s.providers[i].used) {
			s.providers[i].used = true;
			s.providers[i].key = p->providerKey;
			break;
		}
	end_call(h, code);
	return log_call(code, "FwpmProviderAdd0", ",\"key\":\"%s\"", key);
}

API FwpmProviderDeleteByKey0(HANDLE h, const GUID *key)
{
	DWORD code = begin_write(h, "FwpmProviderDeleteByKey0");
	int at;

	if (code != 0)
		return code;
	at = provider_index(key);
	if (at < 0)
		code = E(FWP_E_PROVIDER_NOT_FOUND);
	for (int i = 0; i < FILTERS && code == 0; i++)
		if (s.filters[i].used && s.filters[i].has_provider &&
		    IsEqualGUID(&s.filters[i].provider, key))
			code = E(FWP_E_IN_USE);
	if (code == 0)
		s.providers[at].used = false;
	end_call(h, code);
	return log_call(code, "FwpmProviderDeleteByKey0", "");
}

bool is_v4(const GUID *layer)
{
	return IsEqualGUID(layer, &wfp_layer_in_v4) || IsEqualGUID(layer, &wfp_layer_out_v4);
}

bool is_inbound(const GUID *layer)
{
	return IsEqualGUID(layer, &wfp_layer_in_v4) || IsEqualGUID(layer, &wfp_layer_in_v6);
}

bool is_layer(const GUID *layer)
{
	return is_v4(layer) || IsEqualGUID(layer, &wfp_layer_in_v6) ||
	       IsEqualGUID(layer, &wfp_layer_out_v6);
}

static const GUID *callout_of(const GUID *layer)
{
	if (is_v4(layer))
		return is_inbound(layer) ? &wfp_callout_in_v4 : &wfp_callout_out_v4;
	return is_inbound(layer) ? &wfp_callout_in_v6 : &wfp_callout_out_v6;
}

static DWORD take_condition(struct filter *to, const FWPM_FILTER_CONDITION0 *c, bool v4)
{
	struct cond *k = &to->cond[to->n++];
	uint32_t want;

	k->field = c->fieldKey;
	k->type = c->conditionValue.type;
	if (IsEqualGUID(&k->field, &wfp_cond_local_type) ||
	    IsEqualGUID(&k->field, &wfp_cond_protocol))
		want = FWP_UINT8;
	else if (IsEqualGUID(&k->field, &wfp_cond_local_port) ||
		 IsEqualGUID(&k->field, &wfp_cond_remote_port))
		want = FWP_UINT16;
	else if (IsEqualGUID(&k->field, &wfp_cond_local) ||
		 IsEqualGUID(&k->field, &wfp_cond_remote))
		want = v4 ? FWP_UINT32 : FWP_BYTE_ARRAY16_TYPE;
	else
		return E(FWP_E_CONDITION_NOT_FOUND);
	if (k->type != want)
		return E(FWP_E_TYPE_MISMATCH);
	if (c->matchType != FWP_MATCH_EQUAL)
		return E(FWP_E_MATCH_TYPE_MISMATCH);
	switch (want) {
	case FWP_UINT8:
		k->number = c->conditionValue.uint8;
		break;
	case FWP_UINT16:
		k->number = c->conditionValue.uint16;
		break;
	case FWP_UINT32:
		k->number = c->conditionValue.uint32;
		break;
	default:
		if (c->conditionValue.byteArray16 == NULL)
			return E(FWP_E_NULL_POINTER);
		memcpy(k->bytes, c->conditionValue.byteArray16->byteArray16, 16);
		break;
	}
	return 0;
}

const struct cond *cond_of(const struct filter *f, const GUID *field)
{
	for (uint32_t i = 0; i < f->n; i++)
		if (IsEqualGUID(&f->cond[i].field, field))
			return &f->cond[i];
	return NULL;
}

static DWORD take_filter(struct filter *to, const FWPM_FILTER0 *f)
{
	static const GUID zero;
	DWORD code = 0;

	if (f->displayData.name == NULL)
		return E(FWP_E_NULL_DISPLAY_NAME);
	if (!is_layer(&f->layerKey))
		return E(FWP_E_LAYER_NOT_FOUND);
	if (!IsEqualGUID(&f->subLayerKey, &zero))
		return E(FWP_E_SUBLAYER_NOT_FOUND);
	if (f->providerKey != NULL && provider_index(f->providerKey) < 0)
		return E(FWP_E_PROVIDER_NOT_FOUND);
	if (f->flags != 0)
		return E(FWP_E_INVALID_FLAGS);
	if (f->filterId != 0 || f->reserved != NULL || f->rawContext != 0)
		return E(FWP_E_RESERVED);
	if (f->weight.type != FWP_EMPTY && (f->weight.type != FWP_UINT8 || f->weight.uint8 > 15))
		return E(FWP_E_INVALID_WEIGHT);
	to->key = f->filterKey;
	to->layer = f->layerKey;
	to->has_provider = f->providerKey != NULL;
	if (to->has_provider)
		to->provider = *f->providerKey;
	to->action = f->action.type;
	to->weight_type = f->weight.type;
	to->weight = f->weight.type == FWP_UINT8 ? f->weight.uint8 : 0;
	WideCharToMultiByte(CP_UTF8, 0, f->displayData.name, -1, to->name, sizeof to->name, NULL,
			    NULL);
	if (f->action.type == FWP_ACTION_CALLOUT_TERMINATING) {
		to->callout = f->action.calloutKey;
		if (!IsEqualGUID(&to->callout, callout_of(&f->layerKey)))
			return E(FWP_E_CALLOUT_NOT_FOUND);
	} else if (f->action.type != FWP_ACTION_PERMIT && f->action.type != FWP_ACTION_BLOCK) {
		return E(FWP_E_INVALID_ACTION_TYPE);
	}
	if (f->numFilterConditions > CONDITIONS)
		return E(FWP_E_OUT_OF_BOUNDS);
	for (UINT32 i = 0; i < f->numFilterConditions && code == 0; i++)
		code = take_condition(to, &f->filterCondition[i], is_v4(&f->layerKey));
	if (code == 0 && cond_of(to, &wfp_cond_protocol) == NULL &&
	    (cond_of(to, &wfp_cond_local_port) != NULL ||
	     cond_of(to, &wfp_cond_remote_port) != NULL))
		return E(FWP_E_INVALID_PARAMETER);
	return code;
}

struct filter *filter_of(const GUID *key, uint64_t id)
{
	for (int i = 0; i < FILTERS; i++)
		if (s.filters[i].used &&
		    (key != NULL ? IsEqualGUID(&s.filters[i].key, key) : s.filters[i].id == id))
			return &s.filters[i];
	return NULL;
}

API FwpmFilterAdd0(HANDLE h, const FWPM_FILTER0 *f, PSECURITY_DESCRIPTOR sd, UINT64 *id)
{
	static const GUID zero;
	struct filter made = {.used = true}, *room = NULL;
	DWORD code = begin_write(h, "FwpmFilterAdd0");

	if (code != 0)
		return code;
	code = sd != NULL ? E(FWP_E_INVALID_PARAMETER) : take_filter(&made, f);
	if (code == 0 && !IsEqualGUID(&made.key, &zero) && filter_of(&made.key, 0) != NULL)
		code = E(FWP_E_ALREADY_EXISTS);
	for (int i = 0; i < FILTERS && room == NULL; i++)
		if (!s.filters[i].used)
			room = &s.filters[i];
	if (code == 0 && room == NULL)
		code = ERROR_NOT_ENOUGH_MEMORY;
	if (code == 0) {
		made.id = s.next_id++ << 33; /* more than 32 bits, to find truncations */
		*room = made;
		if (id != NULL)
			*id = made.id;
	}
	end_call(h, code);
	return log_call(code, "FwpmFilterAdd0", ",\"id\":%llu,\"name\":\"%s\",\"action\":%u",
			(unsigned long long)made.id, made.name, made.action);
}

static DWORD copy_filter(const struct filter *f, FWPM_FILTER0 **out)
{
	FWPM_FILTER0 *made;

	if (f == NULL)
		return E(FWP_E_FILTER_NOT_FOUND);
	made = calloc(1, sizeof *made);
	InterlockedIncrement(&unfreed);
	made->filterKey = f->key;
	made->filterId = f->id;
	made->layerKey = f->layer;
	*out = made;
	return 0;
}

API FwpmFilterGetByKey0(HANDLE h, const GUID *key, FWPM_FILTER0 **out)
{
	DWORD code = begin_call(h, "FwpmFilterGetByKey0");

	if (code != 0)
		return code;
	code = copy_filter(filter_of(key, 0), out);
	end_call(h, 1);
	return log_call(code, "FwpmFilterGetByKey0", "");
}

API FwpmFilterGetById0(HANDLE h, UINT64 id, FWPM_FILTER0 **out)
{
	DWORD code = begin_call(h, "FwpmFilterGetById0");

	if (code != 0)
		return code;
	code = copy_filter(filter_of(NULL, id), out);
	end_call(h, 1);
	return log_call(code, "FwpmFilterGetById0", ",\"id\":%llu", (unsigned long long)id);
}

static DWORD delete_filter(struct filter *f)
{
	if (f == NULL)
		return E(FWP_E_FILTER_NOT_FOUND);
	for (int i = 0; i < CONTEXTS; i++)
		if (s.contexts[i].used && (s.contexts[i].in_traffic.ipsecFilterId == f->id ||
					   s.contexts[i].out_traffic.ipsecFilterId == f->id))
			return E(FWP_E_IN_USE);
	memset(f, 0, sizeof *f);
	return 0;
}

API FwpmFilterDeleteByKey0(HANDLE h, const GUID *key)
{
	DWORD code = begin_write(h, "FwpmFilterDeleteByKey0");

	if (code != 0)
		return code;
	code = delete_filter(filter_of(key, 0));
	end_call(h, code);
	return log_call(code, "FwpmFilterDeleteByKey0", "");
}

API FwpmFilterDeleteById0(HANDLE h, UINT64 id)
{
	DWORD code = begin_write(h, "FwpmFilterDeleteById0");

	if (code != 0)
		return code;
	code = delete_filter(filter_of(NULL, id));
	end_call(h, code);
	return log_call(code, "FwpmFilterDeleteById0", "");
}
