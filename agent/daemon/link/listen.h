/*
 * agent/daemon/link/listen.h - listening sockets.
 *
 * A connection from an address that no peer has is closed at once, before TLS.
 */
#ifndef SAPAIR_AGENT_DAEMON_LINK_LISTEN_H
#define SAPAIR_AGENT_DAEMON_LINK_LISTEN_H

#include "agent/daemon/link/link.h"

/* Opens the sockets of the config. */
int listen_open(struct agent *a, const struct link_owner *ops, struct err *e);
void listen_close(struct agent *a);
/* The address of an open socket; i counts them from 0, in the order of the config. False: no more. */
bool listen_address(const struct agent *a, size_t i, struct endpoint *ep);

#endif
