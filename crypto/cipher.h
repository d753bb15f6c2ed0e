/*
 * crypto/cipher.h - AES-GCM, AES-CBC and truncated HMACs for ESP, through PSA.
 *
 * Keys are the caller's bytes; nothing is kept between calls, since PSA has few key slots.
 * False: wrong sizes, no memory, or a wrong tag; which of them is not told.
 */
#ifndef SAPAIR_CRYPTO_CIPHER_H
#define SAPAIR_CRYPTO_CIPHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GCM_TAG_LEN 16
#define GCM_NONCE_LEN 12
#define CBC_IV_LEN 16

enum mac_kind { MAC_SHA256_128, MAC_SHA1_96 }; /* RFC 4868 (16 bytes), RFC 2404 (12 bytes) */

/* Encrypts data[0..n) in place and writes the 16-byte tag behind it at data[n]. */
bool gcm_seal(const uint8_t *key, size_t key_len, const uint8_t nonce[GCM_NONCE_LEN],
	      const uint8_t *aad, size_t aad_len, uint8_t *data, size_t n);

/* Decrypts data[0..n) in place after checking the tag at data[n]. On false data is wiped. */
bool gcm_open(const uint8_t *key, size_t key_len, const uint8_t nonce[GCM_NONCE_LEN],
	      const uint8_t *aad, size_t aad_len, uint8_t *data, size_t n);

/* Whole blocks, no padding, in place; n is a multiple of 16. */
bool cbc_encrypt(const uint8_t *key, size_t key_len, const uint8_t iv[CBC_IV_LEN], uint8_t *data,
		 size_t n);
bool cbc_decrypt(const uint8_t *key, size_t key_len, const uint8_t iv[CBC_IV_LEN], uint8_t *data,
		 size_t n);

/* Bytes of the truncated MAC: 16 or 12. */
size_t mac_len(enum mac_kind kind);

/* MAC over a ++ b (b may be empty), truncated; out holds mac_len(kind) bytes. */
bool mac_make(enum mac_kind kind, const uint8_t *key, size_t key_len, const uint8_t *a, size_t an,
	      const uint8_t *b, size_t bn, uint8_t *out);
/* Compares the MAC with tag in constant time. */
bool mac_check(enum mac_kind kind, const uint8_t *key, size_t key_len, const uint8_t *a, size_t an,
	       const uint8_t *b, size_t bn, const uint8_t *tag);

#endif
