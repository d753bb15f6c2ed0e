/*
 * agent/daemon/cert_reload.h - certificate reload: a new certificate, key, CA or list of denied keys is
 * used as soon as its file is there.
 *
 * Existing links keep what they began with, so no pair notices. A file that cannot be used changes
 * nothing, and is reported once. Also warns 30, 7 and 1 day before our certificate expires.
 */
#ifndef SAPAIR_AGENT_DAEMON_CERT_RELOAD_H
#define SAPAIR_AGENT_DAEMON_CERT_RELOAD_H

#include "agent/daemon/state.h"

#define CERT_RELOAD_MS 2000 /* between two polls; a change must look the same twice */

struct cert_reload;
/* Reads the identity again. On -1 the old one stays. */
typedef int cert_reload_fn(void *arg, struct err *e);

/* NULL and no error where there is no memory: the files are read at a reload only. */
struct cert_reload *cert_reload_start(struct agent *a, cert_reload_fn *reload, void *arg);
void cert_reload_stop(struct cert_reload *r); /* NULL allowed; freed by the loop */
/* The identity was read just now: the files as they are count as known. Warns again of its end. */
void cert_reload_seen(struct cert_reload *r); /* NULL allowed */

#endif
