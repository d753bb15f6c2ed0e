/*
 * crypto/hex: every byte is encoded and decoded; only lower-case digits are accepted.
 */
#include "crypto/hex.h"
#include "tests/t.h"

static void every_byte_is_written_as_printf_would(void)
{
	for (unsigned i = 0; i < 256; i++) {
		uint8_t b = (uint8_t)i, back = 0;
		char is[3], want[3];

		hex_put(is, &b, 1);
		snprintf(want, sizeof want, "%02x", i);
		CHECK_STR(is, want);
		CHECK(hex_get(&back, 1, is, 2) && back == b);
	}
}

static void every_other_character_is_refused(void)
{
	for (int c = 0; c < 256; c++) {
		char text[2] = {'a', (char)c};
		bool digit = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
		uint8_t b = 9;

		CHECK(hex_get(&b, 1, text, 2) == digit);
		text[0] = (char)c;
		text[1] = '7';
		b = 9;
		CHECK(hex_get(&b, 1, text, 2) == digit);
		CHECK(digit || b == 0);
	}
}

static void only_the_exact_length_is_accepted(void)
{
	uint8_t b[2];

	CHECK(hex_get(b, 2, "0a0b", 4) && b[0] == 10 && b[1] == 11);
	CHECK(!hex_get(b, 2, "0a0b0", 5));
	CHECK(!hex_get(b, 2, "0a0", 3));
	CHECK(!hex_get(b, 2, "0a0b0c", 6));
	CHECK(!hex_get(b, 2, "", 0));
	CHECK(hex_get(b, 0, "", 0));
}

static void what_was_read_is_wiped_on_failure(void)
{
	uint8_t b[4] = {1, 1, 1, 1};

	CHECK(!hex_get(b, 4, "deadbeeg", 8));
	CHECK_MEM(b, "\0\0\0\0", 4);
}

static void secrets_are_written_and_read_back(void)
{
	SECRET(s);
	SECRET(t);
	char text[2 * SECRET_MAX + 1];
	uint8_t bytes[SECRET_MAX];

	for (size_t n = 0; n <= SECRET_MAX; n++) {
		for (size_t i = 0; i < n; i++)
			bytes[i] = (uint8_t)(i * 37 + n);
		secret_set(&s, bytes, n);
		hex_put_secret(text, &s);
		CHECK(strlen(text) == 2 * n && hex_get_secret(&t, text, 2 * n));
		CHECK(secret_len(&t) == n && memcmp(secret_bytes(&t, NULL), bytes, n) == 0);
	}
}

static void bad_secrets_leave_nothing(void)
{
	char text[2 * SECRET_MAX + 3];
	SECRET(s);

	memset(text, 'a', sizeof text);
	CHECK(!hex_get_secret(&s, text, 2 * SECRET_MAX + 2) && secret_len(&s) == 0);
	CHECK(!hex_get_secret(&s, text, 7) && secret_len(&s) == 0);
	CHECK(!hex_get_secret(&s, "abcdEf", 6) && secret_len(&s) == 0);
}

T_MAIN(T(every_byte_is_written_as_printf_would), T(every_other_character_is_refused),
       T(only_the_exact_length_is_accepted), T(what_was_read_is_wiped_on_failure),
       T(secrets_are_written_and_read_back), T(bad_secrets_leave_nothing))
