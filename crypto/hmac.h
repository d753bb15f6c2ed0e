/*
 * crypto/hmac.h - HMAC (RFC 2104), for hkdf.c and cipher.c.
 *
 * Computed with PSA hashes, not psa_mac_*(), which import the key into one of few slots first and
 * cost more than the hash itself.
 */
#ifndef SAPAIR_CRYPTO_HMAC_H
#define SAPAIR_CRYPTO_HMAC_H

#include "crypto/hkdf.h"

#define HMAC_KEY_MAX 64 /* one block; longer keys, which HMAC hashes first, are not supported */
#define SHA1_LEN 20

enum hmac_hash { HMAC_SHA256, HMAC_SHA1 };

/* out holds SHA256_LEN or SHA1_LEN bytes. False: no memory or key_len > HMAC_KEY_MAX. */
bool hmac_make(enum hmac_hash hash, const uint8_t *key, size_t key_len, const struct bytes *parts,
	       size_t count, uint8_t *out);

#endif
