/*
 * agent/daemon/control/server.h - the control socket, server side: requests in, documents out.
 */
#ifndef SAPAIR_AGENT_DAEMON_CONTROL_SERVER_H
#define SAPAIR_AGENT_DAEMON_CONTROL_SERVER_H

#include "agent/daemon/peer/reload.h"
#include "agent/daemon/state.h"

struct peer;

#define CONTROL_CLIENTS_MAX 64
#define CONTROL_QUEUE_MAX (4 * 1024 * 1024) /* of one client that does not read */

/* What the control socket needs of the agent that it belongs to. */
struct control_host {
	/* Reads config and identity again, and applies the differences. On -1 nothing has
	 * changed. */
	int (*reload)(struct agent *a, struct reload_result *r, struct err *e);
	/* Adds a peer by its address at run time (`up ADDRESS`); pin may be NULL. */
	int (*add_address)(struct agent *a, const char *address, const char *pin, struct peer **p,
			   struct err *e);
	/* Begins an orderly end; the loop ends by itself. */
	void (*stop)(struct agent *a);
};

/* Events go to the clients that watch from here on. */
int control_open(struct agent *a, const struct control_host *host, struct err *e);
/* Removes the socket; every client is closed after what is queued for it. */
void control_close(struct agent *a);
/* Closes those that do not read. */
void control_cut(struct agent *a);
/* After the loop has ended. */
void control_free(struct agent *a);

#endif
