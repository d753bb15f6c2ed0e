/*
 * agent/daemon/verify/transport.h - how probe datagrams travel between two agents.
 *
 * Through the back end, where it carries datagrams itself. Else by UDP, from and to the port whose
 * number is that of the agents' TCP port: ordinary traffic, which the policy protects as any other.
 */
#ifndef SAPAIR_AGENT_DAEMON_VERIFY_TRANSPORT_H
#define SAPAIR_AGENT_DAEMON_VERIFY_TRANSPORT_H

#include "agent/daemon/state.h"

/* Of one peer; part of struct prober. */
struct transport {
	struct transport *next; /* that shares the socket */
	struct agent *agent;
	struct policy *policy;       /* between which hosts */
	struct probe_socket *socket; /* NULL: closed, or the back end carries the datagrams */
	void (*receive)(void *arg, const uint8_t *data, size_t n);
	void *arg;
};

/* Ready to receive; after ipsec_policy_add(). No effect if it is open. */
int transport_open(struct transport *t, struct err *e);
void transport_close(struct transport *t);
/* A full buffer is no error: the datagram is lost, as on the wire. */
int transport_send(struct transport *t, const uint8_t *data, size_t n, struct err *e);

#endif
