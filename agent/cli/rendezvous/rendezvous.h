/*
 * agent/cli/rendezvous/rendezvous.h - the network part of `sapair invite` and `sapair join`: two
 * hosts that share a token exchange names, ports and pins over TLS (proto/wire/invite.h).
 */
#ifndef SAPAIR_AGENT_CLI_RENDEZVOUS_RENDEZVOUS_H
#define SAPAIR_AGENT_CLI_RENDEZVOUS_RENDEZVOUS_H

#include "proto/base/addr.h"
#include "proto/wire/invite.h"

struct rendezvous {
	struct invite *invite;
	struct endpoint listen;      /* inviter */
	struct identity *id;         /* with INVITE_ALPN */
	char name[MSG_NAME_MAX + 1]; /* of this host */
	uint16_t port;               /* of its agent */
	uint64_t limit_ms;           /* inviter: validity of the token; joiner: time limit */
	/* Stores the peer's pin: on the inviter before the welcome is sent. -1 with e filled ends the
	 * rendezvous. */
	int (*keep)(struct rendezvous *m, struct err *e);
	void (*ready)(struct rendezvous *m); /* inviter: it is listening; or NULL */
	void *arg;

	/* Set by the calls below: the peer. */
	struct invite_msg peer;
	uint8_t peer_pin[PIN_LEN];
	struct addr peer_addr; /* address of its TCP connection */
	struct addr own_addr;  /* ours; the joiner may set it, to choose the source address */
};

/* Listens until a joiner proves that it knows the token. ERR_AUTH after one wrong proof, ERR_TIMEOUT
 * when the token expires. Connections that do not complete TLS, or send nothing, are closed and do
 * not count. */
int rendezvous_invite(struct rendezvous *m, struct err *e);
/* Connects to m->invite->at. ERR_TIMEOUT if there is no answer; ERR_AUTH for another key than that
 * of the token, or if the inviter refuses. */
int rendezvous_join(struct rendezvous *m, struct err *e);

#endif
