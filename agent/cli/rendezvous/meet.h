/*
 * agent/cli/rendezvous/meet.h - one meeting of two hosts that share a token (proto/wire/invite.h): the network part of
 * `sapair invite` and `sapair join`.
 */
#ifndef SAPAIR_AGENT_CLI_RENDEZVOUS_MEET_H
#define SAPAIR_AGENT_CLI_RENDEZVOUS_MEET_H

#include "proto/base/addr.h"
#include "proto/wire/invite.h"

struct meet {
	struct invite *invite;
	struct identity *id;         /* speaks INVITE_ALPN */
	char name[MSG_NAME_MAX + 1]; /* our own */
	uint16_t port;               /* of our agent */
	uint64_t limit_ms;           /* inviter: the life of the invitation; joiner: to give up */
	/* Inviter: holds the joiner's pin before the welcome goes out. Joiner: holds the inviter's. -1
	 * with e filled ends the meeting. */
	int (*keep)(struct meet *m, struct err *e);
	void (*ready)(struct meet *m); /* inviter: it listens; or NULL */
	void *arg;

	/* Filled: the other one. */
	struct invite_msg peer;
	uint8_t peer_pin[PIN_LEN];
	struct addr peer_addr; /* as TCP has it */
	struct addr own_addr;  /* likewise; set by the joiner: where to call from */
};

/*
 * Waits on listen for the one joiner; a wrong proof is the one guess, and ends it (ERR_AUTH), as does
 * the end of the invitation (ERR_TIMEOUT). Whoever cannot do TLS or says nothing is let go.
 */
int meet_invite(struct meet *m, const struct endpoint *listen, struct err *e);
/* Goes to m->invite->at. ERR_TIMEOUT: nobody there; ERR_AUTH: another key, or we were refused. */
int meet_join(struct meet *m, struct err *e);

#endif
