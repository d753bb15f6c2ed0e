/*
 * crypto/mbed.h - the mbedTLS headers, and declarations shared by cert.c, identity.c and tls.c.
 *
 * For crypto/ only. Needs mbedTLS 3.6 in its default configuration. Symmetric primitives use PSA, so
 * that a port to 4.x concerns mainly these three files.
 */
#ifndef SAPAIR_CRYPTO_MBED_H
#define SAPAIR_CRYPTO_MBED_H

#include <mbedtls/build_info.h>

#if MBEDTLS_VERSION_NUMBER < 0x03060400
#error "mbedTLS 3.6.4 or newer is needed: the TLS exporter came with it"
#endif

#include <mbedtls/pk.h>
#include <mbedtls/ssl.h>
#include <mbedtls/x509_crt.h>
#include <psa/crypto.h>

#include "crypto/cert.h"
#include "crypto/judge.h"
#include "crypto/tls.h"

struct identity {
	mbedtls_x509_crt chain; /* ours, leaf first */
	mbedtls_pk_context key;
	mbedtls_x509_crt ca;
	bool has_ca;
	mbedtls_ssl_config conf[2]; /* by enum tls_role, shared by all links */
	const char *alpn[2];        /* the protocol, and NULL */
	struct cert_facts facts;
};

/* False: no public key, or no memory; *facts is zero then. */
bool cert_facts_of(struct cert_facts *facts, const mbedtls_x509_crt *crt);

int64_t cert_seconds_of(const mbedtls_x509_time *t);
/* Printable, truncated. */
void cert_dn_put(char *text, size_t size, const mbedtls_x509_name *dn);
/* Type and size of a key, such as "RSA, 2048 bits". */
#define CERT_KEY_TEXT 48
void cert_key_put(char text[CERT_KEY_TEXT], const mbedtls_pk_context *pk);

/* A verification while mbedTLS goes from the top of a chain to the leaf (judge.c). */
struct verify {
	enum tls_role role; /* of the host that shows the chain */
	bool has_ca;
	uint32_t above; /* verify flags of the certificates above the leaf */
	struct cert_reasons issuers;
	/* set with the leaf: */
	bool judged; /* facts are set */
	struct cert_facts facts;
	struct cert_reasons leaf;  /* not even a pin helps */
	struct cert_reasons chain; /* a pin helps */
};
/* NULL: no memory. free() it. */
struct verify *verify_new(enum tls_role role, bool has_ca);
/* For each certificate from the top to the leaf (depth 0), with mbedTLS's flags. */
void verify_on_cert(struct verify *v, const mbedtls_x509_crt *crt, int depth, uint32_t flags);
/* That of the first reason; CERT_OK: there is none. */
enum cert_fault verify_fault(const struct cert_reasons *r);

/* EC P-256, P-384 or P-521. */
bool cert_key_is_ec(const mbedtls_pk_context *pk);

/* Parses PEM into an initialised context; returns otherwise for a fault without a name of its own. */
enum identity_fault cert_parse(mbedtls_x509_crt *to, const char *pem,
			       enum identity_fault otherwise);
enum identity_fault cert_parse_key(mbedtls_pk_context *to, const char *pem);

/* basicConstraints and key usage make it a CA. */
bool cert_may_sign(const mbedtls_x509_crt *crt);

/* Requirements on every certificate: ours, a peer's, a CA's. */
extern const mbedtls_x509_crt_profile cert_profile;

#endif
