/*
 * crypto/hex.c - lower-case hexadecimal without branches or table lookups that depend on the digits.
 */
#include "crypto/hex.h"

/* '0' + v, and 39 ('a' - '9' - 1) more when v > 9, where 9 - v wraps around. */
static char digit(unsigned v)
{
	return (char)('0' + v + (((9U - v) >> 8) & 39U));
}

/* All ones when lo <= c <= hi, else 0; all three are below 256. */
static unsigned within(unsigned c, unsigned lo, unsigned hi)
{
	return ~(((c - lo) | (hi - c)) >> 8) & 0xffU;
}

/* The digit's value; 0xf0 if it is not a digit. */
static unsigned value(char digit)
{
	unsigned c = (unsigned char)digit;
	unsigned is_num = within(c, '0', '9');
	unsigned is_low = within(c, 'a', 'f');

	return (is_num & (c - '0')) | (is_low & (c - 'a' + 10)) | (~(is_num | is_low) & 0xf0U);
}

void hex_put(char *dst, const uint8_t *src, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		*dst++ = digit(src[i] >> 4);
		*dst++ = digit(src[i] & 15U);
	}
	*dst = '\0';
}

bool hex_get(uint8_t *dst, size_t n, const char *src, size_t src_len)
{
	unsigned bad = 0;

	if (src_len % 2 != 0 || src_len / 2 != n) {
		wipe(dst, n);
		return false;
	}
	for (size_t i = 0; i < n; i++) {
		unsigned hi = value(src[2 * i]);
		unsigned lo = value(src[2 * i + 1]);

		bad |= (hi | lo) & 0xf0U;
		dst[i] = (uint8_t)(hi << 4 | lo);
	}
	if (bad != 0)
		wipe(dst, n);
	return bad == 0;
}

void hex_put_secret(char *dst, const struct secret *s)
{
	size_t len;
	const uint8_t *p = secret_bytes(s, &len);

	hex_put(dst, p, len);
}

bool hex_get_secret(struct secret *s, const char *src, size_t src_len)
{
	uint8_t *p = secret_room(s, src_len / 2);

	if (p != NULL && hex_get(p, src_len / 2, src, src_len))
		return true;
	secret_wipe(s);
	return false;
}
