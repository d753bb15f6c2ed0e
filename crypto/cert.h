/*
 * crypto/cert.h - certificates, keys, and the names and fingerprints in them.
 *
 * An identity is an EC P-256 key pair with an X.509v3 certificate (RFC 5280) that names the
 * agent by a URI subjectAltName "sapair:NAME" and by iPAddress subjectAltNames. A peer is
 * authenticated by the SHA-256 of its SubjectPublicKeyInfo (the "pin", as in RFC 7469), or by a
 * certificate that a trusted CA signed.
 *
 * No file I/O: PEM texts are passed in memory; the caller reads, writes and wipes them. Only
 * mbedTLS compares dates with the clock.
 */
#ifndef SAPAIR_CRYPTO_CERT_H
#define SAPAIR_CRYPTO_CERT_H

#include "crypto/secret.h"

#define PIN_LEN 32         /* SHA-256 of the DER SubjectPublicKeyInfo */
#define PIN_TEXT (7 + 64)  /* "sha256:" and 64 hex digits, without the NUL */
#define CERT_NAME_MAX 64   /* bytes of a sapair name, without the NUL */
#define CERT_ADDRS_MAX 64  /* iPAddress names in cert_facts; more are counted only */
#define CERT_PEM_MAX 16384 /* of one certificate, a chain, a CA bundle or a key */

/* The contents of a certificate. */
struct cert_facts {
	uint8_t pin[PIN_LEN];
	char name[CERT_NAME_MAX + 1]; /* of the URI "sapair:NAME"; empty: none, or several */
	struct {
		uint8_t bytes[16];
		uint8_t len; /* 4 or 16 */
	} addr[CERT_ADDRS_MAX];
	size_t addrs, addrs_more; /* in addr, and beyond */
	char unused[128];         /* other subjectAltNames: "DNS a.example, DNS b.example, ..." */
	int64_t not_before;       /* seconds since 1970, UTC */
	int64_t not_after;
	bool is_ca;
	bool is_lab;       /* the subject's organisational unit is "sapair lab" */
	bool self_signed;  /* issuer and subject are the same */
	char subject[128]; /* printable, escaped */
	char issuer[128];
};

enum cert_fault {
	CERT_OK,
	CERT_MISSING,   /* the peer sent none */
	CERT_UNTRUSTED, /* signed by none of our CAs, and no pin matches */
	CERT_EXPIRED,
	CERT_NOT_YET_VALID,
	CERT_WRONG_PIN,     /* not the key that is pinned for this peer */
	CERT_WRONG_PEER,    /* valid, but not of the configured peer */
	CERT_WRONG_PURPOSE, /* extended key usage or key usage forbids it */
	CERT_UNREADABLE,
	CERT_WEAK,   /* key or signature below the minimum */
	CERT_DENIED, /* on our deny list */
	CERT_LAB     /* a lab identity, which needs allow_lab */
};

/* A word for JSON ("expired"); a phrase for people ("the certificate has expired"). */
const char *cert_fault_word(enum cert_fault f);
const char *cert_fault_text(enum cert_fault f);

/* Our certificate chain and key, and the trusted CAs. Opaque, shared by links. */
struct identity;

enum identity_fault {
	IDENTITY_OK,
	IDENTITY_NO_MEMORY,
	IDENTITY_BAD_CERT,  /* not a PEM certificate */
	IDENTITY_BAD_KEY,   /* not a PEM private key, or an encrypted one */
	IDENTITY_WRONG_KEY, /* the key does not belong to the certificate */
	IDENTITY_BAD_CA,    /* not PEM certificates, or one that may not sign */
	IDENTITY_WEAK       /* not EC P-256, P-384 or P-521 */
};

/*
 * Parses NUL-terminated PEM texts. ca may be NULL: pins only. The caller wipes key, and frees the
 * result with identity_free().
 */
enum identity_fault identity_load(struct identity **out, const char *cert, const char *key,
				  const char *ca);
void identity_free(struct identity *id);
/* Sets the ALPN protocol, "sapair/1" by default, to a static text. Call it before tls_new(). */
void identity_set_alpn(struct identity *id, const char *alpn);
const struct cert_facts *identity_facts(const struct identity *id);
/* Do both trust the same CAs? */
bool identity_same_ca(const struct identity *a, const struct identity *b);

/* The facts of the first certificate of a PEM text. */
enum identity_fault cert_read(const char *pem, struct cert_facts *facts);

/* The contents of a new certificate. Impossible ones (name, dates, addresses, or a CA below a CA)
 * are IDENTITY_BAD_CERT. */
struct cert_params {
	const char *name; /* URI "sapair:NAME", and the common name: 1 to 64 of [A-Za-z0-9._-] */
	const uint8_t (*addr)[17]; /* each: length byte (4 or 16), then the bytes */
	size_t addrs;
	int64_t not_before; /* seconds since 1970 */
	int64_t not_after;
	bool is_ca;
	bool is_lab;
};

/* PEM of a new key pair and of its certificate; buffers hold CERT_PEM_MAX bytes. */
struct pem_pair {
	char cert[CERT_PEM_MAX];
	char key[CERT_PEM_MAX];
};

/* A new P-256 key with a self-signed certificate. False: no memory or impossible parameters. */
bool cert_self(struct pem_pair *out, const struct cert_params *params);

/* A new P-256 key with a certificate signed by the CA given in PEM. A CA whose name contains an
 * attribute twice (DC=example, DC=org) can be trusted, but cannot sign here: IDENTITY_BAD_CA. */
enum identity_fault cert_issue(struct pem_pair *out, const struct cert_params *params,
			       const char *ca_cert, const char *ca_key);

/*
 * A certificate, signed by the CA, for the public key of an existing certificate: the private key
 * stays with its owner. out holds CERT_PEM_MAX bytes.
 */
enum identity_fault cert_sign(char *out, const struct cert_params *params, const char *subject_cert,
			      const char *ca_cert, const char *ca_key);

/* "sha256:" and hex; text holds PIN_TEXT + 1 bytes. Only "SHA256:" is accepted besides. */
void pin_put(char *text, const uint8_t pin[PIN_LEN]);
bool pin_get(uint8_t pin[PIN_LEN], const char *text);

#endif
