/*
 * agent/daemon/cert_reload.h - a new certificate, key or CA is taken as soon as its file is there.
 *
 * Links that stand keep what they began with, so no pair notices; new ones take the new. A file that
 * cannot be used changes nothing, and is told once. Also tells, 30, 7 and 1 day before, that our
 * certificate ends.
 */
#ifndef SAPAIR_AGENT_DAEMON_CERT_RELOAD_H
#define SAPAIR_AGENT_DAEMON_CERT_RELOAD_H

#include "agent/daemon/agent.h"

#define RENEW_MS 2000 /* between two looks; what changed must look the same twice */

struct renew;

/* NULL and no error where there is no memory: the files are read at reload only. */
struct renew *renew_start(struct agent *a);
void renew_stop(struct renew *r); /* NULL allowed; freed by the loop */
/* The identity was read just now: nothing is new; and its end is told if it is near. */
void renew_seen(struct renew *r);

#endif
