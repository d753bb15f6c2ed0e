/*
 * agent/daemon/peer/dial.h - dialler of a peer: its links, when it connects, and how often.
 *
 * Both hosts dial. Handshakes of this agent run at most DIALS_MAX at a time: peers wait for a slot. Of
 * connections from the peer's address that have not come to the hello, HALF_OPEN_MAX may be silent, and
 * as many may be further on. The oldest is closed for a new one: a host that opens connections and sends
 * nothing cannot keep the peer out (S8).
 */
#ifndef SAPAIR_AGENT_DAEMON_PEER_DIAL_H
#define SAPAIR_AGENT_DAEMON_PEER_DIAL_H

#include "agent/daemon/link/link.h"

#define DIALS_MAX 16
#define HALF_OPEN_MAX 4

/* Private to dial.c; part of struct peer. */
struct dialler {
	struct agent *agent;
	const struct peer_config *cfg;
	const struct policy *policy;
	const struct link_owner *ops;
	struct peer *owner;
	void (*failed)(struct peer *owner, const struct err *e);
	bool is_enabled;
	struct link *link, *dialling;
	struct link *half_open[2 * HALF_OPEN_MAX + 1]; /* newest first */
	unsigned n_half_open;
	struct dialler *next; /* in the queue for a slot */
	bool is_queued, has_slot;
	bool has_deferred; /* has waited once for a half-open connection: not again in a row */
	unsigned failures; /* in a row */
	struct deadline due;
};

/* cfg and policy are borrowed; owner is that of the links. failed: a connection could not even begin. */
void dialler_init(struct dialler *d, struct agent *a, const struct peer_config *cfg,
		  const struct policy *policy, struct deadlines *deadlines,
		  const struct link_owner *ops, struct peer *owner,
		  void (*failed)(struct peer *owner, const struct err *e));
/* The policy is installed: dials, and dials again when a link is lost. */
void dialler_enable(struct dialler *d);
/* Neither dials nor waits for a slot. Its links stay. */
void dialler_disable(struct dialler *d);

/* Connects after a delay that grows with the failures in a row. */
void dialler_retry(struct dialler *d);
/* ... the delay of a peer that does not want us, whatever was before. */
void dialler_retry_slowly(struct dialler *d);
bool dialler_is_waiting(const struct dialler *d); /* a time to connect is set */
/* Cuts a long delay short. */
void dialler_hurry(struct dialler *d);
void dialler_reset_failures(struct dialler *d);

/* The link that is up, or NULL. */
struct link *dialler_link(const struct dialler *d);
bool dialler_is_dialling(const struct dialler *d);
bool dialler_is_first_failure(const struct dialler *d);
/* A link is up, or a hello of ours is sent on one that we dialled. */
bool dialler_has_other(const struct dialler *d);

/* A connection was accepted, or its first message answered. Each may close an older one. */
void dialler_accept(struct dialler *d, struct link *l);
void dialler_on_answered(struct dialler *d, const struct link *l);
/* The peer's hello came: a dialled link gives its slot back. */
void dialler_on_hello(struct dialler *d, const struct link *l);
/* l is the link that is up from now on. */
void dialler_set_link(struct dialler *d, struct link *l);
/* l ends without our doing; counts a failure if it was being dialled. */
void dialler_on_lost(struct dialler *d, const struct link *l);
/* l is closed: forgets it. */
void dialler_on_gone(struct dialler *d, const struct link *l);
/* Closes all; the fault is for the link that is up. */
void dialler_close_links(struct dialler *d, enum fault fault);

#endif
