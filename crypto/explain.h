/*
 * crypto/explain.h - why a PEM text cannot be used: the true cause, and its place.
 */
#ifndef SAPAIR_CRYPTO_EXPLAIN_H
#define SAPAIR_CRYPTO_EXPLAIN_H

#include <stdbool.h>
#include <stddef.h>

#define PEM_CAUSE 240

enum pem_use {
	PEM_CERT, /* our certificate and its chain */
	PEM_KEY,  /* its private key */
	PEM_CA    /* trusted CAs */
};

/*
 * Describes the first fault of the text, such as "line 12: the certificate at byte 64 has a key on the
 * curve secp256k1, ...". False: there is none. text is NUL-terminated; the cause is printable and has no
 * part of a key.
 */
bool pem_explain(char cause[PEM_CAUSE], const char *text, enum pem_use use);

#endif
