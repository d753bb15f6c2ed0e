/*
 * crypto/hex.h - lower-case hexadecimal, in constant time.
 */
#ifndef SAPAIR_CRYPTO_HEX_H
#define SAPAIR_CRYPTO_HEX_H

#include "crypto/secret.h"

/* Writes 2 * n digits and a NUL: dst holds at least 2 * n + 1 bytes. */
void hex_put(char *dst, const uint8_t *src, size_t n);

/* Reads exactly 2 * n lower-case digits; false for any other text, and dst is wiped. */
bool hex_get(uint8_t *dst, size_t n, const char *src, size_t src_len);

/* The same for secrets; dst holds 2 * secret_len(s) + 1 bytes, and the caller wipes it. */
void hex_put_secret(char *dst, const struct secret *s);
bool hex_get_secret(struct secret *s, const char *src, size_t src_len);

#endif
