/*
 * proto/base/addr.h - IPv4 and IPv6 addresses and ports.
 *
 * Literals only, no name resolution. Bytes are in network order, ports in host order. An
 * IPv4-mapped IPv6 address is stored as IPv4.
 */
#ifndef SAPAIR_PROTO_BASE_ADDR_H
#define SAPAIR_PROTO_BASE_ADDR_H

#include "proto/base/err.h"

#include <stdbool.h>

struct addr {
	uint8_t bytes[16];
	uint8_t len; /* 4, 16, or 0: none */
};

struct endpoint {
	struct addr addr;
	uint16_t port;
};

#define ADDR_TEXT 46     /* with the NUL */
#define ENDPOINT_TEXT 56 /* "[v6]:65535" with the NUL */

/* "192.0.2.1", "2001:db8::1" (RFC 4291 forms; RFC 5952 when printed). No zone, no brackets. */
int addr_parse(struct addr *a, const char *text, struct err *e);
/* "ADDR", "ADDR:PORT", "[V6]", "[V6]:PORT"; a missing port becomes the default. Port 1-65535. */
int endpoint_parse(struct endpoint *ep, const char *text, uint16_t default_port, struct err *e);

void addr_put(char text[ADDR_TEXT], const struct addr *a);
void endpoint_put(char text[ENDPOINT_TEXT], const struct endpoint *ep);

bool addr_equal(const struct addr *a, const struct addr *b);
/* <0, 0, >0: by family (IPv4 first), then by bytes. */
int addr_compare(const struct addr *a, const struct addr *b);
bool addr_is_any(const struct addr *a);     /* 0.0.0.0 or :: */
bool addr_is_unicast(const struct addr *a); /* not any, multicast or broadcast */
/* ERR_USAGE for an address of no host, or one that only a zone makes unique (fe80::/10). */
int addr_check_host(const struct addr *a, struct err *e);

#endif
