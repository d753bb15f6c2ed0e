/*
 * crypto/mbed.h - the mbedTLS headers, and what cert.c, identity.c and tls.c share of them.
 *
 * For crypto/ only. Everything comes from mbedTLS 3.6 as it is built by default; the symmetric
 * primitives go through PSA, so that 4.x will find little to change outside these three files.
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
#include "crypto/tls.h"

struct identity {
	mbedtls_x509_crt chain; /* our own, leaf first */
	mbedtls_pk_context key;
	mbedtls_x509_crt ca;
	bool has_ca;
	mbedtls_ssl_config conf[2]; /* by enum tls_role, shared by all links */
	const char *alpn[2];        /* what is spoken, and NULL */
	struct cert_facts facts;
};

/* False when there is no key to take a pin from, or no memory; facts is all zero then. */
bool cert_facts_of(struct cert_facts *facts, const mbedtls_x509_crt *crt);

/* EC P-256, P-384 or P-521. */
bool cert_key_is_ec(const mbedtls_pk_context *pk);

/* PEM in, initialised context filled; what is none of the usual faults is "otherwise". */
enum identity_fault cert_parse(mbedtls_x509_crt *to, const char *pem,
			       enum identity_fault otherwise);
enum identity_fault cert_parse_key(mbedtls_pk_context *to, const char *pem);

/* basicConstraints and key usage make it a CA. */
bool cert_may_sign(const mbedtls_x509_crt *crt);

/* What a certificate has to have, ours, a peer's, or a CA's. */
extern const mbedtls_x509_crt_profile cert_profile;

#endif
