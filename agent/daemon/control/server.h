/*
 * agent/daemon/control/server.h - the control socket, server side: requests in, documents out.
 */
#ifndef SAPAIR_AGENT_DAEMON_CONTROL_SERVER_H
#define SAPAIR_AGENT_DAEMON_CONTROL_SERVER_H

#include "agent/daemon/agent.h"

#define CONTROL_CLIENTS_MAX 64
#define CONTROL_QUEUE_MAX (4 * 1024 * 1024) /* of one client that does not read */

int control_open(struct agent *a, struct err *e);
/* Removes the socket; every client ends after what is queued for it. */
void control_close(struct agent *a);
/* Ends those that do not read. */
void control_cut(struct agent *a);
/* When the loop has run out. */
void control_free(struct agent *a);

/* Somebody watches events. */
bool control_is_watched(const struct agent *a);
void control_broadcast(struct agent *a, char *json, size_t n);

#endif
