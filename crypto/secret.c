/*
 * crypto/secret.c - secret bytes.
 */
#include <string.h>

#include <mbedtls/constant_time.h>

#include "crypto/secret.h"

void wipe(void *p, size_t n)
{
	if (p == NULL || n == 0)
		return;
	memset(p, 0, n);
	__asm__ __volatile__("" : : "r"(p) : "memory"); /* keeps the stores */
}

void secret_wipe(struct secret *s)
{
	if (s != NULL)
		wipe(s, sizeof *s);
}

uint8_t *secret_room(struct secret *s, size_t len)
{
	secret_wipe(s);
	if (len > SECRET_MAX)
		return NULL;
	s->len_ = len;
	return s->bytes_;
}

bool secret_set(struct secret *s, const uint8_t *src, size_t len)
{
	struct secret copy = {{0}, 0}; /* src may point into s */
	bool fits = len <= SECRET_MAX;

	if (fits && len > 0) {
		memcpy(copy.bytes_, src, len);
		copy.len_ = len;
	}
	*s = copy;
	secret_wipe(&copy);
	return fits;
}

bool secret_equal(const struct secret *a, const struct secret *b)
{
	return a->len_ > 0 && a->len_ == b->len_ && bytes_equal(a->bytes_, b->bytes_, a->len_);
}

bool bytes_equal(const void *a, const void *b, size_t n)
{
	return n == 0 || mbedtls_ct_memcmp(a, b, n) == 0;
}

const uint8_t *secret_bytes(const struct secret *s, size_t *len)
{
	if (len != NULL)
		*len = s->len_;
	return s->bytes_;
}
