/*
 * agent/daemon/pair/manual.h - a pair with a host that has no agent, whose half somebody carries there.
 */
#ifndef SAPAIR_AGENT_DAEMON_PAIR_MANUAL_H
#define SAPAIR_AGENT_DAEMON_PAIR_MANUAL_H

#include "agent/daemon/pair/generation.h"

/*
 * All of it is chosen here, and our half installed. Only with a lab identity (ERR_PERM), and while the
 * peer is not paired (ERR_USAGE). (*out)->keys are there until manual_told().
 */
int manual_pair(struct peer *p, struct gen **out, struct err *e);
void manual_told(struct peer *p, struct gen *g);

#endif
