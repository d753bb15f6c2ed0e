/*
 * agent/cli/lab/ssh_exempt.h - exempts ssh between the hosts of a lab from their pairs.
 */
#ifndef SAPAIR_AGENT_CLI_LAB_SSH_EXEMPT_H
#define SAPAIR_AGENT_CLI_LAB_SSH_EXEMPT_H

#include "agent/cli/lab/session.h"

/* If this machine is a host of the lab: exempts the port of its ssh to the others from its pairs with
 * them. Call it after lab_location_create() and before the bundles are made. ERR_USAGE if the lab file
 * does not allow it. */
int lab_ssh_exempt(struct lab_session *r, struct err *e);

#endif
