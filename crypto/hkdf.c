/*
 * crypto/hkdf.c - SHA-256, HMAC and HKDF.
 */
#include <string.h>

#include "crypto/hkdf.h"
#include "crypto/mbed.h"

#define BLOCK 64 /* of SHA-1 and of SHA-256 */

static const struct {
	psa_algorithm_t alg;
	size_t len;
} hashes[] = {
	[HMAC_SHA256] = {PSA_ALG_SHA_256, SHA256_LEN},
	[HMAC_SHA1] = {PSA_ALG_SHA_1, SHA1_LEN},
};

/* Of n bytes at first and all parts. */
static bool hash_parts(enum hmac_hash hash, const uint8_t *first, size_t n,
		       const struct bytes *parts, size_t count, uint8_t *out)
{
	psa_hash_operation_t op = PSA_HASH_OPERATION_INIT;
	size_t len;
	bool ok = psa_hash_setup(&op, hashes[hash].alg) == PSA_SUCCESS &&
		  psa_hash_update(&op, first, n) == PSA_SUCCESS;

	for (size_t i = 0; ok && i < count; i++)
		ok = psa_hash_update(&op, parts[i].p, parts[i].n) == PSA_SUCCESS;
	ok = ok && psa_hash_finish(&op, out, hashes[hash].len, &len) == PSA_SUCCESS;
	psa_hash_abort(&op);
	if (!ok)
		wipe(out, hashes[hash].len);
	return ok;
}

bool sha256(const struct bytes *parts, size_t count, uint8_t out[SHA256_LEN])
{
	return hash_parts(HMAC_SHA256, NULL, 0, parts, count, out);
}

bool hmac_make(enum hmac_hash hash, const uint8_t *key, size_t key_len, const struct bytes *parts,
	       size_t count, uint8_t *out)
{
	uint8_t block[BLOCK] = {0}, inner[SHA256_LEN];
	const struct bytes again = {inner, hashes[hash].len};
	bool ok = false;

	if (key_len <= HMAC_KEY_MAX) {
		if (key_len > 0)
			memcpy(block, key, key_len);
		for (size_t i = 0; i < BLOCK; i++)
			block[i] ^= 0x36;
		ok = hash_parts(hash, block, BLOCK, parts, count, inner);
		for (size_t i = 0; i < BLOCK; i++)
			block[i] ^= 0x36 ^ 0x5c;
		ok = ok && hash_parts(hash, block, BLOCK, &again, 1, out);
	}
	if (!ok)
		wipe(out, hashes[hash].len);
	wipe(block, sizeof block);
	wipe(inner, sizeof inner);
	return ok;
}

bool hmac_sha256(const struct secret *key, const struct bytes *parts, size_t count,
		 uint8_t out[SHA256_LEN])
{
	size_t key_len;
	const uint8_t *k = secret_bytes(key, &key_len);

	return hmac_make(HMAC_SHA256, k, key_len, parts, count, out);
}

/* HMAC pads its key with zeros, so an empty salt is RFC 5869's default salt. */
bool hkdf_extract(const struct secret *salt, const struct secret *ikm, struct secret *prk)
{
	SECRET(result); /* prk may be one of the inputs */
	struct bytes part;
	bool ok;

	part.p = secret_bytes(ikm, &part.n);
	ok = hmac_sha256(salt, &part, 1, secret_room(&result, SHA256_LEN));
	secret_wipe(prk);
	if (ok)
		*prk = result;
	return ok;
}

bool hkdf_expand(const struct secret *prk, const struct bytes *info, size_t count,
		 struct secret *okm, size_t len)
{
	struct bytes parts[1 + HKDF_PARTS_MAX + 1];
	uint8_t t[2][SHA256_LEN];
	SECRET(result); /* okm may be prk */
	uint8_t *out = secret_room(&result, len);
	bool ok = len > 0 && out != NULL && count <= HKDF_PARTS_MAX;

	/* T(i) = HMAC(PRK, T(i-1) ++ info ++ i), at most two */
	for (uint8_t i = 0; ok && i < 2 && (size_t)i * SHA256_LEN < len; i++) {
		const uint8_t number = (uint8_t)(i + 1);
		size_t at = (size_t)i * SHA256_LEN;

		parts[0] = (struct bytes){t[0], at};
		for (size_t k = 0; k < count; k++)
			parts[1 + k] = info[k];
		parts[1 + count] = (struct bytes){&number, 1};
		ok = hmac_sha256(prk, parts, count + 2, t[i]);
		if (ok)
			memcpy(out + at, t[i], len - at < SHA256_LEN ? len - at : SHA256_LEN);
	}
	wipe(t, sizeof t);
	secret_wipe(okm);
	if (ok)
		*okm = result;
	return ok;
}
