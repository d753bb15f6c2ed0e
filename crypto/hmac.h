/*
 * crypto/hmac.h - HMAC (RFC 2104), for hkdf.c and cipher.c.
 *
 * Made of PSA hashes and not of psa_mac: that would import every key into a slot first, which
 * costs more than the hash itself, and slots are few.
 */
#ifndef SAPAIR_CRYPTO_HMAC_H
#define SAPAIR_CRYPTO_HMAC_H

#include "crypto/hkdf.h"

#define HMAC_KEY_MAX 64 /* one block: longer keys would be hashed first, and none of ours is */
#define SHA1_LEN 20

enum hmac_hash { HMAC_SHA256, HMAC_SHA1 };

/* out holds SHA256_LEN or SHA1_LEN bytes. False: no memory or key_len > HMAC_KEY_MAX. */
bool hmac_make(enum hmac_hash hash, const uint8_t *key, size_t key_len, const struct bytes *parts,
	       size_t count, uint8_t *out);

#endif
