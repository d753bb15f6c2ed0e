/*
 * agent/daemon/agent.h - one running agent, from start to end.
 */
#ifndef SAPAIR_AGENT_DAEMON_AGENT_H
#define SAPAIR_AGENT_DAEMON_AGENT_H

#include "agent/daemon/state.h"

/* Runs until SIGTERM, SIGINT or `sapair stop`. Takes over s->cfg. 0 after a clean end. */
int agent_run(struct agent_start *s, struct err *e);

#endif
