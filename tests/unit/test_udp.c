/*
 * proto/esp/udp: checksums of known datagrams; incomplete or foreign datagrams are refused.
 */
#include "proto/esp/udp.h"
#include "tests/t.h"

#include <string.h>

static struct udp_flow flow_of(const char *from, const char *to)
{
	struct udp_flow flow = {.from_port = 41103, .to_port = 9876};

	CHECK(addr_parse(&flow.from, from, NULL) == 0);
	CHECK(addr_parse(&flow.to, to, NULL) == 0);
	return flow;
}

/* The sums were computed by a separate program in Python. */
static void known_datagrams_have_their_checksums(void)
{
	static const uint8_t four[] = {0xa0, 0x8f, 0x26, 0x94, 0x00, 0x0a, 0x14, 0xde, 'b', 'b'};
	static const uint8_t odd[] = {0xa0, 0x8f, 0x26, 0x94, 0x00, 0x09, 0x7b, 0x43, 'b'};
	struct udp_flow flow = flow_of("152.1.51.27", "152.14.94.75");
	struct udp_flow six = flow_of("2001:db8::1", "2001:db8::2");
	uint8_t udp[10] = {[8] = 'b', [9] = 'b'};

	udp_put(udp, sizeof udp, &flow);
	CHECK_MEM(udp, four, sizeof four);
	udp_put(udp, sizeof udp, &six);
	CHECK(udp_is(udp, sizeof udp, &six));
	udp_put(udp, 9, &six);
	CHECK_MEM(udp, odd, sizeof odd);
}

static void a_sum_of_zero_is_sent_as_all_ones(void)
{
	struct udp_flow flow = flow_of("192.0.2.1", "192.0.2.2");
	unsigned zero = 0;

	for (unsigned v = 0; v < 0x10000; v++) {
		uint8_t udp[10] = {[8] = (uint8_t)(v >> 8), [9] = (uint8_t)v};

		udp_put(udp, sizeof udp, &flow);
		CHECK(udp[6] != 0 || udp[7] != 0);
		zero += udp[6] == 0xff && udp[7] == 0xff;
		if (!CHECK(udp_is(udp, sizeof udp, &flow)))
			return;
	}
	CHECK(zero > 0);
}

static void every_changed_bit_is_detected(void)
{
	struct udp_flow flow = flow_of("192.0.2.1", "192.0.2.2"), back = flow;
	uint8_t udp[24] = "........some payload";

	udp_put(udp, sizeof udp, &flow);
	for (size_t bit = 0; bit < 8 * sizeof udp; bit++) {
		udp[bit / 8] ^= (uint8_t)(1u << bit % 8);
		CHECK(!udp_is(udp, sizeof udp, &flow));
		udp[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	CHECK(udp_is(udp, sizeof udp, &flow));
	back.from_port = flow.to_port;
	back.to_port = flow.from_port; /* the sum stays the same */
	CHECK(!udp_is(udp, sizeof udp, &back));
}

static void wrong_lengths_and_missing_checksums_are_refused(void)
{
	struct udp_flow flow = flow_of("192.0.2.1", "192.0.2.2");
	uint8_t udp[24] = {0};

	udp_put(udp, 16, &flow);
	for (size_t n = 0; n <= sizeof udp; n++)
		CHECK(udp_is(udp, n, &flow) == (n == 16));
	udp[6] = udp[7] = 0;
	CHECK(!udp_is(udp, 16, &flow));
}

T_MAIN(T(known_datagrams_have_their_checksums), T(a_sum_of_zero_is_sent_as_all_ones),
       T(every_changed_bit_is_detected), T(wrong_lengths_and_missing_checksums_are_refused))
