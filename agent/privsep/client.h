/*
 * agent/privsep/client.h - the privileged helper, seen from the network process.
 *
 * The helper is this program, started with the same command line before any secret is read. It reads the
 * config by itself and configures the system's IPsec on request. privsep_backend() is the network
 * process's back end, which forwards each call. On Windows the agent is one process.
 */
#ifndef SAPAIR_AGENT_PRIVSEP_CLIENT_H
#define SAPAIR_AGENT_PRIVSEP_CLIENT_H

#include "agent/ipsec/ipsec.h"
#include "proto/config/config.h"

struct privsep; /* a running helper */

/* Starts the helper. *out stays NULL on systems without one. */
int privsep_start(struct privsep **out, struct err *e);
/* Its socket. The helper ends when that is shut down. */
intptr_t privsep_socket(const struct privsep *a);
void privsep_hang_up(struct privsep *a);
/* Waits for its end, a second at most. NULL allowed. */
void privsep_end(struct privsep *a);

/* The back end that forwards each call to this helper; NULL for NULL. For struct ipsec_env. */
const struct ipsec_ops *privsep_backend(const struct privsep *a);

/* True in the helper process. */
bool privsep_is_helper(void);

struct privsep_source {
	int (*read)(void *arg, struct config *c,
		    struct err *e); /* the config, at start and reload */
	void *arg;
	const char *const *paths; /* what it reads, as in confine.h */
};

/* Runs the helper until the network process closes the socket. Returns 0 also if the helper could not
 * start and has told the network process why. */
int privsep_serve(const struct privsep_source *source, struct err *e);

#endif
