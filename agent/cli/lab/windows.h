/*
 * agent/cli/lab/windows.h - Windows hosts of a lab, reached through ssh.
 */
#ifndef SAPAIR_AGENT_CLI_LAB_WINDOWS_H
#define SAPAIR_AGENT_CLI_LAB_WINDOWS_H

#include "agent/cli/lab/session.h"

/* Copies the program and the bundle to each Windows host. */
int lab_windows_copy(struct lab_session *r, struct err *e);
/* Starts their agents. */
int lab_windows_start(struct lab_session *r, struct err *e);
/* Stops their agents and removes all files. */
int lab_windows_stop(struct lab_session *r, struct err *e);

#endif
