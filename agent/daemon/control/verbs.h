/*
 * agent/daemon/control/verbs.h - the verbs of the control socket. Each is one struct control_verb
 * in a file of agent/daemon/control/verbs/, which includes this header; its name and members are a row
 * of CTL_VERBS (proto/wire/ctl.h).
 */
#ifndef SAPAIR_AGENT_DAEMON_CONTROL_VERBS_H
#define SAPAIR_AGENT_DAEMON_CONTROL_VERBS_H

#include "agent/daemon/control/doc.h"
#include "agent/daemon/control/request.h"
#include "agent/daemon/peer/peer.h"

struct control_verb {
	bool takes_address; /* "peer" may be an address that no peer has: then p is NULL */
	/* Is the verb allowed? -1 with e filled if not. NULL: always. */
	int (*check)(const struct agent *a, struct err *e);
	/* p: the peer of the request; NULL: it names none. Replies, at the latest with
	 * sapair.end/1. */
	void (*run)(struct control_client *c, const struct ctl_request *req, struct peer *p);
};

/* Runs the request in a line of n bytes. */
void control_verb_run(struct control_client *c, const char *line, size_t n);

#endif
