/*
 * agent/daemon/removal.h - a removal that failed and is tried again.
 *
 * The delay grows from REMOVAL_FIRST_MS to REMOVAL_MAX_MS. The owner tries again when the deadline
 * expires, and calls one of the two functions each time.
 */
#ifndef SAPAIR_AGENT_DAEMON_REMOVAL_H
#define SAPAIR_AGENT_DAEMON_REMOVAL_H

#include "agent/daemon/loop.h"
#include "proto/base/err.h"

#define REMOVAL_FIRST_MS 250
#define REMOVAL_MAX_MS 4000

/* All zero, but for due, which the owner adds to its deadlines. */
struct removal {
	struct deadline due;
	unsigned failures; /* in a row; 0: nothing is left */
	struct err why;    /* of the last failure */
};

/* Sets the time of the next try, unless it is set. True for the first failure, which is reported. */
bool removal_failed(struct removal *r, const struct err *e);
void removal_done(struct removal *r);

#endif
