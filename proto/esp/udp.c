/*
 * proto/esp/udp.c - UDP headers.
 */
#include "proto/esp/udp.h"
#include "crypto/bytes.h"

#define PROTOCOL 17

static uint32_t add16(uint32_t sum, const uint8_t *p, size_t n)
{
	for (; n > 1; p += 2, n -= 2)
		sum += (uint32_t)be_get(p, 2);
	return n > 0 ? sum + ((uint32_t)*p << 8) : sum;
}

/* RFC 768, RFC 8200 section 8.1. 0 or 0xffff for a datagram whose checksum is right. */
static unsigned checksum(const uint8_t *udp, size_t n, const struct udp_flow *flow)
{
	uint32_t sum = PROTOCOL + (uint32_t)n;

	sum = add16(sum, flow->from.bytes, flow->from.len);
	sum = add16(sum, flow->to.bytes, flow->to.len);
	sum = add16(sum, udp, n);
	while (sum > 0xffff)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum & 0xffff;
}

void udp_put(uint8_t *udp, size_t n, const struct udp_flow *flow)
{
	unsigned sum;

	be_put(udp, flow->from_port, 2);
	be_put(udp + 2, flow->to_port, 2);
	be_put(udp + 4, n, 2);
	be_put(udp + 6, 0, 2);
	sum = checksum(udp, n, flow);
	be_put(udp + 6, sum != 0 ? sum : 0xffff, 2); /* 0 means: no checksum */
}

bool udp_is(const uint8_t *udp, size_t n, const struct udp_flow *flow)
{
	return n >= UDP_HEAD && be_get(udp, 2) == flow->from_port &&
	       be_get(udp + 2, 2) == flow->to_port && be_get(udp + 4, 2) == n &&
	       be_get(udp + 6, 2) != 0 && checksum(udp, n, flow) == 0;
}
