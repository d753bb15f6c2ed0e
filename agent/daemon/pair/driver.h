/*
 * agent/daemon/pair/driver.h - runs the exchange machine of a peer, and performs its actions: the only place
 * where it meets the link and the system.
 */
#ifndef SAPAIR_AGENT_DAEMON_PAIR_DRIVER_H
#define SAPAIR_AGENT_DAEMON_PAIR_DRIVER_H

#include "agent/daemon/pair/generation.h"

/* What one event came to. */
struct step {
	bool acted;        /* it changed something */
	struct err system; /* of the system action that failed */
	bool send_failed;  /* the link takes no more bytes */
	bool ended;        /* the exchange is over */
	enum fault result;
	bool close; /* the link is to be closed */
	enum fault close_fault;

	/* private */
	bool answer;    /* a system action was asked for */
	struct spi spi; /* of XA_RESERVE */
};

/* Runs one event and all that follows from it inside the system. What has to be done with the link and
 * with who waits is the caller's. */
void step_run(struct pair *p, const struct xevent *first, struct step *st);

#endif
