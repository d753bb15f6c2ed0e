/*
 * proto/config/bundle.h - the identity, CA and config of one lab host in one document.
 *
 *     {"schema":"sapair.bundle/1","lab":"demo","host":"a","source":"<sha-256 of the lab file>",
 *      "config":{...},"certificate":"-----BEGIN...","key":"-----BEGIN...","ca":"-----BEGIN..."}
 *
 * No files, no clock. A bundle contains a private key: wipe the text.
 */
#ifndef SAPAIR_PROTO_CONFIG_BUNDLE_H
#define SAPAIR_PROTO_CONFIG_BUNDLE_H

#include "crypto/hkdf.h"
#include "proto/config/lab.h"

#define BUNDLE_SUFFIX ".bundle"

struct bundle {
	char lab[LAB_NAME_MAX + 1];
	char host[LAB_NAME_MAX + 1];
	uint8_t source[SHA256_LEN];
	char cert[CERT_PEM_MAX], key[CERT_PEM_MAX], ca[CERT_PEM_MAX];
	struct config cfg;
};

/* On -1 (ERR_USAGE) *b is wiped. */
int bundle_parse(struct bundle *b, const char *text, size_t len, struct err *e);
/* Frees the config, wipes the rest. */
void bundle_wipe(struct bundle *b);

/* The most bytes that bundle_write() writes. */
size_t bundle_room(const struct lab *lab, size_t host);
/* The document for one host of a lab. Returns its length; 0: it did not fit. */
size_t bundle_write(char *buf, size_t size, const struct lab *lab, size_t host,
		    const uint8_t source[SHA256_LEN], const struct pem_pair *own, const char *ca);

#endif
