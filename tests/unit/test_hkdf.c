/*
 * crypto/hkdf: the vectors of FIPS 180-2, RFC 4231 and RFC 5869.
 */
#include "crypto/hex.h"
#include "crypto/hkdf.h"
#include "crypto/random.h"
#include "tests/t.h"

static struct secret filled(uint8_t first, uint8_t step, size_t n)
{
	struct secret s;
	uint8_t *p = secret_room(&s, n);

	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(first + step * i);
	return s;
}

static bool is_hex(const uint8_t *is, size_t n, const char *want)
{
	char text[2 * SECRET_MAX + 1];

	hex_put(text, is, n);
	return CHECK_STR(text, want);
}

static bool secret_is(const struct secret *s, const char *want)
{
	size_t n;
	const uint8_t *p = secret_bytes(s, &n);

	return is_hex(p, n, want);
}

static void sha256_of_parts_is_that_of_the_whole(void)
{
	static const char want[] =
		"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
	const struct bytes whole = {"abc", 3};
	const struct bytes parts[] = {{"a", 1}, {NULL, 0}, {"bc", 2}, {"", 0}};
	uint8_t out[SHA256_LEN];

	CHECK(sha256(&whole, 1, out) && is_hex(out, sizeof out, want));
	CHECK(sha256(parts, 4, out) && is_hex(out, sizeof out, want));
	CHECK(sha256(NULL, 0, out));
	is_hex(out, sizeof out, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void hmac_gives_the_vectors_of_RFC_4231(void)
{
	uint8_t cd[50], dd[50], out[SHA256_LEN];
	const struct {
		struct secret key;
		struct bytes data;
		const char *want;
	} rows[] = {
		{filled(0x0b, 0, 20),
		 {"Hi There", 8},
		 "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
		{filled(0xaa, 0, 20),
		 {dd, 50},
		 "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"},
		{filled(0x01, 1, 25),
		 {cd, 50},
		 "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"},
	};
	SECRET(jefe);
	const struct bytes split[] = {{"what do ya ", 11}, {"want for nothing?", 17}};

	memset(cd, 0xcd, sizeof cd);
	memset(dd, 0xdd, sizeof dd);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		CHECK(hmac_sha256(&rows[i].key, &rows[i].data, 1, out));
		is_hex(out, sizeof out, rows[i].want);
	}
	secret_set(&jefe, (const uint8_t *)"Jefe", 4);
	CHECK(hmac_sha256(&jefe, split, 2, out));
	is_hex(out, sizeof out, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

struct vector {
	struct secret ikm, salt;
	uint8_t info_from;
	size_t info_len, len;
	const char *prk, *okm;
};

static void check_vector(const struct vector *v)
{
	uint8_t bytes[80];
	SECRET(prk);
	SECRET(okm);

	for (size_t i = 0; i < v->info_len; i++)
		bytes[i] = (uint8_t)(v->info_from + i);
	CHECK(hkdf_extract(&v->salt, &v->ikm, &prk));
	secret_is(&prk, v->prk);
	for (size_t cut = 0; cut <= v->info_len; cut++) {
		const struct bytes info[] = {{bytes, cut}, {bytes + cut, v->info_len - cut}};

		CHECK(hkdf_expand(&prk, info, 2, &okm, v->len));
		secret_is(&okm, v->okm);
	}
}

static void hkdf_gives_the_vectors_of_RFC_5869(void)
{
	const struct vector rows[] = {
		/* A.1 */
		{filled(0x0b, 0, 22), filled(0, 1, 13), 0xf0, 10, 42,
		 "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
		 "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b88718"
		 "5865"},
		/* A.2 with salt, key and output of 64 bytes; calculated with Python's hmac */
		{filled(0, 1, 64), filled(0x60, 1, 64), 0xb0, 80, 64,
		 "3b6c356f78054886539884cdc05c77b7ba5a1a64c6c05557d32a549654a7f963",
		 "016ce7875fed0b9e12c3ea362e14f6f147e332bc330d9a6fe2a768879160f4ea7ffe953dccca3083"
		 "b871961bda796076e63fc7e40d42ed1459f50d39f08c0467"},
		/* A.3 */
		{filled(0x0b, 0, 22), filled(0, 0, 0), 0, 0, 42,
		 "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04",
		 "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a"
		 "96c8"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		check_vector(&rows[i]);
}

static void a_shorter_output_is_the_beginning_of_a_longer(void)
{
	struct secret prk = filled(1, 7, 32);
	SECRET(longest);
	SECRET(okm);

	CHECK(hkdf_expand(&prk, NULL, 0, &longest, SECRET_MAX));
	for (size_t n = 1; n <= SECRET_MAX; n++) {
		CHECK(hkdf_expand(&prk, NULL, 0, &okm, n) && secret_len(&okm) == n);
		CHECK_MEM(secret_bytes(&okm, NULL), secret_bytes(&longest, NULL), n);
	}
}

static void sizes_out_of_bounds_leave_nothing(void)
{
	struct secret prk = filled(1, 1, 32), okm = filled(9, 0, 9);
	struct bytes many[HKDF_PARTS_MAX + 1] = {{"x", 1}};

	CHECK(!hkdf_expand(&prk, NULL, 0, &okm, 0) && secret_len(&okm) == 0);
	CHECK(!hkdf_expand(&prk, NULL, 0, &okm, SECRET_MAX + 1) && secret_len(&okm) == 0);
	CHECK(!hkdf_expand(&prk, many, HKDF_PARTS_MAX + 1, &okm, 32) && secret_len(&okm) == 0);
	CHECK(hkdf_expand(&prk, many, HKDF_PARTS_MAX, &okm, 32) && secret_len(&okm) == 32);
}

static void the_output_may_be_an_input(void)
{
	struct secret a = filled(1, 1, 32), salt = filled(5, 1, 20), ikm = filled(9, 3, 64);
	SECRET(prk);
	SECRET(okm);

	CHECK(hkdf_expand(&a, NULL, 0, &okm, 64) && hkdf_expand(&a, NULL, 0, &a, 64));
	CHECK(secret_equal(&a, &okm));
	CHECK(hkdf_extract(&salt, &ikm, &prk) && hkdf_extract(&salt, &ikm, &ikm));
	CHECK(secret_equal(&ikm, &prk));
}

static void start(void)
{
	CHECK(crypto_start());
}

T_MAIN(T(start), T(sha256_of_parts_is_that_of_the_whole), T(hmac_gives_the_vectors_of_RFC_4231),
       T(hkdf_gives_the_vectors_of_RFC_5869), T(a_shorter_output_is_the_beginning_of_a_longer),
       T(sizes_out_of_bounds_leave_nothing), T(the_output_may_be_an_input))
