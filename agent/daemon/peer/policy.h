/*
 * agent/daemon/peer/policy.h - policy of a peer: what is protected towards it.
 */
#ifndef SAPAIR_AGENT_DAEMON_PEER_POLICY_H
#define SAPAIR_AGENT_DAEMON_PEER_POLICY_H

#include "agent/daemon/state.h"

/* Private to policy.c, but for sa, which other parts borrow; part of struct peer. */
struct peer_policy {
	struct policy sa;
	bool is_installed;
	bool is_left; /* not in force any more, but not removed yet */
};

/* The policy that a peer's config asks for. Asks the routes for the address of this host, if the
 * config leaves it to them. pc is borrowed for its name. */
int policy_fill(struct policy *sa, const struct config *c, const struct peer_config *pc,
		uv_loop_t *loop, struct err *e);
/* Owner is that of events of the back end. */
int policy_install(struct peer_policy *p, struct agent *a, const struct peer_config *pc,
		   void *owner, struct err *e);
/* Removes it with all SAs; no effect if it is not installed. After -1 it must be called again, before the
 * policy is installed again and before *p is freed. */
int policy_remove(struct peer_policy *p, struct agent *a, struct err *e);
bool policy_is_installed(const struct peer_policy *p);

/* Can the back end do what this config asks for? */
int policy_check(const struct agent *a, const struct peer_config *pc, struct err *e);

#endif
