/*
 * proto/esp/esp.h - Encapsulating Security Payload, transport mode: sealing and opening packets.
 *
 * RFC 4303 with AES-GCM (RFC 4106), AES-GMAC (RFC 4543) and AES-CBC with HMAC (RFC 3602, 4868,
 * 2404), ESN (the high half is in the ICV, not in the packet), anti-replay.
 *
 *     SPI | sequence | IV | payload, padding 1 2 3 .., pad length, next header | ICV
 */
#ifndef SAPAIR_PROTO_ESP_ESP_H
#define SAPAIR_PROTO_ESP_ESP_H

#include "crypto/secret.h"
#include "proto/esp/replay.h"
#include "proto/base/spi.h"
#include "proto/base/suite.h"

#define ESP_OVERHEAD_MAX 64 /* head, IV, padding, trailer and ICV of any suite */
#define ESP_NEXT_UDP 17

enum esp_fault {
	ESP_OK,
	ESP_SHORT,     /* too short for this suite, or not a multiple of its block */
	ESP_REPLAYED,  /* below the window, or seen before */
	ESP_INTEGRITY, /* the ICV is wrong */
	ESP_PADDING,   /* the ICV is right, but the padding is not */
	ESP_EXHAUSTED, /* no sequence number left: no more packets on this SA (3.3.3) */
	ESP_NO_ROOM,
	ESP_NO_MEMORY
};

struct esp_out {
	struct spi spi;
	enum suite suite;
	struct secret key; /* suite_key_len() bytes */
	bool esn;
	uint64_t seq;       /* of the last packet sent; starts at 0 */
	uint8_t iv_salt[8]; /* random; XORed with seq for unpredictable, unique GCM IVs */
};

struct esp_in {
	struct spi spi;
	enum suite suite;
	struct secret key;
	struct replay replay;
};

/* The SPI of a received packet. False: too short to have one. */
bool esp_peek(const uint8_t *packet, size_t n, struct spi *spi);

/*
 * Seals payload into packet, which has size bytes, at least ESP_OVERHEAD_MAX more than the payload; *n
 * is set to its length. The payload may overlap packet.
 */
enum esp_fault esp_seal(struct esp_out *sa, uint8_t next_header, const uint8_t *payload,
			size_t payload_len, uint8_t *packet, size_t size, size_t *n);

/*
 * Opens in place: on ESP_OK *payload points into packet. The replay window is updated when the ICV is
 * right. On a fault the contents of packet are undefined. The caller selects sa by the SPI.
 */
enum esp_fault esp_open(struct esp_in *sa, uint8_t *packet, size_t n, uint8_t *next_header,
			uint8_t **payload, size_t *payload_len);

#endif
