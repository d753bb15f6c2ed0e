/*
 * crypto/cert.h - who somebody is: certificates, keys, names and fingerprints.
 *
 * An identity is an EC P-256 key pair with an X.509v3 certificate (RFC 5280) that names the
 * agent by a URI subjectAltName "sapair:NAME" and by iPAddress subjectAltNames. Peers are
 * recognised by the SHA-256 of their SubjectPublicKeyInfo ("pin", the fingerprint of the key,
 * RFC 7469's construction), or by a certificate that a trusted CA signed.
 *
 * No files and no clock of its own in here: PEM texts go in and out as memory (the caller reads,
 * writes and wipes), and dates are compared with the wall clock by mbedTLS alone.
 */
#ifndef SAPAIR_CRYPTO_CERT_H
#define SAPAIR_CRYPTO_CERT_H

#include "crypto/secret.h"

#define PIN_LEN 32         /* SHA-256 of the DER SubjectPublicKeyInfo */
#define PIN_TEXT (7 + 64)  /* "sha256:" and 64 hex digits, without the NUL */
#define CERT_NAME_MAX 64   /* bytes of a sapair name, without the NUL */
#define CERT_ADDRS_MAX 16  /* iPAddress names that are looked at */
#define CERT_PEM_MAX 16384 /* of one certificate, a chain, a CA bundle or a key */

/* What one certificate says; filled from the peer's leaf or from one's own. Plain data. */
struct cert_facts {
	uint8_t pin[PIN_LEN];
	char name[CERT_NAME_MAX + 1]; /* of the one URI "sapair:NAME"; empty: none, or several */
	struct {
		uint8_t bytes[16];
		uint8_t len; /* 4 or 16 */
	} addr[CERT_ADDRS_MAX];
	size_t addrs;
	int64_t not_before; /* seconds since 1970, UTC */
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
	CERT_UNTRUSTED, /* chains to none of our CAs, and no pin of ours */
	CERT_EXPIRED,
	CERT_NOT_YET_VALID,
	CERT_WRONG_PIN,     /* a pin is set for this peer, and it is another key */
	CERT_WRONG_PEER,    /* good, but not of the peer that is configured here */
	CERT_WRONG_PURPOSE, /* extended key usage or key usage forbids it */
	CERT_UNREADABLE,
	CERT_WEAK,  /* key or signature below our floor */
	CERT_DENIED /* on our deny list */
};

/* A short word for JSON ("expired") and a phrase for people ("the certificate has expired"). */
const char *cert_fault_word(enum cert_fault f);
const char *cert_fault_text(enum cert_fault f);

/* One's own certificate chain and key, and the CAs that are trusted. Opaque, shared by links. */
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
 * Parses PEM texts (NUL-terminated; lengths without the NUL). ca may be NULL: pins only. The
 * result is given back by identity_free(); it copies what it needs, and the caller wipes key.
 */
enum identity_fault identity_load(struct identity **out, const char *cert, const char *key,
				  const char *ca);
void identity_free(struct identity *id);
/* Another protocol than "sapair/1" on its TLS channels (ALPN): static text. Before the first one. */
void identity_speak(struct identity *id, const char *alpn);
const struct cert_facts *identity_facts(const struct identity *id);

/* The facts of the first certificate of a PEM text. */
enum identity_fault cert_read(const char *pem, struct cert_facts *facts);

/* What to write into a new certificate. A wish that cannot be kept (name, dates, addresses, or a
 * CA below a CA) is IDENTITY_BAD_CERT. */
struct cert_wish {
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

/* A new P-256 key with a certificate signed by itself. False: no memory or an impossible wish. */
bool cert_self(struct pem_pair *out, const struct cert_wish *wish);

/* A new P-256 key with a certificate signed by the CA given in PEM. A CA whose name has an attribute
 * twice (DC=example, DC=org) can be trusted, but not be used to sign here: IDENTITY_BAD_CA. */
enum identity_fault cert_issue(struct pem_pair *out, const struct cert_wish *wish,
			       const char *ca_cert, const char *ca_key);

/*
 * A certificate, signed by the CA, for the public key of an existing certificate: the owner of
 * the private key never hands it out. out holds CERT_PEM_MAX bytes.
 */
enum identity_fault cert_sign(char *out, const struct cert_wish *wish, const char *subject_cert,
			      const char *ca_cert, const char *ca_key);

/* "sha256:" and hex; text holds PIN_TEXT + 1 bytes. Reading is strict, "SHA256:" is also taken. */
void pin_put(char *text, const uint8_t pin[PIN_LEN]);
bool pin_get(uint8_t pin[PIN_LEN], const char *text);

#endif
