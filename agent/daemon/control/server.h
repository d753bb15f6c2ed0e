/*
 * agent/daemon/control/server.h - the control socket, server side: one JSON object per line and
 * direction; requests come in, documents go out (proto/wire/ctl.h).
 */
#ifndef SAPAIR_AGENT_DAEMON_CONTROL_SERVER_H
#define SAPAIR_AGENT_DAEMON_CONTROL_SERVER_H

#include "agent/daemon/control/client.h"

/* Events go to the clients that watch from here on. host must outlive the agent. */
int control_open(struct agent *a, const struct control_host *host, struct err *e);
/* Removes the socket. Requests that wait end with ERR_DOWN; each client closes when its replies are
 * written. */
void control_close(struct agent *a);
/* Closes the clients that have not read their replies. */
void control_cut(struct agent *a);
/* After the loop has run out. */
void control_free(struct agent *a);

#endif
