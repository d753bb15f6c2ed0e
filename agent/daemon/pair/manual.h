/*
 * agent/daemon/pair/manual.h - a pair with a host that has no agent: its half is carried there by hand.
 */
#ifndef SAPAIR_AGENT_DAEMON_PAIR_MANUAL_H
#define SAPAIR_AGENT_DAEMON_PAIR_MANUAL_H

#include "agent/daemon/pair/pair.h"

/*
 * Chooses SPIs and keys of both halves, and installs ours until the certificate ends at the latest
 * (not_after: seconds since 1970). ERR_USAGE while the peer is paired. The keys of *out are there
 * until manual_forget_keys().
 */
int manual_pair(struct pair *p, int64_t not_after, struct pair_view *out, struct err *e);
void manual_forget_keys(struct pair *p, struct ipsec_ctx ctx);

#endif
