/*
 * agent/daemon/link/listen.h - listening sockets, and how many strangers may knock.
 *
 * A connection from an address that no peer has is closed at once, before TLS. One from a known
 * address has LINK_HANDSHAKE_MS; at most KNOCKS_MAX of them wait per address, the oldest goes
 * first: a host that only knocks cannot keep its neighbour's agent out.
 */
#ifndef SAPAIR_AGENT_DAEMON_LINK_LISTEN_H
#define SAPAIR_AGENT_DAEMON_LINK_LISTEN_H

#include "agent/daemon/agent.h"

#define KNOCKS_MAX 4

int listen_open(struct agent *a, struct err *e);
void listen_close(struct agent *a);

#endif
