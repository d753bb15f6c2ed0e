/*
 * proto/esp/udp.h - UDP headers (RFC 768) of datagrams within ESP.
 */
#ifndef SAPAIR_PROTO_ESP_UDP_H
#define SAPAIR_PROTO_ESP_UDP_H

#include "proto/base/addr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UDP_HEAD 8

/* Source and destination: addresses of the same family, ports in host order. */
struct udp_flow {
	struct addr from, to;
	uint16_t from_port, to_port;
};

/* Writes the header of a datagram of n bytes (at most 65535) whose payload is at udp + UDP_HEAD. */
void udp_put(uint8_t *udp, size_t n, const struct udp_flow *flow);
/* Whether it is one complete datagram of this flow with a valid checksum, which is required. */
bool udp_is(const uint8_t *udp, size_t n, const struct udp_flow *flow);

#endif
