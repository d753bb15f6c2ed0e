/*
 * agent/daemon/peer/hello.h - what a peer's certificate and hello say about it.
 */
#ifndef SAPAIR_AGENT_DAEMON_PEER_HELLO_H
#define SAPAIR_AGENT_DAEMON_PEER_HELLO_H

#include "agent/daemon/link/link.h"
#include "proto/exchange/election.h"

struct deny;
struct peer;
struct peer_view;

/* Of the last link that came up; part of struct peer, private to hello.c. */
struct peer_facts {
	bool is_known;
	uint8_t pin[PIN_LEN];
	char name[MSG_NAME_MAX + 1];
	int64_t not_after;
	uint64_t checked_ms; /* when that was last compared with the wall clock */
	bool has_instance;
	uint8_t instance[INSTANCE_LEN];
};

/* Operations of link_owner. */
enum cert_fault hello_judge(const struct peer *p, const struct cert_facts *leaf,
			    enum cert_fault chain, struct cert_reasons *why);
void hello_fill(const struct peer *p, const struct link *l, struct msg_hello *h);

/* The peer's hello. True: the link is up, *verdict is what the hellos say; false: it is closed. */
bool hello_take(struct peer *p, struct link *l, const struct msg_hello *h,
		enum hello_verdict *verdict);
/* Is what our hello on this link said of the pair no longer true? */
bool hello_is_stale(const struct peer *p, const struct link *l);

/* Has the peer's certificate expired? Looks at the wall clock once a second. */
bool hello_cert_expired(struct peer *p);
/* Is the key of its certificate, as far as it is known, on the list? */
bool hello_is_denied(const struct peer *p, const struct deny *deny);
/* Fills in the members about the certificate. */
void hello_view(const struct peer_facts *f, struct peer_view *v);

#endif
