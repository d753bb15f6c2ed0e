/*
 * agent/daemon/event.h - events: each is one line of the log and one JSON object for each client of
 * the control socket that watches.
 *
 * The numbers are stable and the same on every system: Windows' Event Log uses them too.
 */
#ifndef SAPAIR_AGENT_EVENT_H
#define SAPAIR_AGENT_EVENT_H

#include "agent/os/log.h"
#include "proto/json/encode.h"

#define EVENT_LIST(X) /* name, number, word, level */    \
	X(UP, 100, "up", LOG_INFO)                       \
	X(DOWN, 101, "down", LOG_INFO)                   \
	X(REKEY_ASKED, 109, "rekey-asked", LOG_INFO)     \
	X(REKEY_BEGIN, 110, "rekey-begin", LOG_DEBUG)    \
	X(REKEY_DONE, 111, "rekey-done", LOG_INFO)       \
	X(REKEY_FAILED, 112, "rekey-failed", LOG_WARN)   \
	X(VERIFY_FAILED, 120, "verify-failed", LOG_WARN) \
	X(VERIFIED, 121, "verified", LOG_INFO)           \
	X(PROTECTED, 125, "protected", LOG_INFO)         \
	X(UNPROTECTED, 126, "unprotected", LOG_WARN)     \
	X(UNREACHABLE, 130, "unreachable", LOG_WARN)     \
	X(LINK_UP, 131, "link-up", LOG_INFO)             \
	X(LINK_DOWN, 132, "link-down", LOG_INFO)         \
	X(AUTH_REFUSED, 140, "auth-refused", LOG_WARN)   \
	X(CERT_EXPIRES, 141, "cert-expires", LOG_WARN)   \
	X(EXPIRED, 142, "expired", LOG_WARN)             \
	X(NOT_YET_VALID, 143, "not-yet-valid", LOG_WARN) \
	X(CERT_UNFIT, 144, "cert-unfit", LOG_WARN)       \
	X(DROPS, 151, "drops", LOG_WARN)                 \
	X(FOREIGN, 160, "foreign-change", LOG_WARN)      \
	X(ADOPTED, 161, "adopted", LOG_INFO)             \
	X(SYSTEM, 170, "system-error", LOG_ERROR)        \
	X(KEYS_EXPORTED, 180, "keys-exported", LOG_WARN) \
	X(HALF_EXPORTED, 181, "half-exported", LOG_WARN) \
	X(LIMIT, 190, "limit", LOG_WARN)                 \
	X(RELOADED, 200, "reloaded", LOG_INFO)           \
	X(STOPPING, 201, "stopping", LOG_INFO)           \
	X(UNCONFINED, 210, "unconfined", LOG_WARN)
#define EVENT_ENUM(n, id, w, l) EVENT_##n,
enum event_kind { EVENT_LIST(EVENT_ENUM) EVENT_COUNT };
#undef EVENT_ENUM

/* Where the JSON objects go. */
struct event_sink {
	bool (*is_watched)(void *arg);
	void (*broadcast)(void *arg, const char *json, size_t n);
};

/* A failure that was logged: the same one of the same peer is logged again after a minute, two, four,
 * at last an hour. When the peer is up again, the next one is logged at once. */
struct event_failure {
	uint32_t peer, what; /* hashes; 0: free */
	uint32_t next_s;     /* when it is logged again, in seconds of loop_now_ms() */
	uint16_t wait_s, omitted;
};
#define EVENT_FAILURES 2048
#define EVENT_FAILURES_OF_PEER 4 /* of peers with the same place in the table */

/* Of one agent; all zero at the start: no sink. */
struct events {
	const struct event_sink *sink;
	void *sink_arg;
	bool is_lab;         /* the agent has a lab identity: events say so */
	uint64_t lines_ms;   /* when lines_left was last filled */
	uint32_t lines_left; /* lines of level info that may be written */
	uint64_t lines_dropped;
	struct event_failure failures[EVENT_FAILURES];
};

/* One event while it is written: begin, put members into json, end. */
struct event_out {
	struct events *events;
	enum event_kind kind;
	const char *peer;
	bool wanted; /* a client watches; if not, members need not be written */
	struct json_out json;
	char text[1024];
};

void event_begin(struct event_out *ev, struct events *to, enum event_kind kind, const char *peer);
/* The line of the log; NULL writes none. */
void event_end(struct event_out *ev, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* "2026-11-23T10:00:00.123Z" for milliseconds since 1970. */
void event_time(char *text, size_t size, int64_t ms);

/* begin and end in one, with the error's class, cause and hint as members. The same failure of a
 * peer is not logged each time. */
void event_fail(struct events *to, enum event_kind kind, const char *peer, const struct err *e);
/* ... with one member "text", which is also the line of the log; NULL: neither. */
void event_plain(struct events *to, enum event_kind kind, const char *peer, const char *text);

#endif
