/* tests/windows/standin/filter_list.c - enumerates filters */
#include <stdlib.h>
#include <string.h>

#include "tests/windows/standin/engine.h"

struct list {
	uint32_t magic;
	GUID provider, layer;
	bool by_provider;
	unsigned next;
};

API FwpmFilterCreateEnumHandle0(HANDLE h, const FWPM_FILTER_ENUM_TEMPLATE0 *t, HANDLE *out)
{
	DWORD code = begin_call(h, "FwpmFilterCreateEnumHandle0");
	struct list *l;

	if (code != 0)
		return code;
	if (t == NULL || !is_layer(&t->layerKey))
		code = E(FWP_E_LAYER_NOT_FOUND);
	else if (t->actionMask == 0)
		code = E(FWP_E_NEVER_MATCH);
	if (code == 0) {
		l = calloc(1, sizeof *l);
		l->magic = MAGIC;
		l->layer = t->layerKey;
		l->by_provider = t->providerKey != NULL;
		if (l->by_provider)
			l->provider = *t->providerKey;
		((struct session *)h)->enums++;
		*out = l;
	}
	end_call(h, 1);
	return log_call(code, "FwpmFilterCreateEnumHandle0", "");
}

/* A filter for the caller, with all that it points to. One block holds the array and these. */
struct filter_copy {
	FWPM_FILTER0 f;
	FWPM_FILTER_CONDITION0 cond[CONDITIONS];
	FWP_BYTE_ARRAY16 bytes[CONDITIONS];
	wchar_t name[160];
	GUID provider;
};

API FwpmFilterEnum0(HANDLE h, HANDLE list, UINT32 wanted, FWPM_FILTER0 ***entries, UINT32 *n)
{
	DWORD code = begin_call(h, "FwpmFilterEnum0");
	struct list *l = list;
	struct filter_copy *g;
	char *block;

	if (code != 0)
		return code;
	block = calloc(1, wanted * (sizeof(FWPM_FILTER0 *) + sizeof *g));
	InterlockedIncrement(&unfreed);
	*entries = (FWPM_FILTER0 **)block;
	g = (struct filter_copy *)(block + wanted * sizeof(FWPM_FILTER0 *));
	*n = 0;
	for (; l->next < FILTERS && *n < wanted; l->next++) {
		const struct filter *f = &s.filters[l->next];

		if (!f->used || !IsEqualGUID(&f->layer, &l->layer) ||
		    (l->by_provider &&
		     !(f->has_provider && IsEqualGUID(&f->provider, &l->provider))))
			continue;
		g->f.filterKey = f->key;
		g->f.filterId = f->id;
		g->f.layerKey = f->layer;
		g->f.action.type = f->action;
		g->f.action.calloutKey = f->callout;
		g->f.weight.type = f->weight_type;
		g->f.weight.uint8 = (UINT8)f->weight;
		g->provider = f->provider;
		g->f.providerKey = f->has_provider ? &g->provider : NULL;
		MultiByteToWideChar(CP_UTF8, 0, f->name, -1, g->name, 160);
		g->f.displayData.name = g->name;
		g->f.numFilterConditions = f->n;
		g->f.filterCondition = g->cond;
		for (uint32_t i = 0; i < f->n; i++) {
			g->cond[i].fieldKey = f->cond[i].field;
			g->cond[i].conditionValue.type = f->cond[i].type;
			g->cond[i].conditionValue.uint32 = (UINT32)f->cond[i].number;
			if (f->cond[i].type == FWP_BYTE_ARRAY16_TYPE) {
				memcpy(g->bytes[i].byteArray16, f->cond[i].bytes, 16);
				g->cond[i].conditionValue.byteArray16 = &g->bytes[i];
			}
		}
		(*entries)[(*n)++] = &g->f;
		g++;
	}
	end_call(h, 1);
	return log_call(0, "FwpmFilterEnum0", ",\"n\":%u", *n);
}

API FwpmFilterDestroyEnumHandle0(HANDLE h, HANDLE list)
{
	((struct session *)h)->enums--;
	free(list);
	return log_call(0, "FwpmFilterDestroyEnumHandle0", "");
}
