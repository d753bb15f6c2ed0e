/* tests/windows/standin/event.c - subscriptions */
#include <stdio.h>
#include <string.h>

#include "tests/windows/standin/engine.h"

/* A thread delivers the events. subs.lock keeps an unsubscription from returning during a callback. */
struct event {
	int kind;
	uint64_t id;
	uint32_t remote, spi, status;
};
struct context_change {
	int type;
	UINT64 id;
};
typedef void CALLBACK on_context(void *arg, const struct context_change *change);
static struct {
	SRWLOCK lock;
	void *callback[EVENT_KINDS], *arg[EVENT_KINDS];
	struct event queue[64];
	int queued;
	HANDLE thread;
} subs = {.lock = SRWLOCK_INIT};

void post_event(int kind, uint64_t id)
{
	AcquireSRWLockExclusive(&subs.lock);
	if (subs.callback[kind] != NULL && subs.queued < 64)
		subs.queue[subs.queued++] = (struct event){.kind = kind, .id = id};
	ReleaseSRWLockExclusive(&subs.lock);
}

static void read_event_file(void)
{
	char path[PATH_LEN], word[16] = "", address[40] = "";
	struct event e = {.kind = -1};
	unsigned long long id;
	FILE *f;

	path_of(path, "event");
	f = fopen(path, "rb");
	if (f == NULL)
		return;
	if (fscanf(f, "%15s", word) == 1) {
		if (strcmp(word, "drop") != 0 && fscanf(f, "%llu", &id) == 1) {
			e.kind = strcmp(word, "context") == 0 ? CONTEXT_REMOVED : FILTER_REMOVED;
			e.id = id;
		} else if (fscanf(f, "%39s %x %x", address, &e.spi, &e.status) == 3) {
			e.kind = PACKET_DROPPED;
			e.remote = ntohl(inet_addr(address));
		}
	}
	fclose(f);
	AcquireSRWLockExclusive(&subs.lock);
	if (e.kind >= 0 && subs.queued < 64)
		subs.queue[subs.queued++] = e;
	ReleaseSRWLockExclusive(&subs.lock);
	DeleteFileA(path);
}

static void report(const struct event *e)
{
	void *arg = subs.arg[e->kind];

	if (subs.callback[e->kind] == NULL)
		return;
	if (e->kind == CONTEXT_REMOVED) {
		const struct context_change c = {FWPM_CHANGE_DELETE, e->id};

		((on_context *)(uintptr_t)subs.callback[e->kind])(arg, &c);
	} else if (e->kind == FILTER_REMOVED) {
		const FWPM_FILTER_CHANGE0 c = {.changeType = FWPM_CHANGE_DELETE, .filterId = e->id};

		((FWPM_FILTER_CHANGE_CALLBACK0)(uintptr_t)subs.callback[e->kind])(arg, &c);
	} else {
		FWPM_NET_EVENT_IPSEC_KERNEL_DROP0 drop = {.failureStatus = (INT32)e->status,
							  .spi = e->spi};
		const FWPM_NET_EVENT1 n = {.header = {.flags = 4,
						      .ipVersion = FWP_IP_VERSION_V4,
						      .remoteAddrV4 = e->remote},
					   .type = FWPM_NET_EVENT_TYPE_IPSEC_KERNEL_DROP,
					   .ipsecDrop = &drop};

		((FWPM_NET_EVENT_CALLBACK0)(uintptr_t)subs.callback[e->kind])(arg, &n);
	}
}

static DWORD WINAPI deliver_events(void *arg)
{
	(void)arg;
	for (;;) {
		Sleep(20);
		read_event_file();
		AcquireSRWLockExclusive(&subs.lock);
		for (int i = 0; i < subs.queued; i++)
			report(&subs.queue[i]);
		subs.queued = 0;
		ReleaseSRWLockExclusive(&subs.lock);
	}
	return 0;
}

static DWORD subscribe(HANDLE h, int kind, void *callback, void *arg, HANDLE *out, const char *call)
{
	struct session *u = h;
	DWORD code = 0;

	setup();
	if (u == NULL || u->magic != MAGIC)
		return ERROR_INVALID_HANDLE;
	code = injected_failure(call);
	if (code == 0 && u->in_txn)
		code = E(FWP_E_TXN_IN_PROGRESS);
	if (code == 0 && (callback == NULL || out == NULL))
		code = E(FWP_E_NULL_POINTER);
	if (code != 0)
		return log_call(code, call, "");
	AcquireSRWLockExclusive(&subs.lock);
	subs.callback[kind] = callback;
	subs.arg[kind] = arg;
	*out = &subs.callback[kind];
	if (subs.thread == NULL)
		subs.thread = CreateThread(NULL, 0, deliver_events, NULL, 0, NULL);
	ReleaseSRWLockExclusive(&subs.lock);
	u->enums++;
	return log_call(0, call, "");
}

/* Waits for a running callback, as the real engine does. */
static DWORD unsubscribe(HANDLE h, HANDLE what, const char *call)
{
	AcquireSRWLockExclusive(&subs.lock);
	*(void **)what = NULL;
	ReleaseSRWLockExclusive(&subs.lock);
	((struct session *)h)->enums--;
	return log_call(0, call, "");
}

struct context_subscription {
	void *template;
	UINT32 flags;
	GUID session;
};
API IPsecSaContextSubscribe0(HANDLE, const struct context_subscription *, on_context *, void *,
			     HANDLE *);
API IPsecSaContextUnsubscribe0(HANDLE, HANDLE); /* not in MinGW's headers */

API IPsecSaContextSubscribe0(HANDLE h, const struct context_subscription *what,
			     on_context *callback, void *arg, HANDLE *out)
{
	(void)what;
	return subscribe(h, CONTEXT_REMOVED, (void *)(uintptr_t)callback, arg, out,
			 "IPsecSaContextSubscribe0");
}

API IPsecSaContextUnsubscribe0(HANDLE h, HANDLE what)
{
	return unsubscribe(h, what, "IPsecSaContextUnsubscribe0");
}

API FwpmFilterSubscribeChanges0(HANDLE h, const FWPM_FILTER_SUBSCRIPTION0 *what,
				FWPM_FILTER_CHANGE_CALLBACK0 callback, void *arg, HANDLE *out)
{
	if (what->flags != 2)
		return log_call(E(FWP_E_INVALID_FLAGS), "FwpmFilterSubscribeChanges0", "");
	return subscribe(h, FILTER_REMOVED, (void *)(uintptr_t)callback, arg, out,
			 "FwpmFilterSubscribeChanges0");
}

API FwpmFilterUnsubscribeChanges0(HANDLE h, HANDLE what)
{
	return unsubscribe(h, what, "FwpmFilterUnsubscribeChanges0");
}

API FwpmNetEventSubscribe0(HANDLE h, const FWPM_NET_EVENT_SUBSCRIPTION0 *what,
			   FWPM_NET_EVENT_CALLBACK0 callback, void *arg, HANDLE *out)
{
	(void)what;
	return subscribe(h, PACKET_DROPPED, (void *)(uintptr_t)callback, arg, out,
			 "FwpmNetEventSubscribe0");
}

API FwpmNetEventUnsubscribe0(HANDLE h, HANDLE what)
{
	return unsubscribe(h, what, "FwpmNetEventUnsubscribe0");
}
