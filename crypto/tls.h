/*
 * crypto/tls.h - one end of a TLS 1.3 channel (RFC 8446), in memory.
 *
 * No socket, no clock, no event loop. TLS 1.3 only, ALPN "sapair/1", certificates on both sides,
 * ephemeral key exchange, no tickets, no 0-RTT, no SNI.
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
	TLS_REFUSED,  /* the peer probably refused our certificate: its alert says so, or was
		       * encrypted with keys that mbedTLS does not have yet (its issue 10877) */
	TLS_ALERT,    /* another fatal alert of the peer */
	TLS_CLOSED,   /* close_notify */
	TLS_NO_SUITE  /* no common group, cipher or signature; some TLS 1.2 servers cause it */
};
const char *tls_fault_text(enum tls_fault f);

struct cert_reasons; /* crypto/judge.h */
/*
 * Accepts (CERT_OK) or refuses the peer's leaf certificate during the handshake, before the peer
 * has proven that it holds the key. chain is CERT_OK when the leaf is valid and chains to a trusted
 * CA, else the first of: dates, purpose or weakness of the leaf; untrusted (always without a CA);
 * dates or weakness of an issuer. A pin may replace the chain. A fault of the leaf itself refuses
 * it whatever the callback returns. The callback adds its own reasons to *why. Called at most once.
 */
typedef enum cert_fault tls_judge(void *arg, const struct cert_facts *leaf, enum cert_fault chain,
				  struct cert_reasons *why);

struct tls; /* about 40 KiB; 2 KiB for a server that has received nothing */

/* id must outlive the engine. NULL: no memory. tls_output() has the client's first flight. */
struct tls *tls_new(const struct identity *id, enum tls_role role, tls_judge *judge, void *arg);
void tls_free(struct tls *t); /* NULL is allowed */

/* Receives plain text in pieces of any size; the bytes are wiped after the call. False stops:
 * tls_feed() returns TLS_PROTOCOL and the engine is dead. */
typedef bool tls_sink(void *arg, const uint8_t *plain, size_t n);

/*
 * Consumes all n wire bytes: first the handshake, then records, whose plain text goes to sink.
 * After any other result than TLS_OK the engine is dead: send the remaining tls_output() (an
 * alert), then close. The sink may call tls_send(), but neither tls_feed() nor tls_free().
 */
enum tls_fault tls_feed(struct tls *t, const uint8_t *wire, size_t n, tls_sink *sink, void *arg);

/* The transport ended. Returns the fault so far (TLS_CLOSED after close_notify), else TLS_REFUSED
 * while the peer may be verifying our certificate (a server between its flight and the client's, a
 * client until the first plain text), else TLS_PROTOCOL. */
enum tls_fault tls_feed_end(struct tls *t);

/* True once our side of the handshake is done. A client is not yet accepted then: in TLS 1.3 it
 * finishes before the server has verified its certificate. */
bool tls_is_open(const struct tls *t);

/* Encrypts n bytes into the output. False: not open, closing, dead, or no memory. */
bool tls_send(struct tls *t, const uint8_t *plain, size_t n);

/* Appends close_notify, once, when open. Nothing can be sent after it. */
void tls_close(struct tls *t);

/* Wire bytes to send, valid until the next call that changes t; NULL and 0: none.
 * tls_output_done() removes the first n of them. */
const uint8_t *tls_output(const struct tls *t, size_t *n);
void tls_output_done(struct tls *t, size_t n);

/* The peer's certificate, or NULL; proven only once the engine is open. */
const struct cert_facts *tls_peer(const struct tls *t);

/* The exporter value (RFC 8446 7.5) with the label "EXPORTER-sapair-1", no context, 32 bytes.
 * False before the engine is open. */
bool tls_export(const struct tls *t, struct secret *out);

/* What the chain of the peer's certificate is worth now, by the CAs of another identity: as in tls_judge,
 * which is not called. */
enum cert_fault tls_chain_again(struct tls *t, const struct identity *id);

/* The reason for TLS_CERT; CERT_OK otherwise. */
enum cert_fault tls_cert_fault(const struct tls *t);

/* What was found in the peer's certificate and what is needed; NULL: it was not refused, or could
 * not be read. Valid as long as t is. */
const struct cert_reasons *tls_cert_reasons(const struct tls *t);
/* The name of the alert (RFC 8446 6.2) with which the peer refused our certificate, or NULL. */
const char *tls_alert(const struct tls *t);

/* mbedTLS's version, such as "3.6.5". */
const char *tls_library_version(void);

#endif
