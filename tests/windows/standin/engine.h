/*
 * tests/windows/standin/engine.h - a substitute for Windows' filter engine: fwpuclnt.dll next to the program.
 *
 * It has the calls that sapair uses. It is as strict as the documentation of the real engine, and stricter where
 * that is silent. The state is a file, so that it outlives a process, as in Windows. No packet is processed.
 *
 *     SAPAIR_STANDIN         its folder:
 *         state              the engine's objects; state.json: the same, readable
 *         calls.jsonl        each call, one object per line
 *         fail               "NAME N CODE": the N-th call of NAME from now on fails with CODE
 *         event              "context ID", "filter ID" or "drop ADDRESS SPI STATUS" (hex): reported to
 *                            subscribers, as are removals by this process itself
 *         hold               while it exists, another program holds the engine's lock
 *     SAPAIR_STANDIN_ACCESS  "none": no administrator; "nobfe": the engine is not running
 *     SAPAIR_STANDIN_IPV6    "network": takes IPv6 addresses of SAs in network byte order only
 *
 *     state.c    objects on disk, the log of calls
 *     call.c     the begin and end of every call: lock, access, injected failures
 *     session.c  sessions and transactions
 *     event.c    subscriptions
 *     filter.c   providers and filters; filter_list.c enumerates them
 *     sa.c       SA contexts; sa_check.c checks keys and transforms; sa_read.c reads contexts back
 */
#pragma once

#include <winsock2.h>
#include <ws2tcpip.h>
#include <windows.h>

#include <fwpmu.h>
#include <stdbool.h>
#include <stdint.h>

#define API __declspec(dllexport) DWORD WINAPI
#define FILTERS 64
#define CONTEXTS 32
#define PROVIDERS 8
#define USED_KEYS 128
#define CONDITIONS 6
#define KEY_MAX 64
#define E(code) ((DWORD)(code))
#define PATH_LEN (MAX_PATH + 32)

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

struct sa {
	bool present;
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
	struct sa in, out;
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

/* The objects, as read under the lock. */
extern struct state s;
extern HANDLE mutex;
extern LONG unfreed; /* blocks given to the caller that it has not freed */

/* state.c */
void setup(void);
void path_of(char out[PATH_LEN], const char *name);
void load(void);
void save(void);
uint64_t now_ms(void);
uint64_t hash(const void *p, size_t n);
void guid_text(char out[40], const GUID *g);
/* Appends one line to calls.jsonl; fmt gives the members after "code". Returns code. */
DWORD log_call(DWORD code, const char *call, const char *fmt, ...);

/* call.c: after a code other than 0 nothing is held; call end_call() only after 0. */
DWORD injected_failure(const char *call);
bool has_access(const char *word);
DWORD begin_call(HANDLE h, const char *call);
DWORD begin_write(HANDLE h, const char *call);
/* For calls on SAs, which must not be within a transaction. */
DWORD begin_sa_call(HANDLE h, const char *call);
/* Saves the state if code is 0, and releases the lock. */
void end_call(HANDLE h, DWORD code);

/* event.c */
enum { CONTEXT_REMOVED, FILTER_REMOVED, PACKET_DROPPED, EVENT_KINDS };
void post_event(int kind, uint64_t id);

/* filter.c */
bool is_v4(const GUID *layer);
bool is_inbound(const GUID *layer);
bool is_layer(const GUID *layer);
const struct cond *cond_of(const struct filter *f, const GUID *field);
/* By key, or by id where key is NULL. */
struct filter *filter_of(const GUID *key, uint64_t id);

/* sa.c */
struct context *context_of(uint64_t id);

/* sa_check.c: reads an SA bundle for a context, or returns the reason for refusing it. */
DWORD take_bundle(struct sa *to, const struct context *c, const IPSEC_SA_BUNDLE0 *b);
