/*
 * crypto/hkdf.h - SHA-256, HMAC (RFC 2104) and HKDF (RFC 5869).
 *
 * False: no memory, or a size out of bounds; outputs are wiped then.
 * An output may be one of the inputs.
 */
#ifndef SAPAIR_CRYPTO_HKDF_H
#define SAPAIR_CRYPTO_HKDF_H

#include "crypto/secret.h"

#define SHA256_LEN 32
#define HKDF_PARTS_MAX 16

/* A part of the input: a hash is computed over several without copying them together. */
struct bytes {
	const void *p;
	size_t n;
};

bool sha256(const struct bytes *parts, size_t count, uint8_t out[SHA256_LEN]);

#define HMAC_KEY_MAX 64 /* one block; longer keys, which HMAC hashes first, are not supported */
#define SHA1_LEN 20
enum hmac_hash { HMAC_SHA256, HMAC_SHA1 };
/* out holds SHA256_LEN or SHA1_LEN bytes. Computed with hashes, not psa_mac_*(), which import the key
 * into one of few slots first and cost more than the hash itself. */
bool hmac_make(enum hmac_hash hash, const uint8_t *key, size_t key_len, const struct bytes *parts,
	       size_t count, uint8_t *out);
bool hmac_sha256(const struct secret *key, const struct bytes *parts, size_t count,
		 uint8_t out[SHA256_LEN]);

/* PRK = HMAC(salt, ikm); the salt may be up to SECRET_MAX bytes, 0 means 32 zeros (RFC 5869). */
bool hkdf_extract(const struct secret *salt, const struct secret *ikm, struct secret *prk);

/* OKM of len (1 to SECRET_MAX) bytes; info is the concatenation of at most
 * HKDF_PARTS_MAX parts. */
bool hkdf_expand(const struct secret *prk, const struct bytes *info, size_t count,
		 struct secret *okm, size_t len);

#endif
