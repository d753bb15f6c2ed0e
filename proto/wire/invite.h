/*
 * proto/wire/invite.h - pairing by invitation: the token, and the two messages.
 *
 *     inviter                                              joiner
 *       token = endpoint / pin, secret, end  --- by the user -->
 *       <==== TLS 1.3, ALPN "sapair-join/1", both certificates, the inviter's checked by its pin ====>
 *       <-- join    { name, port, proof } ---
 *       --- welcome { name, port, proof } -->                 each has the other's pin
 *
 * A proof is an HMAC, keyed with the token's secret, over the exporter value of the TLS session, both
 * pins, the sender's role and the other members: it is valid in this session only. No I/O, no clock.
 */
#ifndef SAPAIR_PROTO_WIRE_INVITE_H
#define SAPAIR_PROTO_WIRE_INVITE_H

#include "crypto/cert.h"
#include "crypto/hkdf.h"
#include "proto/wire/msg.h"

#define INVITE_ALPN "sapair-join/1"
#define INVITE_SECRET 16
#define INVITE_TOKEN_TEXT (ENDPOINT_TEXT + 1 + 2 * (PIN_LEN + INVITE_SECRET + 8 + 4))

struct invite {
	struct endpoint at;   /* where the inviter listens */
	uint8_t pin[PIN_LEN]; /* of its key */
	struct secret secret; /* INVITE_SECRET bytes */
	int64_t until;        /* seconds since 1970 */
};

/* Writes the token; text holds INVITE_TOKEN_TEXT bytes. The caller wipes it. */
void invite_put(char *text, const struct invite *i);
/* Reads a token; white space around it is ignored. ERR_USAGE: truncated or mistyped. */
int invite_get(struct invite *i, const char *text, size_t len, struct err *e);

enum invite_kind { INVITE_JOIN, INVITE_WELCOME };

struct invite_msg {
	int kind;
	char name[MSG_NAME_MAX + 1]; /* of the sender */
	uint16_t port;               /* of its agent */
	uint8_t proof[SHA256_LEN];
};

/* What both sides know about one session. */
struct invite_bind {
	const struct secret *secret, *exporter;
	const uint8_t *inviter, *joiner; /* pins */
};

/* Sets m->proof. False: no memory. */
bool invite_prove(struct invite_msg *m, const struct invite_bind *b);
/* Checks m->proof in constant time. */
bool invite_proven(const struct invite_msg *m, const struct invite_bind *b);

/* The length of the body; 0: it did not fit. */
size_t invite_encode(const struct invite_msg *m, char *body, size_t size);
int invite_decode(struct invite_msg *m, enum invite_kind wanted, const char *body, size_t len,
		  struct err *e);

#endif
