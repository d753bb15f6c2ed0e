/*
 * crypto/secret.h - bytes that must not be seen: keys, shares, tags.
 *
 * A secret is a type of its own, so that it cannot slip into a format string, a log line or a
 * plain memcmp. Its bytes have one door, secret_bytes(): grep for it to review every use.
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

/* A local that is wiped on every way out of its scope, early returns included. */
#define SECRET(name) __attribute__((cleanup(secret_wipe))) struct secret name = {{0}, 0}

/* Overwrites n bytes in a way that the compiler cannot leave out. p may be NULL if n is 0. */
void wipe(void *p, size_t n);

/* Wipes the bytes and sets the length to 0. NULL is allowed. */
void secret_wipe(struct secret *s);

/* Copies len bytes in; the caller still wipes src. False, and s is empty, when len > SECRET_MAX. */
bool secret_set(struct secret *s, const uint8_t *src, size_t len);

/* Sets the length and gives the bytes (zeroed) for a producer to fill; NULL when too long. */
uint8_t *secret_room(struct secret *s, size_t len);

/* Constant time for secrets of one length. False for two empty ones and for unequal lengths. */
bool secret_equal(const struct secret *a, const struct secret *b);

/* Constant-time comparison of n public-length bytes (tags, fingerprints). */
bool bytes_equal(const void *a, const void *b, size_t n);

/* The one door to the bytes. The pointer is good as long as s is. */
const uint8_t *secret_bytes(const struct secret *s, size_t *len);

static inline size_t secret_len(const struct secret *s)
{
	return s->len_;
}

#endif
