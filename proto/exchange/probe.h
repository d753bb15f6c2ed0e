/*
 * proto/exchange/probe.h - the datagrams that prove a pair: made by one agent, echoed by the other,
 * carried by the SAs themselves.
 *
 *     "SAPP" | version 1 | kind | 2 zero bytes | run id u64 | number u32 | epoch u64 | MAC 16
 *
 * All numbers big endian. The MAC is HMAC-SHA-256 cut to 16 bytes under the pair's probe key, so
 * that a stranger's or an old pair's datagram never counts. 44 bytes.
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
	uint64_t epoch;  /* of the pair whose probe key made the MAC */
};

/* False: no memory. */
bool probe_make(uint8_t out[PROBE_LEN], const struct probe *p, const struct secret *key);
/* The epoch says which key to check with; false: not a probe at all. */
bool probe_peek(const uint8_t *in, size_t n, struct probe *p);
bool probe_check(const uint8_t in[PROBE_LEN], const struct secret *key);

#endif
