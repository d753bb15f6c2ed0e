/*
 * agent/os/detach.h - Windows: processes that outlive the session that started them.
 *
 * An ssh session is a job whose processes end with it, and a process that has its pipes keeps it open. On
 * other systems the shell takes care of this.
 */
#ifndef SAPAIR_AGENT_OS_DETACH_H
#define SAPAIR_AGENT_OS_DETACH_H

#include "proto/base/err.h"

#include <stdbool.h>

struct detached {
	void *process; /* a handle; NULL: none */
	unsigned long pid;
};

/*
 * Starts this program with the arguments words (UTF-8, without quotes, NULL-terminated), outside of any job,
 * without a console, with empty input and with output to a new file log. ERR_OS names the call that failed.
 * After success the caller calls detach_forget().
 */
int detach_start(struct detached *d, const char *const *words, const char *log, struct err *e);
/* Finds the process pid, if its program is in the folder dir: process ids are reused. */
bool detach_find(struct detached *d, unsigned long pid, const char *dir);
/* Waits at most ms for its end; true: *status is its exit status. */
bool detach_ended(const struct detached *d, unsigned ms, unsigned long *status);
void detach_kill(const struct detached *d);
void detach_forget(struct detached *d); /* closes the handle; the process continues */

#endif
