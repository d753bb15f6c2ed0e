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
#include "agent/daemon/peer/protection.h"
#include "agent/daemon/removal.h"
#include "agent/daemon/verify/verify.h"

struct peer {
	struct peer *next;
	struct agent *agent;
	struct peer_config cfg;
	bool is_wanted;     /* false: taken down by the user */
	bool is_started;    /* policy installed, links and probes allowed */
	bool is_removed;    /* freed when the timer is closed */
	bool is_leaving;    /* removed by the config, but its policy could not be removed yet */
	bool lacks_address; /* the own address of the policy is not on this host */
	bool is_temporary;  /* added by `up ADDRESS`: a reload keeps it */
	struct secret ppk;
	struct err *trouble; /* the last one, or NULL */

	struct deadlines deadlines;
	struct deadline start_due; /* the next attempt to start */
	/* Set: its certificate is not trusted any more, and it may show another. */
	struct deadline proof_due;
	struct removal removal; /* of a peer that is down */
	struct peer_policy policy;
	struct protection protection;
	struct dialler dialler;
	struct peer_facts facts;
	struct completions completions;
	struct pair *pair;
	struct prober *prober;
};

#endif
