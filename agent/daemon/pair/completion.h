/*
 * agent/daemon/pair/completion.h - who waits for a pair to be up, rekeyed, proven, drained.
 */
#ifndef SAPAIR_AGENT_DAEMON_PAIR_COMPLETION_H
#define SAPAIR_AGENT_DAEMON_PAIR_COMPLETION_H

#include "agent/daemon/peer/peer.h"

/* An exchange is over: e is NULL when there is a new pair. Starts the proof where wanted. */
void waiters_on_exchange(struct peer *p, const struct err *e);
/* A new link found that both ends have the same pair. Proves it where an exchange that was cut off at
 * its very end left it unproven, and where a proof failed before. */
void waiters_on_agreed(struct peer *p);
/* No old generation is left. */
void waiters_on_drained(struct peer *p);
/* The pair cannot come up (refused, taken down, agent stopping): everybody is told. */
void waiters_fail(struct peer *p, const struct err *e);
/* What stands in the way, for somebody whose time is over. */
void waiter_why(const struct waiter *w, struct err *e);

#endif
