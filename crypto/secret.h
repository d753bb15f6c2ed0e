/*
 * crypto/secret.h - secret bytes as a type: keys, shares, tags.
 *
 * The type keeps secrets out of format strings, log lines and comparisons of bytes. secret_bytes()
 * is the only access to the bytes: search for it to review every use.
 */
#ifndef SAPAIR_CRYPTO_SECRET_H
#define SAPAIR_CRYPTO_SECRET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The longest key material of a suite: AES-256 (32) with HMAC-SHA-256 (32). */
#define SECRET_MAX 64

struct secret {
	uint8_t bytes_[SECRET_MAX]; /* the underscore means: secret.c only */
	size_t len_;
};

/* A local variable that is wiped whenever its scope is left. */
#define SECRET(name) __attribute__((cleanup(secret_wipe))) struct secret name = {{0}, 0}

/* Overwrites n bytes; the compiler cannot remove it. p may be NULL if n is 0. */
void wipe(void *p, size_t n);

/* Wipes the bytes and sets the length to 0. NULL is allowed. */
void secret_wipe(struct secret *s);

/* Copies len bytes in; the caller still wipes src. False, and s is empty, when len > SECRET_MAX. */
bool secret_set(struct secret *s, const uint8_t *src, size_t len);

/* Sets the length and returns the zeroed bytes, to be filled; NULL when too long. */
uint8_t *secret_room(struct secret *s, size_t len);

/* In constant time for equal lengths. False for unequal lengths, and for two empty secrets. */
bool secret_equal(const struct secret *a, const struct secret *b);

/* Compares n bytes (tags, fingerprints) in constant time. */
bool bytes_equal(const void *a, const void *b, size_t n);

/* The bytes; the pointer is valid as long as s is. */
const uint8_t *secret_bytes(const struct secret *s, size_t *len);

static inline size_t secret_len(const struct secret *s)
{
	return s->len_;
}

#endif
