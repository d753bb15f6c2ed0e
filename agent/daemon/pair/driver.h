/*
 * agent/daemon/pair/driver.h - exchange driver: performs the actions of the exchange machine.
 */
#ifndef SAPAIR_AGENT_DAEMON_PAIR_DRIVER_H
#define SAPAIR_AGENT_DAEMON_PAIR_DRIVER_H

#include "agent/daemon/pair/generation.h"

/* The outcome of one event. */
struct driver_result {
	bool acted;        /* the machine did something */
	struct err system; /* why an action of the back end failed */
	bool send_failed;  /* the send queue of the link is full */
	bool ended;        /* the exchange is over */
	enum fault result;
	bool close; /* the link is to be closed */
	enum fault close_fault;

	/* private */
	bool answer;    /* an action of the back end is to be answered */
	struct spi spi; /* of XA_RESERVE */
};

/* Feeds one event to the machine, performs the actions, and feeds the results of the back end, until the
 * machine waits for the peer or is idle. Closing the link and ending the exchange is the caller's. */
void driver_run(struct pair *p, const struct xevent *first, struct driver_result *r);

#endif
