/*
 * proto/exchange/probe.h - probe datagrams: sent through the SAs by one agent, echoed by the other.
 *
 *     "SAPP" | version 1 | kind | 2 zero bytes | run id u64 | number u32 | epoch u64 | MAC 16
 *
 * 44 bytes, numbers in big endian. The MAC is HMAC-SHA-256 with the pair's probe key, truncated to 16
 * bytes, so that datagrams of other senders and of old pairs do not count.
 */
#ifndef SAPAIR_PROTO_EXCHANGE_PROBE_H
#define SAPAIR_PROTO_EXCHANGE_PROBE_H

#include "crypto/secret.h"

#define PROBE_LEN 44

enum probe_kind { PROBE_ASK = 1, PROBE_ECHO = 2 };

struct probe {
	enum probe_kind kind;
	uint64_t id;     /* of the run, random */
	uint32_t number; /* from 1 */
	uint64_t epoch;  /* selects the probe key */
};

/* False: no memory. */
bool probe_make(uint8_t out[PROBE_LEN], const struct probe *p, const struct secret *key);
/* Reads the fields, before the MAC is checked. False: not a probe. */
bool probe_peek(const uint8_t *in, size_t n, struct probe *p);
/* Checks the MAC in constant time. */
bool probe_check(const uint8_t in[PROBE_LEN], const struct secret *key);

#endif
