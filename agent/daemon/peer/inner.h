/*
 * agent/daemon/peer/inner.h - a peer and its parts; for the files of this folder.
 *
 * Each part is used by its functions only.
 */
#ifndef SAPAIR_AGENT_DAEMON_PEER_INNER_H
#define SAPAIR_AGENT_DAEMON_PEER_INNER_H

#include "agent/daemon/pair/pair.h"
#include "agent/daemon/peer/completion.h"
#include "agent/daemon/peer/dial.h"
#include "agent/daemon/peer/hello.h"
#include "agent/daemon/peer/peer.h"
#include "agent/daemon/peer/policy.h"
#include "agent/daemon/verify/verify.h"

struct peer {
	struct peer *next;
	struct agent *agent;
	struct peer_config cfg;
	bool is_wanted;    /* false: taken down by the user */
	bool is_removed;   /* freed when the timer is closed */
	bool is_temporary; /* added by `up ADDRESS`: a reload keeps it */
	struct secret ppk;
	struct err *trouble; /* the last one, or NULL */

	struct deadlines deadlines;
	struct deadline policy_due; /* to try again */
	struct deadline
		proof_due; /* set: its certificate is not trusted any more, and it may show another */
	struct peer_policy policy;
	struct dialler dialler;
	struct peer_facts facts;
	struct completions completions;
	struct pair *pair;
	struct prober *prober;
};

#endif
