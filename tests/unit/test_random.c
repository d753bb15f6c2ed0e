/*
 * crypto/random: the bytes differ on each call and fill exactly the requested length.
 */
#include "crypto/random.h"
#include "tests/t.h"

static void start_may_be_repeated(void)
{
	CHECK(crypto_start());
	CHECK(crypto_start());
}

static void bytes_are_written_within_bounds(void)
{
	uint8_t mem[34] = {0};
	unsigned seen[32] = {0};

	for (int i = 0; i < 64; i++) {
		random_bytes(mem + 1, 32);
		CHECK(mem[0] == 0 && mem[33] == 0);
		for (size_t k = 0; k < 32; k++)
			seen[k] |= mem[1 + k];
	}
	for (size_t k = 0; k < 32; k++)
		CHECK(seen[k] != 0);
	random_bytes(mem, 0);
	CHECK(mem[0] == 0);
}

static void a_large_request_is_filled(void)
{
	static uint8_t big[70000];
	size_t zeros = 0;

	random_bytes(big, sizeof big);
	for (size_t i = 0; i < sizeof big; i++)
		zeros += big[i] == 0;
	CHECK(zeros < 600); /* 273 are expected */
	CHECK(random_callback(NULL, big, 10) == 0);
}

static void no_two_secrets_are_the_same(void)
{
	SECRET(a);
	SECRET(b);

	random_secret(&a, 32);
	random_secret(&b, 32);
	CHECK(secret_len(&a) == 32 && secret_len(&b) == 32 && !secret_equal(&a, &b));
}

static void numbers_use_all_their_bits(void)
{
	uint32_t or32 = 0, and32 = UINT32_MAX;
	uint64_t or64 = 0, and64 = UINT64_MAX;

	for (int i = 0; i < 200; i++) {
		uint32_t a = random_u32();
		uint64_t b = random_u64();

		or32 |= a;
		and32 &= a;
		or64 |= b;
		and64 &= b;
	}
	CHECK(or32 == UINT32_MAX && and32 == 0);
	CHECK(or64 == UINT64_MAX && and64 == 0);
}

T_MAIN(T(start_may_be_repeated), T(bytes_are_written_within_bounds), T(a_large_request_is_filled),
       T(no_two_secrets_are_the_same), T(numbers_use_all_their_bits))
