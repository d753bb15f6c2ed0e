/* tests/windows/standin/sa_read.c - reads SA contexts back. Without keys: whether Windows gives them is not known */
#include <stdlib.h>
#include <string.h>

#include "tests/windows/standin/engine.h"

struct context_copy {
	IPSEC_SA_CONTEXT0 c;
	IPSEC_SA_DETAILS0 details[2];
	IPSEC_SA0 sas[2];
	IPSEC_SA_AUTH_AND_CIPHER_INFORMATION0 info[2];
};

static IPSEC_SA_DETAILS0 *show_sa(struct context_copy *o, int i, const struct sa *k,
				  const IPSEC_TRAFFIC0 *t)
{
	IPSEC_SA_DETAILS0 *d = &o->details[i];

	if (!k->present)
		return NULL;
	d->ipVersion = t->ipVersion;
	d->traffic = *t;
	d->saBundle.lifetime.lifetimeSeconds = k->seconds;
	d->saBundle.lifetime.lifetimePackets = k->packets;
	d->saBundle.qmSaId = k->qm_id;
	d->saBundle.numSAs = 1;
	d->saBundle.saList = &o->sas[i];
	o->sas[i].spi = k->spi;
	o->sas[i].saTransformType = (IPSEC_TRANSFORM_TYPE)k->transform;
	o->sas[i].espAuthAndCipherInformation = &o->info[i];
	return d;
}

static void show_context(struct context_copy *o, const struct context *c)
{
	o->c.saContextId = c->id;
	o->c.inboundSa = show_sa(o, 0, &c->in, &c->in_traffic);
	o->c.outboundSa = show_sa(o, 1, &c->out, &c->out_traffic);
}

API IPsecSaContextGetById0(HANDLE h, UINT64 id, IPSEC_SA_CONTEXT0 **out)
{
	DWORD code = begin_sa_call(h, "IPsecSaContextGetById0");
	struct context *c;
	struct context_copy *o;

	if (code != 0)
		return code;
	c = context_of(id);
	if (c == NULL) {
		code = E(FWP_E_NOT_FOUND);
	} else {
		o = calloc(1, sizeof *o);
		InterlockedIncrement(&unfreed);
		show_context(o, c);
		*out = &o->c;
	}
	end_call(h, 1);
	return log_call(code, "IPsecSaContextGetById0", ",\"id\":%llu", (unsigned long long)id);
}

API IPsecGetStatistics0(HANDLE h, IPSEC_STATISTICS0 *out)
{
	DWORD code = begin_sa_call(h, "IPsecGetStatistics0");

	if (code != 0)
		return code;
	memset(out, 0xff, sizeof *out);
	out->aggregateSaStatistics.activeSas = 0;
	for (int i = 0; i < CONTEXTS; i++)
		out->aggregateSaStatistics.activeSas +=
			s.contexts[i].used && s.contexts[i].in.present && s.contexts[i].out.present;
	out->aggregateDropPacketStatistics.invalidSpisOnInbound = 3;
	out->aggregateDropPacketStatistics.authenticationFailuresOnInbound = 4;
	out->aggregateDropPacketStatistics.decryptionFailuresOnInbound = 5;
	out->aggregateDropPacketStatistics.replayCheckFailuresOnInbound = 6;
	out->aggregateDropPacketStatistics.invalidClearTextInbound = 7;
	end_call(h, 1);
	return log_call(0, "IPsecGetStatistics0", "");
}

API IPsecSaContextCreateEnumHandle0(HANDLE h, const IPSEC_SA_CONTEXT_ENUM_TEMPLATE0 *t, HANDLE *out)
{
	DWORD code = begin_sa_call(h, "IPsecSaContextCreateEnumHandle0");

	if (code != 0)
		return code;
	if (t != NULL)
		code = E(FWP_E_INVALID_PARAMETER);
	else
		*out = calloc(1, sizeof(unsigned));
	if (code == 0)
		((struct session *)h)->enums++;
	end_call(h, 1);
	return log_call(code, "IPsecSaContextCreateEnumHandle0", "");
}

API IPsecSaContextEnum0(HANDLE h, HANDLE list, UINT32 wanted, IPSEC_SA_CONTEXT0 ***entries,
			UINT32 *n)
{
	DWORD code = begin_sa_call(h, "IPsecSaContextEnum0");
	unsigned *next = list;
	struct context_copy *o;
	char *block;

	if (code != 0)
		return code;
	block = calloc(1, wanted * (sizeof(IPSEC_SA_CONTEXT0 *) + sizeof *o));
	InterlockedIncrement(&unfreed);
	*entries = (IPSEC_SA_CONTEXT0 **)block;
	o = (struct context_copy *)(block + wanted * sizeof(IPSEC_SA_CONTEXT0 *));
	*n = 0;
	for (; *next < CONTEXTS && *n < wanted; (*next)++)
		if (s.contexts[*next].used) {
			show_context(o, &s.contexts[*next]);
			(*entries)[(*n)++] = &o->c;
			o++;
		}
	end_call(h, 1);
	return log_call(0, "IPsecSaContextEnum0", ",\"n\":%u", *n);
}

API IPsecSaContextDestroyEnumHandle0(HANDLE h, HANDLE list)
{
	((struct session *)h)->enums--;
	free(list);
	return log_call(0, "IPsecSaContextDestroyEnumHandle0", "");
}
