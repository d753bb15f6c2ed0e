/*
 * agent/ipsec/wfp/events.c - notifications of the filter engine: removed SA contexts and filters, packets
 * that IPsec dropped.
 *
 * The engine calls on its own threads, where a notification is only stored. If a subscription fails, the
 * periodic check in backend.c finds removed objects a little later.
 */
#include "agent/ipsec/wfp/api.h"

#include "agent/ipsec/wfp/db.h"

/* Not in MinGW's headers: IPSEC_SA_CONTEXT_CHANGE0, IPSEC_SA_CONTEXT_SUBSCRIPTION0. */
struct context_change {
	int type; /* FWPM_CHANGE_TYPE */
	UINT64 id;
};
struct context_subscription {
	void *template;
	UINT32 flags;
	GUID session;
};
typedef void CALLBACK on_context_change(void *arg, const struct context_change *change);

/* The shape of IPsecSaContextSubscribe0, FwpmFilterSubscribeChanges0 and FwpmNetEventSubscribe0, and of the
 * calls that end a subscription. */
typedef DWORD WINAPI subscribe(HANDLE engine, const void *what, uintptr_t callback, void *arg,
			       HANDLE *out);
typedef DWORD WINAPI unsubscribe(HANDLE engine, HANDLE subscription);

#define NOTIFY_ON_DELETE 2u /* FWPM_SUBSCRIPTION_FLAG_NOTIFY_ON_DELETE */
#define REMOTE_ADDR_SET 4u  /* FWPM_NET_EVENT_FLAG_REMOTE_ADDR_SET */

#ifdef _WIN64
_Static_assert(sizeof(struct context_change) == 16, "as in the SDK");
_Static_assert(sizeof(FWPM_NET_EVENT_HEADER1) == 144, "as in the SDK");
_Static_assert(sizeof(FWPM_NET_EVENT_IPSEC_KERNEL_DROP0) == 32, "as in the SDK");
#endif

static void CALLBACK on_context(void *arg, const struct context_change *change)
{
	const struct wfp_engine *g = arg;
	const struct wfp_event n = {.kind = WFP_CONTEXT_GONE, .id = change->id};

	if (change->type == FWPM_CHANGE_DELETE)
		g->news(g->on_event_arg, &n);
}

static void CALLBACK on_filter(void *arg, const FWPM_FILTER_CHANGE0 *change)
{
	const struct wfp_engine *g = arg;
	const struct wfp_event n = {.kind = WFP_FILTER_GONE, .id = change->filterId};

	if (change->changeType == FWPM_CHANGE_DELETE)
		g->news(g->on_event_arg, &n);
}

static void CALLBACK on_net_event(void *arg, const FWPM_NET_EVENT1 *event)
{
	const struct wfp_engine *g = arg;
	const FWPM_NET_EVENT_HEADER1 *h = &event->header;
	struct wfp_event n = {.kind = WFP_DROP};

	if (event->type != FWPM_NET_EVENT_TYPE_IPSEC_KERNEL_DROP || event->ipsecDrop == NULL ||
	    (h->flags & REMOTE_ADDR_SET) == 0)
		return;
	n.status = (uint32_t)event->ipsecDrop->failureStatus;
	n.spi.n = event->ipsecDrop->spi;
	if (h->ipVersion == FWP_IP_VERSION_V4) {
		n.remote = wfp_addr_of_v4(h->remoteAddrV4);
	} else {
		n.remote.len = 16;
		memcpy(n.remote.bytes, h->remoteAddrV6.byteArray16, 16);
	}
	g->news(g->on_event_arg, &n);
}

static uintptr_t find(const char *name)
{
	const HMODULE dll = GetModuleHandleW(L"fwpuclnt.dll");

	return dll != NULL ? (uintptr_t)GetProcAddress(dll, name) : 0;
}

void wfp_subscribe(struct wfp_engine *g)
{
	static const struct context_subscription contexts = {.flags = NOTIFY_ON_DELETE};
	static const FWPM_FILTER_SUBSCRIPTION0 filters = {.flags = NOTIFY_ON_DELETE};
	static const FWPM_NET_EVENT_SUBSCRIPTION0 drops;
	const struct {
		const char *call;
		const void *what;
		uintptr_t callback;
	} all[WFP_EVENT_KINDS] = {
		[WFP_CONTEXT_GONE] = {"IPsecSaContextSubscribe0", &contexts, (uintptr_t)on_context},
		[WFP_FILTER_GONE] = {"FwpmFilterSubscribeChanges0", &filters, (uintptr_t)on_filter},
		[WFP_DROP] = {"FwpmNetEventSubscribe0", &drops, (uintptr_t)on_net_event},
	};

	for (int i = 0; i < WFP_EVENT_KINDS && g->news != NULL; i++) {
		subscribe *call = (subscribe *)find(all[i].call);

		if (call != NULL && call(g->handle, all[i].what, all[i].callback, g,
					 &g->subscribed[i]) != ERROR_SUCCESS)
			g->subscribed[i] = NULL;
	}
}

void wfp_unsubscribe(struct wfp_engine *g)
{
	static const char *const names[WFP_EVENT_KINDS] = {
		[WFP_CONTEXT_GONE] = "IPsecSaContextUnsubscribe0",
		[WFP_FILTER_GONE] = "FwpmFilterUnsubscribeChanges0",
		[WFP_DROP] = "FwpmNetEventUnsubscribe0",
	};

	for (int i = 0; i < WFP_EVENT_KINDS; i++) {
		unsubscribe *end = (unsubscribe *)find(names[i]);

		if (g->subscribed[i] != NULL && end != NULL)
			end(g->handle, g->subscribed[i]);
		g->subscribed[i] = NULL;
	}
}
