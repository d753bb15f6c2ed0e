/*
 * agent/daemon/verify/transport.h - how probe datagrams travel between two agents.
 *
 * Through the back end, where it carries datagrams itself. Else by UDP, from and to the port whose
 * number is that of the agents' TCP port: ordinary traffic, which the policy protects as any other.
 */
#ifndef SAPAIR_AGENT_DAEMON_VERIFY_TRANSPORT_H
#define SAPAIR_AGENT_DAEMON_VERIFY_TRANSPORT_H

#include "agent/daemon/peer/peer.h"

/* Ready to receive; behind ipsec_policy_add(). Already open is no error. */
int carrier_open(struct peer *p, struct err *e);
void carrier_close(struct peer *p);
/* What arrives goes to verify_on_datagram(). */
int carrier_send(struct peer *p, const uint8_t *data, size_t n, struct err *e);

#endif
