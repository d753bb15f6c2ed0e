/*
 * agent/os/service.h - the agent as a Windows service.
 */
#ifndef SAPAIR_AGENT_OS_SERVICE_H
#define SAPAIR_AGENT_OS_SERVICE_H

#include "proto/base/err.h"

#include <stdbool.h>

/*
 * Registers `PROGRAM service main --config FILE` (absolute path), which starts with Windows after the filter
 * engine's service and is restarted after a failure, and a source for the event log. Updates an existing
 * service. *changed is false if there was nothing to do.
 */
int service_install(const char *config, bool *changed, struct err *e);
/* Stops the service, and removes it and its source. */
int service_remove(bool *changed, struct err *e);
/* These return when the service runs, or has stopped. */
int service_start(bool *changed, struct err *e);
int service_stop(bool *changed, struct err *e);

/*
 * Called in a process that the service manager has started: runs body(arg) as the service, with stderr to
 * the event log. os_watch_stop() sets the function that stops it. Returns body's exit status. ERR_USAGE if
 * the service manager has not started this process.
 */
int service_main(int (*body)(void *arg), void *arg, struct err *e);
/* Within service_main(): reports a state as os_notify() does. False if this is not a service. */
bool service_notify(const char *state);

#endif
