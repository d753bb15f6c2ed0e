/*
 * agent/cli/lab/netns.h - network namespaces for the hosts of a lab on this machine.
 */
#ifndef SAPAIR_AGENT_CLI_LAB_NETNS_H
#define SAPAIR_AGENT_CLI_LAB_NETNS_H

#include "agent/cli/lab/session.h"

/* Can this process make network namespaces? */
bool netns_work(void);
/* Makes all of them, and removes all of them if that fails. Those that exist are replaced. */
int netns_make(const struct lab_session *r, struct err *e);
/* Removes all of them, and ends what runs in them. */
int netns_remove(const struct lab_session *r, struct err *e);
bool netns_exists(const char *name);

#endif
