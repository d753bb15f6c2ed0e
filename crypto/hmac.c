/*
 * crypto/hmac.c - hash((key ^ opad) ++ hash((key ^ ipad) ++ parts)).
 */
#include <string.h>

#include "crypto/hmac.h"
#include "crypto/mbed.h"

#define BLOCK 64 /* of SHA-1 and of SHA-256 */

static const struct {
	psa_algorithm_t alg;
	size_t len;
} hashes[] = {
	[HMAC_SHA256] = {PSA_ALG_SHA_256, SHA256_LEN},
	[HMAC_SHA1] = {PSA_ALG_SHA_1, SHA1_LEN},
};

static bool hash_keyed(enum hmac_hash hash, const uint8_t block[BLOCK], const struct bytes *parts,
		       size_t count, uint8_t *out)
{
	psa_hash_operation_t op = PSA_HASH_OPERATION_INIT;
	size_t len;
	bool ok = psa_hash_setup(&op, hashes[hash].alg) == PSA_SUCCESS &&
		  psa_hash_update(&op, block, BLOCK) == PSA_SUCCESS;

	for (size_t i = 0; ok && i < count; i++)
		ok = psa_hash_update(&op, parts[i].p, parts[i].n) == PSA_SUCCESS;
	ok = ok && psa_hash_finish(&op, out, hashes[hash].len, &len) == PSA_SUCCESS;
	psa_hash_abort(&op);
	return ok;
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
		ok = hash_keyed(hash, block, parts, count, inner);
		for (size_t i = 0; i < BLOCK; i++)
			block[i] ^= 0x36 ^ 0x5c;
		ok = ok && hash_keyed(hash, block, &again, 1, out);
	}
	if (!ok)
		wipe(out, hashes[hash].len);
	wipe(block, sizeof block);
	wipe(inner, sizeof inner);
	return ok;
}
