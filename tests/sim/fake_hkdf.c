/*
 * tests/sim/fake_hkdf.c - replaces crypto/hkdf.c by a fast function without any security.
 *
 * The simulation checks that both ends get the same keys and that no key is used twice, not that keys
 * cannot be guessed: four 64-bit lanes that mix every input byte are enough for that, and a hundred
 * times faster.
 */
#include "crypto/hkdf.h"

#include <string.h>

struct lanes {
	uint64_t v[4];
};

static void begin(struct lanes *l, uint64_t kind)
{
	for (unsigned i = 0; i < 4; i++)
		l->v[i] = UINT64_C(0x9e3779b97f4a7c15) * (kind * 4 + i + 1);
}

static void mix(struct lanes *l, uint64_t word)
{
	for (unsigned i = 0; i < 4; i++) {
		uint64_t x = (l->v[i] ^ word) * (UINT64_C(0xd6e8feb86659fd93) + 2 * i);

		l->v[i] = x ^ x >> 32;
	}
}

static void mix_bytes(struct lanes *l, const void *p, size_t n)
{
	const uint8_t *b = p;
	uint64_t word;

	for (; n >= 8; b += 8, n -= 8) {
		memcpy(&word, b, 8);
		mix(l, word);
	}
	word = n;
	for (size_t i = 0; i < n; i++)
		word = word << 8 | b[i];
	mix(l, word);
}

static void mix_parts(struct lanes *l, const struct bytes *parts, size_t count)
{
	for (size_t i = 0; i < count; i++)
		mix_bytes(l, parts[i].p, parts[i].n);
}

static void mix_secret(struct lanes *l, const struct secret *s)
{
	size_t n;
	const uint8_t *p = secret_bytes(s, &n);

	mix_bytes(l, p, n);
}

bool sha256(const struct bytes *parts, size_t count, uint8_t out[SHA256_LEN])
{
	struct lanes l;

	begin(&l, 1);
	mix_parts(&l, parts, count);
	memcpy(out, l.v, SHA256_LEN);
	return true;
}

bool hmac_sha256(const struct secret *key, const struct bytes *parts, size_t count,
		 uint8_t out[SHA256_LEN])
{
	struct lanes l;

	begin(&l, 2);
	mix_secret(&l, key);
	mix_parts(&l, parts, count);
	memcpy(out, l.v, SHA256_LEN);
	return true;
}

bool hkdf_extract(const struct secret *salt, const struct secret *ikm, struct secret *prk)
{
	struct lanes l;

	begin(&l, 3);
	mix_secret(&l, salt);
	mix_secret(&l, ikm);
	return secret_set(prk, (const uint8_t *)l.v, SHA256_LEN);
}

bool hkdf_expand(const struct secret *prk, const struct bytes *info, size_t count,
		 struct secret *okm, size_t len)
{
	struct lanes l[2];
	uint8_t *out;

	begin(&l[0], 4);
	mix_secret(&l[0], prk);
	mix_parts(&l[0], info, count);
	l[1] = l[0];
	mix(&l[1], len);
	out = secret_room(okm, len);
	if (out != NULL)
		memcpy(out, l, len);
	return out != NULL;
}
