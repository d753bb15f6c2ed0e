/*
 * proto/exchange/probe: a probe is read back; any changed bit is detected.
 */
#include "proto/exchange/probe.h"
#include "crypto/hex.h"
#include "crypto/random.h"
#include "tests/t.h"

static const struct probe sample = {PROBE_ASK, UINT64_C(0x0102030405060708), 9, 77};

static struct secret key_of(uint8_t first)
{
	struct secret key = {{0}, 0};
	uint8_t bytes[32];

	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (uint8_t)(first + i);
	CHECK(secret_set(&key, bytes, sizeof bytes));
	return key;
}

static void a_probe_is_read_back(void)
{
	struct secret key = key_of(0);
	uint8_t wire[PROBE_LEN];
	struct probe got = {0};

	CHECK(probe_make(wire, &sample, &key));
	CHECK(probe_peek(wire, sizeof wire, &got));
	CHECK(got.kind == PROBE_ASK);
	CHECK_U64(got.id, sample.id);
	CHECK_U64(got.number, sample.number);
	CHECK_U64(got.epoch, sample.epoch);
	CHECK(probe_check(wire, &key));
}

/* MAC by: openssl dgst -sha256 -mac HMAC -macopt hexkey:0001..1f */
static void a_probe_has_the_documented_layout(void)
{
	static const char text[] = "53415050"
				   "01"
				   "01"
				   "0000"
				   "0102030405060708"
				   "00000009"
				   "000000000000004d"
				   "0af139960ed8ac09270d43ae4b2d8719";
	struct secret key = key_of(0);
	uint8_t wire[PROBE_LEN], want[PROBE_LEN];

	CHECK(hex_get(want, sizeof want, text, sizeof text - 1));
	CHECK(probe_make(wire, &sample, &key));
	CHECK_MEM(wire, want, sizeof want);
}

static void every_changed_bit_is_detected(void)
{
	struct secret key = key_of(0);
	uint8_t wire[PROBE_LEN];

	CHECK(probe_make(wire, &sample, &key));
	for (size_t bit = 0; bit < 8 * sizeof wire; bit++) {
		wire[bit / 8] ^= (uint8_t)(1u << bit % 8);
		if (!CHECK(!probe_check(wire, &key)))
			NOTE("bit %zu", bit);
		wire[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	CHECK(probe_check(wire, &key));
}

static void another_key_is_detected(void)
{
	struct secret key = key_of(0), other = key_of(1);
	uint8_t wire[PROBE_LEN];

	CHECK(probe_make(wire, &sample, &key));
	CHECK(!probe_check(wire, &other));
}

static void other_datagrams_are_not_probes(void)
{
	static const struct {
		size_t at;
		uint8_t value;
	} rows[] = {{0, 's'}, {3, 0}, {4, 0}, {4, 2}, {5, 0}, {5, 3}, {6, 1}, {7, 1}};
	struct secret key = key_of(0);
	uint8_t wire[PROBE_LEN + 1] = {0};
	struct probe got;

	CHECK(probe_make(wire, &sample, &key));
	CHECK(!probe_peek(wire, PROBE_LEN - 1, &got));
	CHECK(!probe_peek(wire, PROBE_LEN + 1, &got));
	CHECK(!probe_peek(wire, 0, &got));
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		uint8_t was = wire[rows[i].at];

		wire[rows[i].at] = rows[i].value;
		if (!CHECK(!probe_peek(wire, PROBE_LEN, &got)))
			NOTE("row %zu", i);
		wire[rows[i].at] = was;
	}
	CHECK(probe_peek(wire, PROBE_LEN, &got));
}

static void numbers_use_their_full_range(void)
{
	const struct probe far = {PROBE_ECHO, UINT64_MAX, UINT32_MAX, UINT64_MAX - 1};
	struct secret key = key_of(3);
	uint8_t wire[PROBE_LEN];
	struct probe got = {0};

	CHECK(probe_make(wire, &far, &key) && probe_peek(wire, sizeof wire, &got));
	CHECK(got.kind == PROBE_ECHO && got.id == far.id && got.number == far.number &&
	      got.epoch == far.epoch);
}

static void crypto_starts(void)
{
	CHECK(crypto_start());
}

T_MAIN(T(crypto_starts), T(a_probe_is_read_back), T(a_probe_has_the_documented_layout),
       T(every_changed_bit_is_detected), T(another_key_is_detected),
       T(other_datagrams_are_not_probes), T(numbers_use_their_full_range))
