/* tests/windows/standin/sa.c - SA contexts */
#include <stdlib.h>
#include <string.h>

#include "agent/ipsec/wfp/api.h"
#include "tests/windows/standin/engine.h"

#define EXPIRY_MS 60000

struct context *context_of(uint64_t id)
{
	for (int i = 0; i < CONTEXTS; i++)
		if (s.contexts[i].used && s.contexts[i].id == id)
			return &s.contexts[i];
	return NULL;
}

/* IPv6 addresses are expected in reverse byte order, which is known to work, or as the environment says. */
static bool covers(const struct filter *f, const IPSEC_TRAFFIC0 *t)
{
	const struct cond *l = cond_of(f, &wfp_cond_local), *r = cond_of(f, &wfp_cond_remote);
	const char *order = getenv("SAPAIR_STANDIN_IPV6");
	const int reverse = order != NULL && strcmp(order, "network") == 0 ? 0 : 15;

	if (l == NULL || r == NULL || is_v4(&f->layer) != (t->ipVersion == FWP_IP_VERSION_V4))
		return false;
	if (t->ipVersion == FWP_IP_VERSION_V4)
		return l->number == t->localV4Address && r->number == t->remoteV4Address;
	for (int i = 0; i < 16; i++)
		if (l->bytes[i] != t->localV6Address[reverse ^ i] ||
		    r->bytes[i] != t->remoteV6Address[reverse ^ i])
			return false;
	return true;
}

static DWORD check_traffic(const IPSEC_TRAFFIC0 *t, bool inbound)
{
	const struct filter *f = filter_of(NULL, t->ipsecFilterId);

	if (t->trafficType != IPSEC_TRAFFIC_TYPE_TRANSPORT || t->remotePort != 0)
		return E(FWP_E_INVALID_PARAMETER);
	if (f == NULL)
		return E(FWP_E_FILTER_NOT_FOUND);
	if (f->action != FWP_ACTION_CALLOUT_TERMINATING || is_inbound(&f->layer) != inbound ||
	    !covers(f, t))
		return E(FWP_E_INVALID_PARAMETER);
	return 0;
}

API IPsecSaContextCreate0(HANDLE h, const IPSEC_TRAFFIC0 *out, UINT64 *filter, UINT64 *id)
{
	DWORD code = begin_sa_call(h, "IPsecSaContextCreate0");
	struct context *room = NULL;

	if (code != 0)
		return code;
	code = check_traffic(out, false);
	for (int i = 0; i < CONTEXTS && room == NULL; i++)
		if (!s.contexts[i].used)
			room = &s.contexts[i];
	if (code == 0 && room == NULL)
		code = ERROR_NOT_ENOUGH_MEMORY;
	if (code == 0) {
		room->used = true;
		*id = room->id = s.next_id++ << 33;
		room->out_traffic = *out;
		if (filter != NULL)
			*filter = 0;
	}
	end_call(h, code);
	return log_call(code, "IPsecSaContextCreate0", ",\"id\":%llu,\"filter\":%llu",
			(unsigned long long)(code == 0 ? *id : 0),
			(unsigned long long)out->ipsecFilterId);
}

static bool same_ends(const IPSEC_TRAFFIC0 *a, const IPSEC_TRAFFIC0 *b)
{
	if (a->ipVersion != b->ipVersion)
		return false;
	if (a->ipVersion == FWP_IP_VERSION_V4)
		return a->localV4Address == b->localV4Address &&
		       a->remoteV4Address == b->remoteV4Address;
	return memcmp(a->localV6Address, b->localV6Address, 16) == 0 &&
	       memcmp(a->remoteV6Address, b->remoteV6Address, 16) == 0;
}

API IPsecSaContextGetSpi0(HANDLE h, UINT64 id, const IPSEC_GETSPI0 *get, IPSEC_SA_SPI *spi)
{
	DWORD code = begin_sa_call(h, "IPsecSaContextGetSpi0");
	struct context *c;

	if (code != 0)
		return code;
	c = context_of(id);
	if (c == NULL)
		code = E(FWP_E_NOT_FOUND);
	else if (get->inboundUdpEncapsulation != NULL || get->rngCryptoModuleID != NULL ||
		 get->ipVersion != get->inboundIpsecTraffic.ipVersion)
		code = E(FWP_E_INVALID_PARAMETER);
	else if (c->spi != 0)
		code = E(FWP_E_INCOMPATIBLE_SA_STATE);
	else if (!same_ends(&c->out_traffic, &get->inboundIpsecTraffic))
		code = E(FWP_E_TRAFFIC_MISMATCH);
	else
		code = check_traffic(&get->inboundIpsecTraffic, true);
	if (code == 0) {
		uint32_t n = (uint32_t)hash(&s.next_id, sizeof s.next_id) ^ GetTickCount();

		c->in_traffic = get->inboundIpsecTraffic;
		c->spi = n < 256 ? n + 256 : n;
		s.next_id++;
		*spi = c->spi;
	}
	end_call(h, code);
	return log_call(code, "IPsecSaContextGetSpi0",
			",\"id\":%llu,\"filter\":%llu,\"spi\":\"%08x\"", (unsigned long long)id,
			(unsigned long long)get->inboundIpsecTraffic.ipsecFilterId,
			code == 0 ? (unsigned)*spi : 0);
}

static void expire(struct context *c)
{
	memset(&c->out, 0, sizeof c->out);
	c->ends_ms = now_ms() + EXPIRY_MS;
}

static DWORD add(HANDLE h, UINT64 id, const IPSEC_SA_BUNDLE0 *b, bool outbound, const char *call)
{
	DWORD code = begin_sa_call(h, call);
	struct sa k = {0};
	struct context *c;

	if (code != 0)
		return code;
	c = context_of(id);
	if (c == NULL)
		code = E(FWP_E_NOT_FOUND);
	else if (b == NULL)
		code = E(FWP_E_NULL_POINTER);
	else if (c->spi == 0 || c->ends_ms != 0 || (outbound ? !c->in.present : c->in.present) ||
		 c->out.present)
		code = E(FWP_E_INCOMPATIBLE_SA_STATE);
	else
		code = take_bundle(&k, c, b);
	if (code == 0 && !outbound && k.spi != c->spi)
		code = E(FWP_E_INVALID_PARAMETER);
	if (code == 0 && outbound && (b->flags & WFP_BUNDLE_NO_DUP_DELETION) == 0)
		for (int i = 0; i < CONTEXTS; i++)
			if (s.contexts[i].used && &s.contexts[i] != c &&
			    s.contexts[i].out.present &&
			    same_ends(&s.contexts[i].out_traffic, &c->out_traffic))
				expire(&s.contexts[i]);
	if (code == 0)
		*(outbound ? &c->out : &c->in) = k;
	end_call(h, code);
	return log_call(code, call, ",\"id\":%llu,\"spi\":\"%08x\",\"qm_id\":%u",
			(unsigned long long)id, k.spi, k.qm_id);
}

API IPsecSaContextAddInbound0(HANDLE h, UINT64 id, const IPSEC_SA_BUNDLE0 *b)
{
	return add(h, id, b, false, "IPsecSaContextAddInbound0");
}

API IPsecSaContextAddOutbound0(HANDLE h, UINT64 id, const IPSEC_SA_BUNDLE0 *b)
{
	return add(h, id, b, true, "IPsecSaContextAddOutbound0");
}

static DWORD end_context(HANDLE h, UINT64 id, bool at_once, const char *call)
{
	DWORD code = begin_sa_call(h, call);
	struct context *c;

	if (code != 0)
		return code;
	c = context_of(id);
	if (c == NULL)
		code = E(FWP_E_NOT_FOUND);
	else if (at_once)
		memset(c, 0, sizeof *c), post_event(CONTEXT_REMOVED, id);
	else if (c->ends_ms == 0)
		expire(c);
	end_call(h, code);
	return log_call(code, call, ",\"id\":%llu", (unsigned long long)id);
}

API IPsecSaContextExpire0(HANDLE h, UINT64 id)
{
	return end_context(h, id, false, "IPsecSaContextExpire0");
}

API IPsecSaContextDeleteById0(HANDLE h, UINT64 id)
{
	return end_context(h, id, true, "IPsecSaContextDeleteById0");
}
