/*
 * crypto/tls.h - one end of a TLS 1.3 channel (RFC 8446) as a machine over memory.
 *
 * Wire bytes go in, wire bytes and plain text come out; no socket, no clock, no callback into
 * an event loop. TLS 1.3 only, ALPN "sapair/1", certificates on both sides, ephemeral key
 * exchange, no tickets, no 0-RTT. No name is sent in the clear (no SNI).
 *
 *     wire in -> tls_feed() -> plain (the caller's sink)
 *     plain -> tls_send()   -> tls_output() -> wire out
 */
#ifndef SAPAIR_CRYPTO_TLS_H
#define SAPAIR_CRYPTO_TLS_H

#include "crypto/cert.h"

#define TLS_EXPORT_LEN 32
#define TLS_ALPN "sapair/1"

enum tls_role { TLS_CLIENT, TLS_SERVER };

enum tls_fault {
	TLS_OK,
	TLS_NO_MEMORY,
	TLS_PROTOCOL, /* malformed or unexpected bytes, wrong MAC after the handshake */
	TLS_VERSION,  /* the peer does not speak TLS 1.3 */
	TLS_NO_ALPN,  /* the peer does not offer or choose "sapair/1" */
	TLS_CERT,     /* we refuse the peer's certificate: tls_cert_fault() says why */
	TLS_REFUSED,  /* the peer most likely refused our certificate: its alert says so, or came
		       * under keys that mbedTLS can't read (its issue 10877) */
	TLS_ALERT,    /* another fatal alert of the peer */
	TLS_CLOSED,   /* close_notify: a clean end */
	TLS_NO_SUITE  /* no common group, cipher or signature; some TLS 1.2 servers end so */
};
const char *tls_fault_text(enum tls_fault f);

/*
 * Judges the peer's leaf during the handshake, before its owner has proven to hold the key. chain
 * is CERT_OK when the leaf is good and chains to a CA of ours, else the first of: the leaf's own
 * dates, purpose, weakness; untrusted (always without a CA); an issuer's dates or weakness.
 * Returns CERT_OK to go on; anything else refuses. A pin may replace the chain; what is wrong
 * with the leaf itself refuses whatever the judge returns. May be called at most once.
 */
typedef enum cert_fault tls_judge(void *arg, const struct cert_facts *leaf, enum cert_fault chain);

struct tls; /* opaque; about 40 KiB while it lives, 2 KiB for a server that has heard nothing */

/* id is borrowed and must outlive the engine. NULL: no memory. The client's first flight waits
 * in tls_output() at once. */
struct tls *tls_new(const struct identity *id, enum tls_role role, tls_judge *judge, void *arg);
void tls_free(struct tls *t); /* NULL is allowed */

/* Gets plain text as it is decrypted, in pieces of any size; the bytes are wiped after the call.
 * False stops at once: tls_feed() returns TLS_PROTOCOL and the engine is dead. */
typedef bool tls_sink(void *arg, const uint8_t *plain, size_t n);

/*
 * Takes all n wire bytes: handshake first, then plain text into the sink. After anything but
 * TLS_OK the engine is dead: send what tls_output() still holds (an alert), then close. The
 * sink may call tls_send(), but neither tls_feed() nor tls_free().
 */
enum tls_fault tls_feed(struct tls *t, const uint8_t *wire, size_t n, tls_sink *sink, void *arg);

/* The transport ended: the fault there was (TLS_CLOSED after close_notify), else what a bare end
 * means at this point: TLS_REFUSED while the peer had our certificate to judge (a server between
 * its flight and the client's, a client until the first plain text), else TLS_PROTOCOL. */
enum tls_fault tls_feed_end(struct tls *t);

/* True once our side of the handshake is over. For a client that says nothing about being
 * accepted: TLS 1.3 clients finish before the server has judged their certificate. */
bool tls_is_open(const struct tls *t);

/* Encrypts n bytes into the output. False: not open, closing, dead, or no memory. */
bool tls_send(struct tls *t, const uint8_t *plain, size_t n);

/* Appends close_notify, once, when open; also to answer the peer's. Nothing is sent after it. */
void tls_close(struct tls *t);

/* Wire bytes that wait to be sent, good until the next call that changes t; NULL and 0 when there
 * are none. tls_output_done() drops the first n of them. */
const uint8_t *tls_output(const struct tls *t, size_t *n);
void tls_output_done(struct tls *t, size_t n);

/* The peer's certificate: proven once open, only claimed before that, NULL before it came. */
const struct cert_facts *tls_peer(const struct tls *t);

/* The exporter value (RFC 8446 7.5) with the label "EXPORTER-sapair-1", no context, 32 bytes.
 * False before the engine is open. */
bool tls_export(const struct tls *t, struct secret *out);

/* Why TLS_CERT; CERT_OK otherwise. */
enum cert_fault tls_cert_fault(const struct tls *t);

/* mbedTLS's own code of the last failure, for the log; 0 = none. */
int tls_library_code(const struct tls *t);

/* "3.6.5": mbedTLS's own version. */
const char *tls_library_version(void);

#endif
