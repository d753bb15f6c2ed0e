/*
 * proto/esp/udp.h - UDP headers (RFC 768), for datagrams that no system's stack makes: those within ESP.
 */
#ifndef SAPAIR_PROTO_ESP_UDP_H
#define SAPAIR_PROTO_ESP_UDP_H

#include "proto/base/addr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UDP_HEAD 8

/* Where a datagram comes from and goes to; addresses of one family, ports in host order. */
struct udp_way {
	struct addr from, to;
	uint16_t from_port, to_port;
};

/* Writes the header in front of n - UDP_HEAD bytes of payload, which are at udp + UDP_HEAD; n is at most
 * 65535. */
void udp_put(uint8_t *udp, size_t n, const struct udp_way *way);
/* Is it one whole datagram of that way, with the right checksum? One without a checksum is not. */
bool udp_is(const uint8_t *udp, size_t n, const struct udp_way *way);

#endif
