/*
 * proto/base/suite.h - the ESP transforms, by their names in IKE tools.
 */
#ifndef SAPAIR_PROTO_BASE_SUITE_H
#define SAPAIR_PROTO_BASE_SUITE_H

#include "proto/base/err.h"

#include <stdbool.h>
#include <stddef.h>

/* Bits of masks and indexes of the table, never on the wire. */
enum suite {
	SUITE_AES256GCM16,
	SUITE_AES128GCM16,
	SUITE_AES192GCM16,
	SUITE_AES256_SHA256,
	SUITE_AES128_SHA256,
	SUITE_AES128_SHA1,
	SUITE_AES256GMAC,
	SUITE_AES128GMAC,
	SUITE_AES192GMAC,
	SUITE_COUNT
};

enum suite_kind { SUITE_GCM, SUITE_CBC, SUITE_GMAC };

struct suite_info {
	const char *name; /* in messages, config and output */
	enum suite_kind kind;
	uint8_t enc_key_len; /* bytes; the AES key (GMAC: the authentication key) */
	uint8_t salt_len;    /* bytes after the key: 4 (RFC 4106, RFC 4543), else 0 */
	uint8_t mac_key_len; /* bytes; CBC only: 32 (RFC 4868) or 20 (RFC 2404) */
	uint8_t iv_len;      /* bytes in each packet: 8 or 16 */
	uint8_t icv_len;     /* bytes: 16, or 12 for SHA-1 */
	const char *rfc;
};

const struct suite_info *suite_info(enum suite s);
/* Key material of one SA: enc key, then salt, then MAC key. */
size_t suite_key_len(enum suite s);
/* SUITE_COUNT when unknown. */
enum suite suite_of_name(const char *name);

/* An ordered preference list without repetition. */
struct suite_list {
	uint8_t n;
	uint8_t v[SUITE_COUNT]; /* enum suite */
};
bool suite_list_has(const struct suite_list *l, enum suite s);
/* False: s is in the list already. */
bool suite_list_add(struct suite_list *l, enum suite s);
/* The first of offered that is in allowed; SUITE_COUNT: none. */
enum suite suite_choose(const struct suite_list *offered, const struct suite_list *allowed);

#endif
