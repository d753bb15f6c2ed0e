/*
 * proto/esp/udp.c - UDP headers.
 */
#include "proto/esp/udp.h"

#define PROTOCOL 17

static void put16(uint8_t *to, size_t v)
{
	to[0] = (uint8_t)(v >> 8);
	to[1] = (uint8_t)v;
}

static unsigned get16(const uint8_t *from)
{
	return (unsigned)from[0] << 8 | from[1];
}

static uint32_t add16(uint32_t sum, const uint8_t *p, size_t n)
{
	for (; n > 1; p += 2, n -= 2)
		sum += get16(p);
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

	put16(udp, flow->from_port);
	put16(udp + 2, flow->to_port);
	put16(udp + 4, n);
	put16(udp + 6, 0);
	sum = checksum(udp, n, flow);
	put16(udp + 6, sum != 0 ? sum : 0xffff); /* 0 means: no checksum */
}

bool udp_is(const uint8_t *udp, size_t n, const struct udp_flow *flow)
{
	return n >= UDP_HEAD && get16(udp) == flow->from_port && get16(udp + 2) == flow->to_port &&
	       get16(udp + 4) == n && get16(udp + 6) != 0 && checksum(udp, n, flow) == 0;
}
