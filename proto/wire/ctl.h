/*
 * proto/wire/ctl.h - requests on the control socket: one JSON object a line.
 *
 * Reply: any number of documents, one a line, each with "schema", then
 * {"schema":"sapair.end/1","exit":N}. A failure is a document "sapair.error/1" with peer (if one
 * is meant), class, exit, cause, hint (if any). Closing the connection withdraws a waiting
 * request, never what it started.
 */
#ifndef SAPAIR_PROTO_WIRE_CTL_H
#define SAPAIR_PROTO_WIRE_CTL_H

#include "crypto/cert.h"
#include "proto/wire/msg.h"

#define CTL_LINE_MAX 4096 /* of a request */

enum ctl_verb {
	CTL_STATUS,
	CTL_UP,
	CTL_DOWN,
	CTL_REKEY,
	CTL_VERIFY,
	CTL_WATCH,
	CTL_RELOAD,
	CTL_STOP,
	CTL_EXPORT,
	CTL_SCRIPT, /* a pair with a host that has no agent: its half, and the keys */
	CTL_COUNT
};
const char *ctl_verb_name(enum ctl_verb v);

enum ctl_wait {
	CTL_WAIT_NONE, /* answer at once: started, or already so */
	CTL_WAIT_DONE, /* until up, switched, verified (default) */
	CTL_WAIT_DRAIN /* rekey: until the old SAs are gone */
};

struct ctl_request {
	int verb;                      /* "verb" */
	char peer[MSG_NAME_MAX + 1];   /* "peer": name or address; empty: see all */
	bool all;                      /* "all": every peer */
	int wait;                      /* "wait": "none", "done", "drain" */
	uint32_t timeout_ms;           /* "timeout_ms": 0 = for ever; default 30000 */
	bool verify;                   /* "verify": rekey and up prove the pair; default true */
	uint32_t count;                /* "count": probes of verify, 1 to 1000000; default 3 */
	uint32_t interval_ms;          /* "interval_ms": between probes; default 0 = back to back */
	uint32_t parallel;             /* "parallel": rekey --all; default 16 */
	char reason[MSG_TEXT_MAX + 1]; /* "reason": told in events */
	char pin[PIN_TEXT + 1];        /* "pin": up ADDRESS of an unconfigured peer */
};

void ctl_request_init(struct ctl_request *r, enum ctl_verb verb);
int ctl_decode(struct ctl_request *r, const char *line, size_t len, struct err *e);
/* Length without the newline; 0 when it does not fit. */
size_t ctl_encode(const struct ctl_request *r, char *line, size_t size);

#endif
