/*
 * agent/daemon/link/link.h - one connection to a peer: TCP stream, TLS engine, frames.
 *
 *     connecting -> handshake -> greeting (our hello is sent) -> up -> closing
 *
 * A link interprets the messages about itself only: hello is passed to its owner, ping is answered,
 * bye and error end the link. It is freed by its last close callback.
 */
#ifndef SAPAIR_AGENT_DAEMON_LINK_LINK_H
#define SAPAIR_AGENT_DAEMON_LINK_LINK_H

#include "agent/daemon/state.h"
#include "crypto/tls.h"
#include "proto/wire/msg.h"

#define LINK_HANDSHAKE_MS 10000 /* from the first byte to the peer's hello (S8) */
#define LINK_CONNECT_MS 5000
#define LINK_PING_MS 3000 /* silent for so long: send a ping */
#define LINK_DEAD_MS 9000 /* silent for so long: the link is dead */
/* A new TLS session every day (no KeyUpdate): the host that dialled replaces the link while no exchange
 * runs; an hour later either host ends it. */
#define LINK_AGE_MS (24u * 3600u * 1000u)
#define LINK_AGE_MAX_MS (25u * 3600u * 1000u)
/* Bytes of a link that wait to be sent, those of the TLS engine included: above the soft limit it is
 * not read, above the other one it ends. All links together: those that hold much end. */
#define LINK_QUEUE_SOFT (64 * 1024)
#define LINK_QUEUE_MAX (256 * 1024)
#define LINK_TOTAL_MAX (8 * 1024 * 1024)

enum link_state { LINK_CONNECTING, LINK_HANDSHAKE, LINK_GREETING, LINK_UP, LINK_CLOSING };

struct link;
struct peer; /* the owner of links; opaque here */

/* What its owner may know of a link. */
struct link_facts {
	enum link_state state;
	bool is_dialled;   /* by us: we are the TLS client, and lead */
	struct err why;    /* first reason of its end */
	bool has_refused;  /* we refuse the peer's certificate */
	bool has_answered; /* accepted: we sent our part of the handshake */
	enum fault bye;    /* what the peer's bye or error says, or FAULT_NONE */
	struct secret exporter;
	const struct cert_facts *own_cert;
	uint64_t sent_epoch, sent_last; /* in our hello */
};

/*
 * What a link needs of the peer that it belongs to: the one that link_dial() was given, or that find()
 * returned. After gone() the link calls its owner no more.
 */
struct link_owner {
	/* The owner of a connection from remote to local; NULL: refuse it, *why is for the log. */
	struct peer *(*find)(const struct agent *a, const struct addr *local,
			     const struct addr *remote, const char **why);
	/* A connection of this owner was accepted; its handshake begins. */
	void (*accepted)(struct peer *owner, struct link *l);
	/* It has sent a message of TLS that we answered: it is further on than a silent one. */
	void (*answered)(struct peer *owner, struct link *l);
	/* Is this certificate the peer's? chain: what its chain is worth. */
	enum cert_fault (*judge)(const struct peer *owner, const struct cert_facts *leaf,
				 enum cert_fault chain, struct cert_reasons *why);
	/* The hello to send on this link. */
	void (*fill_hello)(const struct peer *owner, const struct link *l, struct msg_hello *h);
	/* The peer's hello: the owner calls link_set_up(), or ends the link. */
	void (*hello)(struct peer *owner, struct link *l, const struct msg_hello *h);
	/* A message on a link that is up; body is its text as it was received. */
	void (*message)(struct peer *owner, struct link *l, const struct msg *m, const char *body,
			size_t len);
	/* The link ends for a reason of its own, link_facts()->why; gone() follows. */
	void (*lost)(struct peer *owner, struct link *l);
	/* The link is closed, by whatever side: forget it. */
	void (*gone)(struct peer *owner, struct link *l);
	/* Another link of the owner is up, or its hello is sent: the peer may give up this one. */
	bool (*has_other)(const struct peer *owner);
	/* No exchange is running: a link that has become old may be replaced. */
	bool (*is_idle)(const struct peer *owner);
};

/* Connects from an address of this host. NULL and e: no address, no descriptor. */
struct link *link_dial(struct agent *a, const struct link_owner *ops, struct peer *owner,
		       const struct addr *from, const struct endpoint *to, struct err *e);
/* Takes over a connection that server has accepted. NULL: refused, and e is set if that is an error
 * of ours. */
struct link *link_accept(struct agent *a, const struct link_owner *ops, uv_stream_t *server,
			 struct err *e);

/* Sends one message (copied, encrypted); false: the link is going down. */
bool link_send(struct link *l, const struct msg *m);
bool link_send_body(struct link *l, const char *body, size_t len);
/* The hellos agree: the link is up. */
void link_set_up(struct link *l);

/*
 * Ends the link; idempotent. With a fault other than FAULT_NONE a bye (or error, for faults of
 * the protocol) is sent first. lost() is not called; link_abort() calls it, and sets the reason.
 */
void link_close(struct link *l, enum fault fault);
void link_abort(struct link *l, enum fault fault, const struct err *why);

const struct link_facts *link_facts(const struct link *l);
/* Judges the peer's certificate by the agent's identity and config of now. After the handshake. */
enum cert_fault link_judge_again(struct link *l);
const struct cert_facts *link_peer_cert(const struct link *l); /* once the handshake is over */

/* Exempts a TCP socket of the agent from IPsec. */
int link_exempt(struct agent *a, const uv_tcp_t *tcp, bool ipv6, struct err *e);

#endif
