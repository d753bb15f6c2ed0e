/*
 * agent/os/detach.h - Windows: programs that outlive the session by which they were started.
 *
 * A session of ssh is a job whose processes end with it, and a process that has its pipes keeps it
 * open. On other systems a shell does all this.
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
 * Starts this very program with those words (UTF-8, without a quote in them, NULL behind the last one)
 * in no job, with no console, nothing to read, and with its output in a new file log. ERR_OS names what
 * failed. detach_forget() when it succeeded.
 */
int detach_start(struct detached *d, const char *const *words, const char *log, struct err *e);
/* The process of that number, if it runs a program that lies in folder dir: numbers are used again. */
bool detach_find(struct detached *d, unsigned long pid, const char *dir);
/* Waits for its end, at most for ms; true: *status is its exit status. */
bool detach_ended(const struct detached *d, unsigned ms, unsigned long *status);
void detach_kill(const struct detached *d);
void detach_forget(struct detached *d); /* it goes on; none is allowed */

#endif
