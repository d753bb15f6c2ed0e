/*
 * agent/daemon/link/link.h - one connection to a peer: TCP stream, TLS engine, frames.
 *
 *     connecting -> shaking hands -> greeting (our hello is out) -> up -> closing
 *
 * A link knows no message's meaning but those of its own life: hello is handed to the peer, ping
 * is answered, bye and error end it. It is freed by its last close callback.
 */
#ifndef SAPAIR_AGENT_DAEMON_LINK_LINK_H
#define SAPAIR_AGENT_DAEMON_LINK_LINK_H

#include "agent/daemon/agent.h"
#include "crypto/tls.h"
#include "proto/wire/msg.h"

#define LINK_HANDSHAKE_MS 10000 /* from the first byte to the peer's hello (S8) */
#define LINK_CONNECT_MS 5000
#define LINK_PING_MS 3000                 /* quiet for so long: ask */
#define LINK_DEAD_MS 9000                 /* quiet for so long: dead */
#define LINK_AGE_MS (24u * 3600u * 1000u) /* a fresh TLS session every day (no KeyUpdate) */
#define LINK_QUEUE_MAX (256 * 1024)

enum link_state { LINK_CONNECTING, LINK_SHAKING, LINK_GREETING, LINK_UP, LINK_CLOSING };

struct link {
	struct agent *agent;
	struct peer *peer; /* NULL: not known yet, or let go */
	struct link *next; /* in the agent's list of accepted links without a peer */
	uv_tcp_t tcp;
	uv_timer_t timer;
	uv_connect_t connect;
	uv_shutdown_t shutdown;
	unsigned open_handles;
	enum link_state state;
	bool dialled; /* by us: we are the TLS client, and lead */
	bool has_dial_place;
	bool flushing; /* inside the TLS engine: output waits for its return */
	struct identity_ref *identity;
	struct tls *tls; /* made at the first byte of an accepted link */
	struct frame_reader frames;
	struct endpoint local, remote;
	struct secret exporter;
	uint8_t peer_instance[INSTANCE_LEN];
	uint64_t told_epoch, told_last; /* in our hello */
	uint64_t heard_ms, born_ms, ping_id;
	size_t queued;
	struct err why; /* first reason of the end */
	enum fault bye; /* that the peer told, or FAULT_NONE */
};

/* Dials. NULL and e: no address, no descriptor. Counts as one of DIALS_MAX until it is up. */
struct link *link_dial(struct agent *a, struct peer *p, struct err *e);
/* Takes over an accepted connection. */
struct link *link_accept(struct agent *a, uv_stream_t *server, struct err *e);

/* Sends one message body (copied, encrypted); false: the link is going down. */
bool link_send(struct link *l, const struct msg *m);
bool link_send_body(struct link *l, const char *body, size_t len);
/* The hellos agree: messages of all kinds go to and fro from now on. */
void link_is_up(struct link *l);
/* What was sent within a callback of the link goes out when that ends; or now. */
void link_push(struct link *l);

/*
 * Ends the link; idempotent. With a fault other than FAULT_NONE a bye (or error, for faults of
 * the protocol) goes out first. The peer is not told: the caller is the peer, or has told it.
 */
void link_close(struct link *l, enum fault fault);

#endif
