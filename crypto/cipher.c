/*
 * crypto/cipher.c - AES-GCM, AES-CBC and truncated HMACs for ESP.
 */
#include <string.h>

#include "crypto/cipher.h"
#include "crypto/hkdf.h"
#include "crypto/mbed.h"

static bool import_aes(psa_key_id_t *id, const uint8_t *key, size_t key_len, psa_algorithm_t alg,
		       psa_key_usage_t usage)
{
	psa_key_attributes_t a = PSA_KEY_ATTRIBUTES_INIT;

	if (key_len != 16 && key_len != 24 && key_len != 32)
		return false;
	psa_set_key_type(&a, PSA_KEY_TYPE_AES);
	psa_set_key_algorithm(&a, alg);
	psa_set_key_usage_flags(&a, usage);
	return psa_import_key(&a, key, key_len, id) == PSA_SUCCESS;
}

bool gcm_seal(const uint8_t *key, size_t key_len, const uint8_t nonce[GCM_NONCE_LEN],
	      const uint8_t *aad, size_t aad_len, uint8_t *data, size_t n)
{
	psa_key_id_t id;
	size_t len;
	bool ok;

	if (!import_aes(&id, key, key_len, PSA_ALG_GCM, PSA_KEY_USAGE_ENCRYPT))
		return false;
	ok = psa_aead_encrypt(id, PSA_ALG_GCM, nonce, GCM_NONCE_LEN, aad, aad_len, data, n, data,
			      n + GCM_TAG_LEN, &len) == PSA_SUCCESS;
	psa_destroy_key(id);
	return ok && len == n + GCM_TAG_LEN;
}

bool gcm_open(const uint8_t *key, size_t key_len, const uint8_t nonce[GCM_NONCE_LEN],
	      const uint8_t *aad, size_t aad_len, uint8_t *data, size_t n)
{
	psa_key_id_t id;
	size_t len = 0;
	bool ok = import_aes(&id, key, key_len, PSA_ALG_GCM, PSA_KEY_USAGE_DECRYPT);

	if (ok) {
		ok = psa_aead_decrypt(id, PSA_ALG_GCM, nonce, GCM_NONCE_LEN, aad, aad_len, data,
				      n + GCM_TAG_LEN, data, n, &len) == PSA_SUCCESS &&
		     len == n;
		psa_destroy_key(id);
	}
	if (!ok)
		wipe(data, n);
	return ok;
}

typedef psa_status_t cbc_setup(psa_cipher_operation_t *op, psa_key_id_t key, psa_algorithm_t alg);

/* Whole blocks: PSA's CBC without padding returns no bytes from psa_cipher_finish(). */
static bool run_cbc(cbc_setup *setup, psa_key_usage_t usage, const uint8_t *key, size_t key_len,
		    const uint8_t iv[CBC_IV_LEN], uint8_t *data, size_t n)
{
	psa_cipher_operation_t op = PSA_CIPHER_OPERATION_INIT;
	size_t done = 0, rest = 0;
	psa_key_id_t id;
	bool ok;

	if (n % 16 != 0 || !import_aes(&id, key, key_len, PSA_ALG_CBC_NO_PADDING, usage))
		return false;
	ok = setup(&op, id, PSA_ALG_CBC_NO_PADDING) == PSA_SUCCESS &&
	     psa_cipher_set_iv(&op, iv, CBC_IV_LEN) == PSA_SUCCESS &&
	     psa_cipher_update(&op, data, n, data, n, &done) == PSA_SUCCESS &&
	     psa_cipher_finish(&op, data + done, n - done, &rest) == PSA_SUCCESS &&
	     done + rest == n;
	psa_cipher_abort(&op);
	psa_destroy_key(id);
	return ok;
}

bool cbc_encrypt(const uint8_t *key, size_t key_len, const uint8_t iv[CBC_IV_LEN], uint8_t *data,
		 size_t n)
{
	return run_cbc(psa_cipher_encrypt_setup, PSA_KEY_USAGE_ENCRYPT, key, key_len, iv, data, n);
}

bool cbc_decrypt(const uint8_t *key, size_t key_len, const uint8_t iv[CBC_IV_LEN], uint8_t *data,
		 size_t n)
{
	return run_cbc(psa_cipher_decrypt_setup, PSA_KEY_USAGE_DECRYPT, key, key_len, iv, data, n);
}

size_t mac_len(enum mac_kind kind)
{
	return kind == MAC_SHA1_96 ? 12 : 16;
}

bool mac_make(enum mac_kind kind, const uint8_t *key, size_t key_len, const uint8_t *a, size_t an,
	      const uint8_t *b, size_t bn, uint8_t *out)
{
	const struct bytes parts[] = {{a, an}, {b, bn}};
	enum hmac_hash hash = kind == MAC_SHA1_96 ? HMAC_SHA1 : HMAC_SHA256;
	uint8_t whole[SHA256_LEN];
	bool ok = key_len > 0 && hmac_make(hash, key, key_len, parts, 2, whole);

	if (ok)
		memcpy(out, whole, mac_len(kind));
	wipe(whole, sizeof whole);
	return ok;
}

bool mac_check(enum mac_kind kind, const uint8_t *key, size_t key_len, const uint8_t *a, size_t an,
	       const uint8_t *b, size_t bn, const uint8_t *tag)
{
	uint8_t right[SHA256_LEN];
	bool ok = mac_make(kind, key, key_len, a, an, b, bn, right) &&
		  bytes_equal(right, tag, mac_len(kind));

	wipe(right, sizeof right); /* the valid tag of a forged packet is a secret */
	return ok;
}
