/*
 * crypto/judge.h - judges a certificate by the rules of the peer that receives it.
 *
 * The same rules serve both ends: tls.c judges a peer's certificate by them, and identity_judge() our own,
 * before a peer does. Every reason says what was found and what is needed. No I/O; dates are compared
 * with the clock.
 */
#ifndef SAPAIR_CRYPTO_JUDGE_H
#define SAPAIR_CRYPTO_JUDGE_H

#include "crypto/tls.h"

#define CERT_REASONS_MAX 8
#define CERT_REASON_TEXT 240

struct cert_reason {
	enum cert_fault fault; /* cert_fault_word() is its word for JSON */
	bool pin_helps;        /* a peer that has pinned this key accepts it nevertheless */
	/* Printable, such as "extended key usage is serverAuth; a host that connects needs
	 * clientAuth". */
	char text[CERT_REASON_TEXT];
};

/* Why a certificate is refused; none: it is accepted. */
struct cert_reasons {
	size_t n;
	struct cert_reason v[CERT_REASONS_MAX];
};

/* What a peer's config looks for in the certificate of a host whose key it has not pinned: the
 * identity, if it is set; else the name or the address, one of which is enough. */
struct cert_wanted {
	const char *identity, *name; /* NULL or empty: none */
	const uint8_t *addr;         /* in network order */
	size_t addr_len;             /* 4, 16, or 0: none */
};

/*
 * All reasons why a peer would refuse our certificate while we play the role (TLS_CLIENT: we connect;
 * TLS_SERVER: the peer connects). Its chain is judged with our own CAs; without any, as untrusted.
 * wanted is NULL where the peer's config is not known: then any name or address is enough. False: no
 * memory.
 */
bool identity_judge(const struct identity *id, enum tls_role role, const struct cert_wanted *wanted,
		    struct cert_reasons *r);

/* The same for the first certificate of a PEM text. ca may be NULL: the chain is not judged. */
enum identity_fault cert_judge(const char *pem, const char *ca, enum tls_role role,
			       const struct cert_wanted *wanted, struct cert_reasons *r);

/* r may be NULL; what does not fit is left out. */
void cert_reason_add(struct cert_reasons *r, enum cert_fault fault, bool pin_helps, const char *fmt,
		     ...) __attribute__((format(printf, 4, 5)));
/* Appends the reasons of *from that fit. */
void cert_reasons_add(struct cert_reasons *r, const struct cert_reasons *from);
/* All texts, with "; " between them, truncated. */
void cert_reasons_put(char *text, size_t size, const struct cert_reasons *r);

/* The names alone: false and CERT_WRONG_PEER added to *r (may be NULL). */
bool cert_names_match(const struct cert_facts *f, const struct cert_wanted *wanted,
		      struct cert_reasons *r);

/* The names and addresses of a certificate, for messages: "name b, addresses 192.0.2.1, ...". */
void cert_names_put(char *text, size_t size, const struct cert_facts *f);
/* Adds CERT_LAB. */
void cert_lab_refused(struct cert_reasons *r);

#endif
