/*
 * proto/wire/invite.h - first contact without a CA: the token, and the two messages it pays for.
 *
 *     inviter                                              joiner
 *       token = endpoint / pin, secret, end  --- by hand -->
 *       <==== TLS 1.3, ALPN "sapair-join/1", certificates of both, the inviter's by its pin ====>
 *       <-- join    { name, port, proof } ---
 *       --- welcome { name, port, proof } -->                 both hold the other's pin
 *
 * A proof is an HMAC under the token's secret over this TLS session's exporter value, both pins,
 * the sender's role and what else it says: it cannot be used anywhere else. No I/O, no clock.
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

/* The token; text holds INVITE_TOKEN_TEXT bytes and is to be wiped. */
void invite_put(char *text, const struct invite *i);
/* Reads a token, white space around it left out; one that was cut or mistyped is ERR_USAGE. */
int invite_get(struct invite *i, const char *text, size_t len, struct err *e);

enum invite_kind { INVITE_JOIN, INVITE_WELCOME };

struct invite_msg {
	int kind;
	char name[MSG_NAME_MAX + 1]; /* what the sender calls itself */
	uint16_t port;               /* of its agent */
	uint8_t proof[SHA256_LEN];
};

/* What both ends know of one session. */
struct invite_bind {
	const struct secret *secret, *exporter;
	const uint8_t *inviter, *joiner; /* pins */
};

/* Fills m->proof. False: no memory. */
bool invite_prove(struct invite_msg *m, const struct invite_bind *b);
/* In constant time. */
bool invite_proven(const struct invite_msg *m, const struct invite_bind *b);

/* Length of the body; 0 when it did not fit. */
size_t invite_encode(const struct invite_msg *m, char *body, size_t size);
int invite_decode(struct invite_msg *m, enum invite_kind wanted, const char *body, size_t len,
		  struct err *e);

#endif
