/*
 * agent/privsep/client.h - the helper: a process of its own that configures the system's IPsec, so that
 * the one that talks to the network needs no right to.
 *
 * The helper is this program again, started with the same command line before anything secret is
 * read. It reads the config by itself, opens the back end, gives up all else, and then does what
 * agent/privsep/record.h lets it do. privsep_backend() is the back end of the other side: it forwards each call.
 * Windows has none: there the whole agent is one process.
 */
#ifndef SAPAIR_AGENT_PRIVSEP_CLIENT_H
#define SAPAIR_AGENT_PRIVSEP_CLIENT_H

#include "agent/ipsec/ipsec.h"
#include "proto/config/config.h"

struct privsep; /* this side's hold on the helper */

/* Starts it. *out stays NULL where the system has no such thing. */
int privsep_start(struct privsep **out, struct err *e);
/* The socket; and what the back end does when it is closed: the helper sees its end, and ends. */
intptr_t privsep_socket(const struct privsep *a);
void privsep_hang_up(struct privsep *a);
/* Waits for its end, but not for ever. NULL allowed. */
void privsep_end(struct privsep *a);

/* The back end that forwards each call to this helper; NULL for NULL. For struct ipsec_env. */
const struct ipsec_ops *privsep_backend(const struct privsep *a);

/* Was this process started as the helper? */
bool privsep_is_helper(void);

struct privsep_source {
	int (*read)(void *arg, struct config *c,
		    struct err *e); /* the config, at start and reload */
	void *arg;
	const char *const *paths; /* what it reads, as in confine.h */
};

/* The helper's whole life: until the other side hangs up. 0, also when the other side was told why
 * the helper cannot begin. */
int privsep_serve(const struct privsep_source *source, struct err *e);

#endif
