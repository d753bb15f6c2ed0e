/*
 * proto/wire/ctl.h - requests on the control socket: one JSON object per line.
 *
 * The reply is any number of documents, one per line, each with a "schema", then
 * {"schema":"sapair.end/1","exit":N}. A failure is a document "sapair.error/1" with class, exit, cause,
 * and peer and hint where there is one. Closing the connection cancels a request that waits, but not
 * what it has started.
 */
#ifndef SAPAIR_PROTO_WIRE_CTL_H
#define SAPAIR_PROTO_WIRE_CTL_H

#include "crypto/cert.h"
#include "proto/wire/msg.h"

#define CTL_LINE_MAX 4096 /* of a request */

/* The members that only some verbs have. */
enum ctl_members {
	CTL_HAS_PEER = 1,
	CTL_HAS_ALL = 2,
	CTL_HAS_WAIT = 4,
	CTL_HAS_VERIFY = 8,
	CTL_HAS_COUNT = 16,
	CTL_HAS_INTERVAL = 32,
	CTL_HAS_PARALLEL = 64,
	CTL_HAS_REASON = 128,
	CTL_HAS_PIN = 256,
	CTL_NEEDS_PEER = 512, /* "peer", or "all" where the verb has it, is required */
	CTL_NEEDS_PEERS = CTL_NEEDS_PEER | CTL_HAS_PEER | CTL_HAS_ALL,
};

/*
 * The verbs: X(NAME, name, members). Every verb has "timeout_ms" besides.
 */
/* clang-format off */
#define CTL_VERBS(X)                                                                              \
	X(STATUS, status, CTL_HAS_PEER | CTL_HAS_ALL)                                             \
	X(UP,     up,     CTL_NEEDS_PEERS | CTL_HAS_WAIT | CTL_HAS_VERIFY | CTL_HAS_PARALLEL | CTL_HAS_PIN) \
	X(DOWN,   down,   CTL_NEEDS_PEERS)                                                              \
	X(REKEY,  rekey,  CTL_NEEDS_PEERS | CTL_HAS_WAIT | CTL_HAS_VERIFY | CTL_HAS_PARALLEL | CTL_HAS_REASON) \
	X(VERIFY, verify, CTL_NEEDS_PEERS | CTL_HAS_COUNT | CTL_HAS_INTERVAL | CTL_HAS_PARALLEL)        \
	X(WATCH,  watch,  0)                                                                      \
	X(RELOAD, reload, 0)                                                                      \
	X(STOP,   stop,   0)                                                                      \
	X(EXPORT, export, CTL_HAS_PEER | CTL_HAS_ALL)                                             \
	X(SCRIPT, script, CTL_NEEDS_PEER | CTL_HAS_PEER)
/* clang-format on */

#define CTL_ENUM(upper, lower, members) CTL_##upper,
enum ctl_verb { CTL_VERBS(CTL_ENUM) CTL_COUNT };
#undef CTL_ENUM

enum ctl_wait {
	CTL_WAIT_NONE, /* do not wait */
	CTL_WAIT_DONE, /* until the pair is up or rekeyed, and verified (default) */
	CTL_WAIT_DRAIN /* rekey: until the old SAs are removed, too */
};

struct ctl_request {
	int verb;                      /* "verb": enum ctl_verb */
	char peer[MSG_NAME_MAX + 1];   /* "peer": name or address; empty: none is given */
	bool all;                      /* "all": every peer */
	int wait;                      /* "wait": "none", "done", "drain" */
	uint32_t timeout_ms;           /* "timeout_ms": 0: none; default 30000 */
	bool verify;                   /* "verify": up and rekey verify the pair; default true */
	uint32_t count;                /* "count": probes, 1 to 1000000; default 3 */
	uint32_t interval_ms;          /* "interval_ms": between probes; default 0 */
	uint32_t parallel;             /* "parallel": peers at a time, with "all"; default 16 */
	char reason[MSG_TEXT_MAX + 1]; /* "reason": recorded in events */
	char pin[PIN_TEXT + 1];        /* "pin": of an address that is not in the config */
};

/* Fills in the defaults. */
void ctl_request_init(struct ctl_request *r, enum ctl_verb verb);
/* ERR_USAGE for anything but a request with the members of its verb; then *r is all zero. */
int ctl_decode(struct ctl_request *r, const char *line, size_t len, struct err *e);
/* Returns the length without the newline, 0 if it does not fit. */
size_t ctl_encode(const struct ctl_request *r, char *line, size_t size);

#endif
