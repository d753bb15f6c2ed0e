/*
 * tests/windows/fwpuclnt.c - a stand-in for Windows' filter engine, as fwpuclnt.dll beside the program.
 *
 * It has the calls that sapair uses and is as strict as the documents of the real one, and stricter
 * where they are silent: what it lets pass, Windows should. The state is a file, so that it outlives
 * a process, as Windows' own does. No packet is ever touched.
 *
 *     SAPAIR_STANDIN         its folder:
 *         state              the engine's memory; state.json: the same to read
 *         calls.jsonl        each call, one object a line
 *         fail               "NAME N CODE": the N-th call of NAME from now on fails with CODE
 *         event              "context ID", "filter ID" or "drop ADDRESS SPI STATUS" (hex): told to who
 *                            has subscribed; so is what this process removes itself
 *         hold               as long as it is there, another program holds the engine's lock
 *     SAPAIR_STANDIN_ACCESS  "none": no administrator; "nobfe": the engine does not run
 *     SAPAIR_STANDIN_IPV6    "network": takes IPv6 addresses of SAs in network order only
 */
#include <winsock2.h>
#include <ws2tcpip.h>
#include <windows.h>

#include <fwpmu.h>
#include <nldef.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ipsec/wfp/api.h"

#define API __declspec(dllexport) DWORD WINAPI
#define FILTERS 64
#define CONTEXTS 32
#define PROVIDERS 8
#define USED_KEYS 128
#define CONDITIONS 6
#define KEY_MAX 64
#define EXPIRY_MS 60000
#define E(code) ((DWORD)(code))
#define E_INCOMPATIBLE_CIPHER E(0x8032003A)
#define E_COMBINATION E(0x8032003B)

struct cond {
	GUID field;
	uint32_t type;
	uint64_t number;
	uint8_t bytes[16];
};

struct filter {
	bool used;
	uint64_t id;
	GUID key, provider, layer, callout;
	bool has_provider;
	uint32_t action, weight_type, weight, n;
	struct cond cond[CONDITIONS];
	char name[160];
};

struct half {
	bool there;
	uint32_t spi, transform, auth_type, auth_config, cipher_type, cipher_config;
	uint32_t auth_len, cipher_len;
	uint8_t auth[KEY_MAX], cipher[KEY_MAX];
	uint32_t seconds, packets, kilobytes, qm_id, flags;
};

struct context {
	bool used;
	uint64_t id, ends_ms; /* 0: not expiring */
	IPSEC_TRAFFIC0 out_traffic, in_traffic;
	uint32_t spi; /* reserved; 0: not yet */
	struct half in, out;
};

struct state {
	uint64_t next_id;
	struct {
		bool used;
		GUID key;
	} providers[PROVIDERS];
	struct filter filters[FILTERS];
	struct context contexts[CONTEXTS];
	uint64_t used_keys[USED_KEYS];
	uint64_t n_used_keys;
};

struct session {
	uint32_t magic;
	bool dynamic, in_txn, read_only;
	DWORD wait_ms;
	unsigned enums;
};
#define MAGIC 0x53455353u

static struct state s; /* of this process, as read under the lock */
static HANDLE mutex;
static char folder[MAX_PATH];
static LONG unfreed;

/* ---- files and the log ------------------------------------------------------------------- */

static void path_of(char out[MAX_PATH + 32], const char *name)
{
	snprintf(out, MAX_PATH + 32, "%s\\%s", folder, name);
}

static uint64_t hash(const void *p, size_t n)
{
	const uint8_t *b = p;
	uint64_t h = 0xcbf29ce484222325u;

	while (n-- > 0)
		h = (h ^ *b++) * 0x100000001b3u;
	return h;
}

static void setup(void)
{
	const char *dir = getenv("SAPAIR_STANDIN");
	char name[64];

	if (mutex != NULL)
		return;
	snprintf(folder, sizeof folder, "%s", dir != NULL ? dir : ".");
	snprintf(name, sizeof name, "sapair-standin-%016llx",
		 (unsigned long long)hash(folder, strlen(folder)));
	mutex = CreateMutexA(NULL, FALSE, name);
}

static void guid_text(char out[40], const GUID *g)
{
	snprintf(out, 40, "%08lx-%04x-%04x-%02x%02x-%02x%02x%02x%02x%02x%02x",
		 (unsigned long)g->Data1, g->Data2, g->Data3, g->Data4[0], g->Data4[1], g->Data4[2],
		 g->Data4[3], g->Data4[4], g->Data4[5], g->Data4[6], g->Data4[7]);
}

static void hex(char *out, const uint8_t *p, size_t n)
{
	out[0] = '\0';
	for (size_t i = 0; i < n; i++)
		sprintf(out + 2 * i, "%02x", p[i]);
}

/* One line; fmt gives the members behind the name. Returns code. */
static DWORD told(DWORD code, const char *call, const char *fmt, ...)
{
	char path[MAX_PATH + 32], line[2048];
	DWORD written;
	va_list ap;
	HANDLE h;
	int n;

	path_of(path, "calls.jsonl");
	n = snprintf(line, sizeof line, "{\"pid\":%lu,\"call\":\"%s\",\"code\":\"%08lx\"",
		     GetCurrentProcessId(), call, code);
	va_start(ap, fmt);
	n += vsnprintf(line + n, sizeof line - (size_t)n, fmt, ap);
	va_end(ap);
	n += snprintf(line + n, sizeof line - (size_t)n, "}\n");
	h = CreateFileA(path, FILE_APPEND_DATA, FILE_SHARE_READ | FILE_SHARE_WRITE, NULL,
			OPEN_ALWAYS, 0, NULL);
	if (h != INVALID_HANDLE_VALUE) {
		WriteFile(h, line, (DWORD)n, &written, NULL);
		CloseHandle(h);
	}
	return code;
}

static void put_half(FILE *f, const char *name, const struct half *h)
{
	char auth[2 * KEY_MAX + 1], cipher[2 * KEY_MAX + 1];

	hex(auth, h->auth, h->auth_len);
	hex(cipher, h->cipher, h->cipher_len);
	if (!h->there) {
		fprintf(f, ",\"%s\":null", name);
		return;
	}
	fprintf(f,
		",\"%s\":{\"spi\":\"%08x\",\"transform\":%u,\"auth\":[%u,%u,\"%s\"],"
		"\"cipher\":[%u,%u,\"%s\"],\"seconds\":%u,\"packets\":%u,\"qm_id\":%u,\"flags\":%u}",
		name, h->spi, h->transform, h->auth_type, h->auth_config, auth, h->cipher_type,
		h->cipher_config, cipher, h->seconds, h->packets, h->qm_id, h->flags);
}

static void put_filter(FILE *f, const struct filter *p, bool first)
{
	char key[40], layer[40], callout[40], field[40], bytes[33];

	guid_text(key, &p->key);
	guid_text(layer, &p->layer);
	guid_text(callout, &p->callout);
	fprintf(f,
		"%s{\"id\":%llu,\"key\":\"%s\",\"name\":\"%s\",\"layer\":\"%s\",\"action\":%u,"
		"\"callout\":\"%s\",\"weight\":[%u,%u],\"conditions\":[",
		first ? "" : ",\n", (unsigned long long)p->id, key, p->name, layer, p->action,
		callout, p->weight_type, p->weight);
	for (uint32_t i = 0; i < p->n; i++) {
		guid_text(field, &p->cond[i].field);
		hex(bytes, p->cond[i].bytes, 16);
		fprintf(f, "%s[\"%s\",%llu,\"%s\"]", i > 0 ? "," : "", field,
			(unsigned long long)p->cond[i].number,
			p->cond[i].type == FWP_BYTE_ARRAY16_TYPE ? bytes : "");
	}
	fprintf(f, "]}");
}

static void save(void)
{
	char path[MAX_PATH + 32], shown[MAX_PATH + 32];
	bool first = true;
	FILE *f;

	path_of(path, "state");
	f = fopen(path, "wb");
	if (f != NULL) {
		fwrite(&s, sizeof s, 1, f);
		fclose(f);
	}
	path_of(path, "state.new");
	path_of(shown, "state.json");
	f = fopen(path, "wb");
	if (f == NULL)
		return;
	fprintf(f, "{\"providers\":[");
	for (int i = 0; i < PROVIDERS; i++)
		if (s.providers[i].used) {
			char key[40];

			guid_text(key, &s.providers[i].key);
			fprintf(f, "%s\"%s\"", first ? "" : ",", key);
			first = false;
		}
	fprintf(f, "],\n\"filters\":[");
	first = true;
	for (int i = 0; i < FILTERS; i++)
		if (s.filters[i].used) {
			put_filter(f, &s.filters[i], first);
			first = false;
		}
	fprintf(f, "],\n\"contexts\":[");
	first = true;
	for (int i = 0; i < CONTEXTS; i++) {
		const struct context *c = &s.contexts[i];

		if (!c->used)
			continue;
		fprintf(f,
			"%s{\"id\":%llu,\"spi\":\"%08x\",\"expiring\":%s,\"in_filter\":%llu,"
			"\"out_filter\":%llu",
			first ? "" : ",\n", (unsigned long long)c->id, c->spi,
			c->ends_ms != 0 ? "true" : "false",
			(unsigned long long)c->in_traffic.ipsecFilterId,
			(unsigned long long)c->out_traffic.ipsecFilterId);
		put_half(f, "in", &c->in);
		put_half(f, "out", &c->out);
		fprintf(f, "}");
		first = false;
	}
	fprintf(f, "]}\n");
	fclose(f);
	MoveFileExA(path, shown, MOVEFILE_REPLACE_EXISTING);
}

static uint64_t now_ms(void)
{
	FILETIME t;

	GetSystemTimeAsFileTime(&t);
	return ((uint64_t)t.dwHighDateTime << 32 | t.dwLowDateTime) / 10000;
}

static void load(void)
{
	char path[MAX_PATH + 32];
	FILE *f;

	memset(&s, 0, sizeof s);
	s.next_id = 0x10001;
	path_of(path, "state");
	f = fopen(path, "rb");
	if (f != NULL) {
		if (fread(&s, sizeof s, 1, f) != 1)
			memset(&s, 0, sizeof s);
		fclose(f);
	}
	for (int i = 0; i < CONTEXTS; i++)
		if (s.contexts[i].ends_ms != 0 && s.contexts[i].ends_ms < now_ms())
			memset(&s.contexts[i], 0, sizeof s.contexts[i]);
}

/* ---- how each call begins and ends ------------------------------------------------------- */

/* The code that this call is to fail with, or 0. */
static DWORD chosen_to_fail(const char *call)
{
	char path[MAX_PATH + 32], name[64] = "";
	unsigned n = 0;
	unsigned long code = 0;
	FILE *f;

	path_of(path, "fail");
	f = fopen(path, "rb");
	if (f == NULL)
		return 0;
	if (fscanf(f, "%63s %u %lx", name, &n, &code) != 3)
		n = 0;
	fclose(f);
	if (n == 0 || strcmp(name, call) != 0)
		return 0;
	if (n == 1) {
		DeleteFileA(path);
		return code;
	}
	f = fopen(path, "wb");
	if (f != NULL) {
		fprintf(f, "%s %u %lx\n", name, n - 1, code);
		fclose(f);
	}
	return 0;
}

static bool is_held(void)
{
	char path[MAX_PATH + 32];

	path_of(path, "hold");
	return GetFileAttributesA(path) != INVALID_FILE_ATTRIBUTES;
}

static bool has_access(const char *word)
{
	const char *access = getenv("SAPAIR_STANDIN_ACCESS");

	return access == NULL || strcmp(access, word) != 0;
}

/* The lock, the state, the rights. Not 0: the call ends with it, and nothing is held. */
static DWORD enter(HANDLE h, const char *call)
{
	struct session *u = h;
	DWORD code, waited = 0;

	setup();
	if (u == NULL || u->magic != MAGIC)
		return ERROR_INVALID_HANDLE;
	if (!has_access("none"))
		return told(ERROR_ACCESS_DENIED, call, "");
	while (!u->in_txn && is_held()) {
		if (waited >= u->wait_ms)
			return told(E(FWP_E_TIMEOUT), call, "");
		Sleep(10);
		waited += 10;
	}
	if (WaitForSingleObject(mutex, u->wait_ms) == WAIT_TIMEOUT)
		return told(E(FWP_E_TIMEOUT), call, "");
	code = chosen_to_fail(call);
	if (code != 0) {
		ReleaseMutex(mutex);
		return told(code, call, ",\"chosen\":true");
	}
	if (!u->in_txn)
		load();
	return 0;
}

static void leave(HANDLE h, DWORD code)
{
	struct session *u = h;

	if (code == 0 && !u->in_txn)
		save();
	ReleaseMutex(mutex);
}

/* Calls about SAs: by themselves, never inside a transaction. */
static DWORD enter_sa(HANDLE h, const char *call)
{
	struct session *u = h;
	DWORD code = enter(h, call);

	if (code != 0)
		return code;
	if (u->in_txn)
		code = E(FWP_E_TXN_IN_PROGRESS);
	else if (u->dynamic)
		code = E(FWP_E_DYNAMIC_SESSION_IN_PROGRESS);
	if (code == 0)
		return 0;
	leave(h, code);
	return told(code, call, "");
}

static DWORD enter_write(HANDLE h, const char *call)
{
	struct session *u = h;
	DWORD code = enter(h, call);

	if (code == 0 && u->in_txn && u->read_only) {
		leave(h, 1);
		return told(E(FWP_E_INCOMPATIBLE_TXN), call, "");
	}
	return code;
}

/* ---- sessions and transactions ----------------------------------------------------------- */

API FwpmEngineOpen0(const wchar_t *server, UINT32 authn, SEC_WINNT_AUTH_IDENTITY_W *identity,
		    const FWPM_SESSION0 *session, HANDLE *engine)
{
	struct session *u;
	DWORD code = 0;

	setup();
	if (server != NULL || identity != NULL ||
	    (authn != RPC_C_AUTHN_WINNT && authn != RPC_C_AUTHN_DEFAULT) || engine == NULL)
		code = E(FWP_E_INVALID_PARAMETER);
	else if (session != NULL && (session->flags & ~1u) != 0)
		code = E(FWP_E_INVALID_FLAGS);
	else if (!has_access("nobfe"))
		code = 1753;
	if (code == 0)
		code = chosen_to_fail("FwpmEngineOpen0");
	if (code != 0)
		return told(code, "FwpmEngineOpen0", "");
	u = calloc(1, sizeof *u);
	u->magic = MAGIC;
	u->dynamic = session != NULL && (session->flags & 1) != 0;
	u->wait_ms = session != NULL && session->txnWaitTimeoutInMSec != 0
			     ? session->txnWaitTimeoutInMSec
			     : 15000;
	*engine = u;
	return told(0, "FwpmEngineOpen0", ",\"dynamic\":%s", u->dynamic ? "true" : "false");
}

API FwpmEngineClose0(HANDLE h)
{
	struct session *u = h;

	if (u == NULL || u->magic != MAGIC)
		return ERROR_INVALID_HANDLE;
	if (u->in_txn)
		ReleaseMutex(mutex);
	told(0, "FwpmEngineClose0", ",\"unfreed\":%ld,\"enums\":%u,\"in_txn\":%s", unfreed,
	     u->enums, u->in_txn ? "true" : "false");
	u->magic = 0;
	free(u);
	return 0;
}

__declspec(dllexport) void WINAPI FwpmFreeMemory0(void **p)
{
	if (p == NULL || *p == NULL)
		return;
	free(*p);
	*p = NULL;
	InterlockedDecrement(&unfreed);
}

API FwpmTransactionBegin0(HANDLE h, UINT32 flags)
{
	struct session *u = h;
	DWORD code = enter(h, "FwpmTransactionBegin0");

	if (code != 0)
		return code;
	if (u->in_txn)
		code = E(FWP_E_TXN_IN_PROGRESS);
	else if ((flags & ~1u) != 0)
		code = E(FWP_E_INVALID_FLAGS);
	if (code != 0) {
		leave(h, code);
		return told(code, "FwpmTransactionBegin0", "");
	}
	u->in_txn = true; /* and the lock stays */
	u->read_only = (flags & 1) != 0;
	return told(0, "FwpmTransactionBegin0", "");
}

static DWORD end_txn(HANDLE h, bool commit, const char *call)
{
	struct session *u = h;
	unsigned left = 0; /* providers and filters, behind it */
	DWORD code;

	setup();
	if (u == NULL || u->magic != MAGIC)
		return ERROR_INVALID_HANDLE;
	if (!u->in_txn)
		return told(E(FWP_E_NO_TXN_IN_PROGRESS), call, "");
	code = chosen_to_fail(call);
	if (code != 0 && !commit) /* an abort cannot leave anything open */
		code = 0;
	if (code == 0 && commit)
		save();
	else
		load();
	for (int i = 0; i < FILTERS; i++)
		left += s.filters[i].used;
	for (int i = 0; i < PROVIDERS; i++)
		left += s.providers[i].used;
	u->in_txn = false;
	ReleaseMutex(mutex);
	return told(code, call, ",\"left\":%u", left);
}

API FwpmTransactionCommit0(HANDLE h)
{
	return end_txn(h, true, "FwpmTransactionCommit0");
}

API FwpmTransactionAbort0(HANDLE h)
{
	return end_txn(h, false, "FwpmTransactionAbort0");
}

/* ---- subscriptions ----------------------------------------------------------------------- */

/* Events come on a thread of their own, never while a call of the same kind is ended. */
enum { CONTEXTS_GO, FILTERS_GO, DROPS, KINDS };
struct event {
	int kind;
	uint64_t id;
	uint32_t remote, spi, status;
};
struct told_context {
	int type;
	UINT64 id;
};
typedef void CALLBACK on_context(void *arg, const struct told_context *change);
static struct {
	SRWLOCK lock;
	void *callback[KINDS], *arg[KINDS];
	struct event queue[64];
	int queued;
	HANDLE thread;
} subs = {.lock = SRWLOCK_INIT};

static void post_event(int kind, uint64_t id)
{
	AcquireSRWLockExclusive(&subs.lock);
	if (subs.callback[kind] != NULL && subs.queued < 64)
		subs.queue[subs.queued++] = (struct event){.kind = kind, .id = id};
	ReleaseSRWLockExclusive(&subs.lock);
}

static void take_event_file(void)
{
	char path[MAX_PATH + 32], word[16] = "", address[40] = "";
	struct event e = {.kind = -1};
	unsigned long long id;
	FILE *f;

	path_of(path, "event");
	f = fopen(path, "rb");
	if (f == NULL)
		return;
	if (fscanf(f, "%15s", word) == 1) {
		if (strcmp(word, "drop") != 0 && fscanf(f, "%llu", &id) == 1) {
			e.kind = strcmp(word, "context") == 0 ? CONTEXTS_GO : FILTERS_GO;
			e.id = id;
		} else if (fscanf(f, "%39s %x %x", address, &e.spi, &e.status) == 3) {
			e.kind = DROPS;
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

static void tell(const struct event *e)
{
	void *arg = subs.arg[e->kind];

	if (subs.callback[e->kind] == NULL)
		return;
	if (e->kind == CONTEXTS_GO) {
		const struct told_context c = {FWPM_CHANGE_DELETE, e->id};

		((on_context *)(uintptr_t)subs.callback[e->kind])(arg, &c);
	} else if (e->kind == FILTERS_GO) {
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

static DWORD WINAPI watch(void *arg)
{
	(void)arg;
	for (;;) {
		Sleep(20);
		take_event_file();
		AcquireSRWLockExclusive(&subs.lock);
		for (int i = 0; i < subs.queued; i++)
			tell(&subs.queue[i]);
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
	code = chosen_to_fail(call);
	if (code == 0 && u->in_txn)
		code = E(FWP_E_TXN_IN_PROGRESS);
	if (code == 0 && (callback == NULL || out == NULL))
		code = E(FWP_E_NULL_POINTER);
	if (code != 0)
		return told(code, call, "");
	AcquireSRWLockExclusive(&subs.lock);
	subs.callback[kind] = callback;
	subs.arg[kind] = arg;
	*out = &subs.callback[kind];
	if (subs.thread == NULL)
		subs.thread = CreateThread(NULL, 0, watch, NULL, 0, NULL);
	ReleaseSRWLockExclusive(&subs.lock);
	u->enums++;
	return told(0, call, "");
}

/* Waits for a callback that runs, as the real one does. */
static DWORD unsubscribe(HANDLE h, HANDLE what, const char *call)
{
	AcquireSRWLockExclusive(&subs.lock);
	*(void **)what = NULL;
	ReleaseSRWLockExclusive(&subs.lock);
	((struct session *)h)->enums--;
	return told(0, call, "");
}

struct context_subscription {
	void *template;
	UINT32 flags;
	GUID session;
};
API IPsecSaContextSubscribe0(HANDLE, const struct context_subscription *, on_context *, void *,
			     HANDLE *);
API IPsecSaContextUnsubscribe0(HANDLE, HANDLE); /* MinGW's headers lack them */

API IPsecSaContextSubscribe0(HANDLE h, const struct context_subscription *what,
			     on_context *callback, void *arg, HANDLE *out)
{
	(void)what;
	return subscribe(h, CONTEXTS_GO, (void *)(uintptr_t)callback, arg, out,
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
		return told(E(FWP_E_INVALID_FLAGS), "FwpmFilterSubscribeChanges0", "");
	return subscribe(h, FILTERS_GO, (void *)(uintptr_t)callback, arg, out,
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
	return subscribe(h, DROPS, (void *)(uintptr_t)callback, arg, out, "FwpmNetEventSubscribe0");
}

API FwpmNetEventUnsubscribe0(HANDLE h, HANDLE what)
{
	return unsubscribe(h, what, "FwpmNetEventUnsubscribe0");
}

/* ---- providers and filters --------------------------------------------------------------- */

static int provider_index(const GUID *key)
{
	for (int i = 0; i < PROVIDERS; i++)
		if (s.providers[i].used && IsEqualGUID(&s.providers[i].key, key))
			return i;
	return -1;
}

API FwpmProviderAdd0(HANDLE h, const FWPM_PROVIDER0 *p, PSECURITY_DESCRIPTOR sd)
{
	DWORD code = enter_write(h, "FwpmProviderAdd0");
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
	leave(h, code);
	return told(code, "FwpmProviderAdd0", ",\"key\":\"%s\"", key);
}

API FwpmProviderDeleteByKey0(HANDLE h, const GUID *key)
{
	DWORD code = enter_write(h, "FwpmProviderDeleteByKey0");
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
	leave(h, code);
	return told(code, "FwpmProviderDeleteByKey0", "");
}

static bool is_v4(const GUID *layer)
{
	return IsEqualGUID(layer, &wfp_layer_in_v4) || IsEqualGUID(layer, &wfp_layer_out_v4);
}

static bool is_inbound(const GUID *layer)
{
	return IsEqualGUID(layer, &wfp_layer_in_v4) || IsEqualGUID(layer, &wfp_layer_in_v6);
}

static bool is_layer(const GUID *layer)
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

static const struct cond *cond_of(const struct filter *f, const GUID *field)
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

static struct filter *filter_of(const GUID *key, uint64_t id)
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
	DWORD code = enter_write(h, "FwpmFilterAdd0");

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
		made.id = s.next_id++ << 33; /* wider than 32 bits, so that none is lost */
		*room = made;
		if (id != NULL)
			*id = made.id;
	}
	leave(h, code);
	return told(code, "FwpmFilterAdd0", ",\"id\":%llu,\"name\":\"%s\",\"action\":%u",
		    (unsigned long long)made.id, made.name, made.action);
}

static DWORD give_filter(const struct filter *f, FWPM_FILTER0 **out)
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
	DWORD code = enter(h, "FwpmFilterGetByKey0");

	if (code != 0)
		return code;
	code = give_filter(filter_of(key, 0), out);
	leave(h, 1);
	return told(code, "FwpmFilterGetByKey0", "");
}

API FwpmFilterGetById0(HANDLE h, UINT64 id, FWPM_FILTER0 **out)
{
	DWORD code = enter(h, "FwpmFilterGetById0");

	if (code != 0)
		return code;
	code = give_filter(filter_of(NULL, id), out);
	leave(h, 1);
	return told(code, "FwpmFilterGetById0", ",\"id\":%llu", (unsigned long long)id);
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
	DWORD code = enter_write(h, "FwpmFilterDeleteByKey0");

	if (code != 0)
		return code;
	code = delete_filter(filter_of(key, 0));
	leave(h, code);
	return told(code, "FwpmFilterDeleteByKey0", "");
}

API FwpmFilterDeleteById0(HANDLE h, UINT64 id)
{
	DWORD code = enter_write(h, "FwpmFilterDeleteById0");

	if (code != 0)
		return code;
	code = delete_filter(filter_of(NULL, id));
	leave(h, code);
	return told(code, "FwpmFilterDeleteById0", "");
}

struct list {
	uint32_t magic;
	GUID provider, layer;
	bool by_provider;
	unsigned next;
};

API FwpmFilterCreateEnumHandle0(HANDLE h, const FWPM_FILTER_ENUM_TEMPLATE0 *t, HANDLE *out)
{
	DWORD code = enter(h, "FwpmFilterCreateEnumHandle0");
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
	leave(h, 1);
	return told(code, "FwpmFilterCreateEnumHandle0", "");
}

/* A filter as it is given back, with what it points to, in one block behind the array. */
struct given {
	FWPM_FILTER0 f;
	FWPM_FILTER_CONDITION0 cond[CONDITIONS];
	FWP_BYTE_ARRAY16 bytes[CONDITIONS];
	wchar_t name[160];
	GUID provider;
};

API FwpmFilterEnum0(HANDLE h, HANDLE list, UINT32 wanted, FWPM_FILTER0 ***entries, UINT32 *n)
{
	DWORD code = enter(h, "FwpmFilterEnum0");
	struct list *l = list;
	struct given *g;
	char *block;

	if (code != 0)
		return code;
	block = calloc(1, wanted * (sizeof(FWPM_FILTER0 *) + sizeof *g));
	InterlockedIncrement(&unfreed);
	*entries = (FWPM_FILTER0 **)block;
	g = (struct given *)(block + wanted * sizeof(FWPM_FILTER0 *));
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
	leave(h, 1);
	return told(0, "FwpmFilterEnum0", ",\"n\":%u", *n);
}

API FwpmFilterDestroyEnumHandle0(HANDLE h, HANDLE list)
{
	((struct session *)h)->enums--;
	free(list);
	return told(0, "FwpmFilterDestroyEnumHandle0", "");
}

/* ---- SA contexts ------------------------------------------------------------------------- */

static struct context *context_of(uint64_t id)
{
	for (int i = 0; i < CONTEXTS; i++)
		if (s.contexts[i].used && s.contexts[i].id == id)
			return &s.contexts[i];
	return NULL;
}

/* v6 addresses are wanted turned round, which is the order that is known to work, or as the test says. */
static bool covers(const struct filter *f, const IPSEC_TRAFFIC0 *t)
{
	const struct cond *l = cond_of(f, &wfp_cond_local), *r = cond_of(f, &wfp_cond_remote);
	const char *order = getenv("SAPAIR_STANDIN_IPV6");
	const int turn = order != NULL && strcmp(order, "network") == 0 ? 0 : 15;

	if (l == NULL || r == NULL || is_v4(&f->layer) != (t->ipVersion == FWP_IP_VERSION_V4))
		return false;
	if (t->ipVersion == FWP_IP_VERSION_V4)
		return l->number == t->localV4Address && r->number == t->remoteV4Address;
	for (int i = 0; i < 16; i++)
		if (l->bytes[i] != t->localV6Address[turn ^ i] ||
		    r->bytes[i] != t->remoteV6Address[turn ^ i])
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
	DWORD code = enter_sa(h, "IPsecSaContextCreate0");
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
	leave(h, code);
	return told(code, "IPsecSaContextCreate0", ",\"id\":%llu,\"filter\":%llu",
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
	DWORD code = enter_sa(h, "IPsecSaContextGetSpi0");
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
	leave(h, code);
	return told(code, "IPsecSaContextGetSpi0", ",\"id\":%llu,\"filter\":%llu,\"spi\":\"%08x\"",
		    (unsigned long long)id,
		    (unsigned long long)get->inboundIpsecTraffic.ipsecFilterId,
		    code == 0 ? (unsigned)*spi : 0);
}

/* The sizes of the table of transforms. */
static uint32_t gcm_len(uint32_t type)
{
	switch (type) {
	case IPSEC_AUTH_AES_128:
		return 20;
	case IPSEC_AUTH_AES_192:
		return 28;
	case IPSEC_AUTH_AES_256:
		return 36;
	default:
		return 0;
	}
}

static DWORD check_auth(const struct half *k)
{
	const uint32_t gcm = gcm_len(k->auth_type);

	if (gcm != 0)
		return k->auth_config == k->auth_type && k->auth_len == gcm
			       ? 0
			       : E(FWP_E_INVALID_PARAMETER);
	if (k->auth_type == IPSEC_AUTH_SHA_1)
		return k->auth_config == 1 && k->auth_len == 20 ? 0 : E(FWP_E_INVALID_PARAMETER);
	if (k->auth_type == IPSEC_AUTH_SHA_256)
		return k->auth_config == 2 && k->auth_len == 32 ? 0 : E(FWP_E_INVALID_PARAMETER);
	return E(FWP_E_INVALID_AUTH_TRANSFORM);
}

static DWORD check_cipher(const struct half *k)
{
	const uint32_t gcm = gcm_len(k->auth_type), aes = k->cipher_type;
	/* IPSEC_CIPHER_TYPE_AES_128, 192, 256 are 3, 4, 5, as the types of authentication. */
	if (aes < 3 || aes > 5)
		return E(FWP_E_INVALID_CIPHER_TRANSFORM);
	if (gcm == 0) /* CBC: 3, 4, 5 */
		return k->cipher_config == aes && k->cipher_len == 16 + 8 * (aes - 3)
			       ? 0
			       : E_INCOMPATIBLE_CIPHER;
	if (k->cipher_config != aes + 3 || aes != k->auth_type)
		return E_COMBINATION;
	return k->cipher_len == gcm && memcmp(k->cipher, k->auth, gcm) == 0
		       ? 0
		       : E(FWP_E_INVALID_PARAMETER);
}

static DWORD take_key(uint8_t *to, uint32_t *len, const FWP_BYTE_BLOB *from)
{
	if (from->size == 0 || from->size > KEY_MAX || from->data == NULL)
		return E(FWP_E_INVALID_PARAMETER);
	memcpy(to, from->data, from->size);
	*len = from->size;
	return 0;
}

static DWORD take_sa(struct half *k, const IPSEC_SA0 *sa)
{
	const IPSEC_SA_AUTH_INFORMATION0 *auth;
	const IPSEC_SA_CIPHER_INFORMATION0 *cipher = NULL;
	DWORD code;

	k->spi = sa->spi;
	k->transform = (uint32_t)sa->saTransformType;
	if (sa->saTransformType == IPSEC_TRANSFORM_ESP_AUTH) {
		auth = sa->espAuthInformation;
	} else if (sa->saTransformType == IPSEC_TRANSFORM_ESP_AUTH_AND_CIPHER) {
		if (sa->espAuthAndCipherInformation == NULL)
			return E(FWP_E_NULL_POINTER);
		auth = &sa->espAuthAndCipherInformation->saAuthInformation;
		cipher = &sa->espAuthAndCipherInformation->saCipherInformation;
	} else {
		return E_COMBINATION;
	}
	if (auth == NULL)
		return E(FWP_E_NULL_POINTER);
	k->auth_type = (uint32_t)auth->authTransform.authTransformId.authType;
	k->auth_config = auth->authTransform.authTransformId.authConfig;
	code = take_key(k->auth, &k->auth_len, &auth->authKey);
	if (code == 0)
		code = check_auth(k);
	if (code != 0 || cipher == NULL) {
		if (code == 0 && gcm_len(k->auth_type) == 0)
			code = E_COMBINATION;
		return code;
	}
	k->cipher_type = (uint32_t)cipher->cipherTransform.cipherTransformId.cipherType;
	k->cipher_config = cipher->cipherTransform.cipherTransformId.cipherConfig;
	code = take_key(k->cipher, &k->cipher_len, &cipher->cipherKey);
	return code != 0 ? code : check_cipher(k);
}

/* One key, one SA, once: even one that was long deleted. */
static bool is_new_key(const struct half *k)
{
	const uint64_t h = hash(k->auth, k->auth_len) ^ hash(k->cipher, k->cipher_len) * 3;
	const uint64_t n = s.n_used_keys < USED_KEYS ? s.n_used_keys : USED_KEYS;

	for (uint64_t i = 0; i < n; i++)
		if (s.used_keys[i] == h)
			return false;
	s.used_keys[s.n_used_keys++ % USED_KEYS] = h;
	return true;
}

static DWORD take_bundle(struct half *k, const struct context *c, const IPSEC_SA_BUNDLE0 *b)
{
	DWORD code;

	if (b->numSAs != 1 || b->saList == NULL || b->ipVersion != c->in_traffic.ipVersion ||
	    (b->flags & ~WFP_BUNDLE_NO_DUP_DELETION) != 0 || b->ipsecId != NULL ||
	    b->keyModuleState != NULL || b->napContext != 0 || b->mmSaId != 0 ||
	    b->pfsGroup != IPSEC_PFS_NONE || b->idleTimeoutSeconds != 0 ||
	    b->ndAllowClearTimeoutSeconds != 0 || b->peerV4PrivateAddress != 0)
		return E(FWP_E_INVALID_PARAMETER);
	if (b->lifetime.lifetimePackets == 0 || b->lifetime.lifetimeSeconds < 300 ||
	    b->lifetime.lifetimeSeconds > 172799 ||
	    (b->lifetime.lifetimeKilobytes != 0 &&
	     (b->lifetime.lifetimeKilobytes < 20480 || b->lifetime.lifetimeKilobytes > 2147483647)))
		return E(FWP_E_OUT_OF_BOUNDS);
	if (b->qmSaId == 0)
		return E(FWP_E_INVALID_PARAMETER);
	code = take_sa(k, &b->saList[0]);
	if (code != 0)
		return code;
	if (k->spi < 256)
		return E(FWP_E_INVALID_PARAMETER);
	k->there = true;
	k->seconds = b->lifetime.lifetimeSeconds;
	k->packets = b->lifetime.lifetimePackets;
	k->kilobytes = b->lifetime.lifetimeKilobytes;
	k->qm_id = b->qmSaId;
	k->flags = b->flags;
	for (int i = 0; i < CONTEXTS; i++)
		if (s.contexts[i].used && s.contexts[i].id != c->id && s.contexts[i].in.there &&
		    s.contexts[i].in.qm_id == k->qm_id)
			return E(FWP_E_INVALID_PARAMETER);
	if (c->in.there && c->in.qm_id != k->qm_id)
		return E(FWP_E_INVALID_PARAMETER);
	return is_new_key(k) ? 0 : E(FWP_E_INVALID_PARAMETER);
}

static void expire(struct context *c)
{
	memset(&c->out, 0, sizeof c->out);
	c->ends_ms = now_ms() + EXPIRY_MS;
}

static DWORD add(HANDLE h, UINT64 id, const IPSEC_SA_BUNDLE0 *b, bool outbound, const char *call)
{
	DWORD code = enter_sa(h, call);
	struct half k = {0};
	struct context *c;

	if (code != 0)
		return code;
	c = context_of(id);
	if (c == NULL)
		code = E(FWP_E_NOT_FOUND);
	else if (b == NULL)
		code = E(FWP_E_NULL_POINTER);
	else if (c->spi == 0 || c->ends_ms != 0 || (outbound ? !c->in.there : c->in.there) ||
		 c->out.there)
		code = E(FWP_E_INCOMPATIBLE_SA_STATE);
	else
		code = take_bundle(&k, c, b);
	if (code == 0 && !outbound && k.spi != c->spi)
		code = E(FWP_E_INVALID_PARAMETER);
	if (code == 0 && outbound && (b->flags & WFP_BUNDLE_NO_DUP_DELETION) == 0)
		for (int i = 0; i < CONTEXTS; i++)
			if (s.contexts[i].used && &s.contexts[i] != c && s.contexts[i].out.there &&
			    same_ends(&s.contexts[i].out_traffic, &c->out_traffic))
				expire(&s.contexts[i]);
	if (code == 0)
		*(outbound ? &c->out : &c->in) = k;
	leave(h, code);
	return told(code, call, ",\"id\":%llu,\"spi\":\"%08x\",\"qm_id\":%u",
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
	DWORD code = enter_sa(h, call);
	struct context *c;

	if (code != 0)
		return code;
	c = context_of(id);
	if (c == NULL)
		code = E(FWP_E_NOT_FOUND);
	else if (at_once)
		memset(c, 0, sizeof *c), post_event(CONTEXTS_GO, id);
	else if (c->ends_ms == 0)
		expire(c);
	leave(h, code);
	return told(code, call, ",\"id\":%llu", (unsigned long long)id);
}

API IPsecSaContextExpire0(HANDLE h, UINT64 id)
{
	return end_context(h, id, false, "IPsecSaContextExpire0");
}

API IPsecSaContextDeleteById0(HANDLE h, UINT64 id)
{
	return end_context(h, id, true, "IPsecSaContextDeleteById0");
}

/* ---- reading back: without keys, which may be so on Windows, too -------------------------- */

struct shown {
	IPSEC_SA_CONTEXT0 c;
	IPSEC_SA_DETAILS0 details[2];
	IPSEC_SA0 sas[2];
	IPSEC_SA_AUTH_AND_CIPHER_INFORMATION0 info[2];
};

static IPSEC_SA_DETAILS0 *show_half(struct shown *o, int i, const struct half *k,
				    const IPSEC_TRAFFIC0 *t)
{
	IPSEC_SA_DETAILS0 *d = &o->details[i];

	if (!k->there)
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

static void show_context(struct shown *o, const struct context *c)
{
	o->c.saContextId = c->id;
	o->c.inboundSa = show_half(o, 0, &c->in, &c->in_traffic);
	o->c.outboundSa = show_half(o, 1, &c->out, &c->out_traffic);
}

API IPsecSaContextGetById0(HANDLE h, UINT64 id, IPSEC_SA_CONTEXT0 **out)
{
	DWORD code = enter_sa(h, "IPsecSaContextGetById0");
	struct context *c;
	struct shown *o;

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
	leave(h, 1);
	return told(code, "IPsecSaContextGetById0", ",\"id\":%llu", (unsigned long long)id);
}

API IPsecGetStatistics0(HANDLE h, IPSEC_STATISTICS0 *out)
{
	DWORD code = enter_sa(h, "IPsecGetStatistics0");

	if (code != 0)
		return code;
	memset(out, 0xff, sizeof *out);
	out->aggregateSaStatistics.activeSas = 0;
	for (int i = 0; i < CONTEXTS; i++)
		out->aggregateSaStatistics.activeSas +=
			s.contexts[i].used && s.contexts[i].in.there && s.contexts[i].out.there;
	out->aggregateDropPacketStatistics.invalidSpisOnInbound = 3;
	out->aggregateDropPacketStatistics.authenticationFailuresOnInbound = 4;
	out->aggregateDropPacketStatistics.decryptionFailuresOnInbound = 5;
	out->aggregateDropPacketStatistics.replayCheckFailuresOnInbound = 6;
	out->aggregateDropPacketStatistics.invalidClearTextInbound = 7;
	leave(h, 1);
	return told(0, "IPsecGetStatistics0", "");
}

API IPsecSaContextCreateEnumHandle0(HANDLE h, const IPSEC_SA_CONTEXT_ENUM_TEMPLATE0 *t, HANDLE *out)
{
	DWORD code = enter_sa(h, "IPsecSaContextCreateEnumHandle0");

	if (code != 0)
		return code;
	if (t != NULL)
		code = E(FWP_E_INVALID_PARAMETER);
	else
		*out = calloc(1, sizeof(unsigned));
	if (code == 0)
		((struct session *)h)->enums++;
	leave(h, 1);
	return told(code, "IPsecSaContextCreateEnumHandle0", "");
}

API IPsecSaContextEnum0(HANDLE h, HANDLE list, UINT32 wanted, IPSEC_SA_CONTEXT0 ***entries,
			UINT32 *n)
{
	DWORD code = enter_sa(h, "IPsecSaContextEnum0");
	unsigned *next = list;
	struct shown *o;
	char *block;

	if (code != 0)
		return code;
	block = calloc(1, wanted * (sizeof(IPSEC_SA_CONTEXT0 *) + sizeof *o));
	InterlockedIncrement(&unfreed);
	*entries = (IPSEC_SA_CONTEXT0 **)block;
	o = (struct shown *)(block + wanted * sizeof(IPSEC_SA_CONTEXT0 *));
	*n = 0;
	for (; *next < CONTEXTS && *n < wanted; (*next)++)
		if (s.contexts[*next].used) {
			show_context(o, &s.contexts[*next]);
			(*entries)[(*n)++] = &o->c;
			o++;
		}
	leave(h, 1);
	return told(0, "IPsecSaContextEnum0", ",\"n\":%u", *n);
}

API IPsecSaContextDestroyEnumHandle0(HANDLE h, HANDLE list)
{
	((struct session *)h)->enums--;
	free(list);
	return told(0, "IPsecSaContextDestroyEnumHandle0", "");
}
