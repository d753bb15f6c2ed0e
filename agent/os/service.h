/*
 * agent/os/service.h - the agent as a Windows service. Only there: other systems have units for theirs.
 */
#ifndef SAPAIR_AGENT_OS_SERVICE_H
#define SAPAIR_AGENT_OS_SERVICE_H

#include "proto/base/err.h"

#include <stdbool.h>

/*
 * Registers `PROGRAM service main --config FILE` (absolute path), to start with Windows behind the
 * filter engine's service, to be restarted when it ends badly; and a source for the event log. A
 * service that is there gets the new values. *changed false: nothing was to be done.
 */
int service_install(const char *config, bool *changed, struct err *e);
/* Stops it, and takes it and its source away. */
int service_remove(bool *changed, struct err *e);
/* Until it runs, or has stopped. */
int service_start(bool *changed, struct err *e);
int service_stop(bool *changed, struct err *e);

/*
 * For the service manager: calls body(arg) in a service that it started; what goes to stderr meanwhile
 * goes to the event log. When the service is to stop, os_watch_stop() has said whom to call. The exit
 * status is body's. ERR_USAGE when it was started by hand.
 */
int service_main(int (*body)(void *arg), void *arg, struct err *e);
/* Within service_main(): what os_notify() was told. False: in no service. */
bool service_notify(const char *state);

#endif
