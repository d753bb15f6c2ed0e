/*
 * crypto/bytes.h - big-endian numbers in byte strings.
 */
#ifndef SAPAIR_CRYPTO_BYTES_H
#define SAPAIR_CRYPTO_BYTES_H

#include <stddef.h>
#include <stdint.h>

/* Writes the n low bytes of v. */
static inline void be_put(uint8_t *to, uint64_t v, size_t n)
{
	for (; n-- > 0; v >>= 8)
		to[n] = (uint8_t)v;
}

/* Reads n bytes, at most 8. */
static inline uint64_t be_get(const uint8_t *from, size_t n)
{
	uint64_t v = 0;

	while (n-- > 0)
		v = v << 8 | *from++;
	return v;
}

#endif
