/*
 * proto/base/spi.h - the Security Parameters Index as a type (RFC 4303 section 2.1).
 *
 * Host byte order. xfrm and esp convert it to big endian, wfp uses it as it is. A struct, so that
 * the compiler refuses a plain integer.
 */
#ifndef SAPAIR_PROTO_BASE_SPI_H
#define SAPAIR_PROTO_BASE_SPI_H

#include <stdbool.h>
#include <stdint.h>

#define SPI_MIN 256u /* 0 means "no SA", 1 to 255 are reserved by IANA */

struct spi {
	uint32_t n; /* 0: none */
};

static inline bool spi_equal(struct spi a, struct spi b)
{
	return a.n == b.n;
}

static inline bool spi_usable(struct spi s)
{
	return s.n >= SPI_MIN;
}

#endif
