/*
 * proto/exchange/keysched.h - from two fresh shares and one TLS session to the keys of one pair.
 *
 *     salt = exporter (32 bytes), then the PPK where one is configured (RFC 8784's idea)
 *     PRK  = HKDF-Extract(salt, share of the leader ++ share of the follower)
 *     SA   = HKDF-Expand(PRK, "sapair/1 sa"    00 direction xid epoch suite esn
 *                             sender receiver spi, key length)
 *     qm_sa_id = HKDF-Expand(PRK, "sapair/1 said"  00 xid epoch, 4)
 *     Ktag = HKDF-Expand(PRK, "sapair/1 tag"   00 xid epoch suite esn ids spis, 32)
 *     tag  = HMAC(Ktag, role  H(offer)  H(answer))
 *     probe= HKDF-Expand(PRK, "sapair/1 probe" 00 xid epoch ids spis, 32)
 *
 * keysched.c gives every byte, tests/unit/vectors_keysched.py computes the same independently,
 * docs/protocol.md has the vectors. Both sides' random generators count, both certificates, the
 * TLS session, the choices made. All functions are pure; false means no memory.
 */
#ifndef SAPAIR_PROTO_EXCHANGE_KEYSCHED_H
#define SAPAIR_PROTO_EXCHANGE_KEYSCHED_H

#include "crypto/cert.h"
#include "crypto/hkdf.h"
#include "proto/wire/msg.h"

#define PPK_MIN 32 /* bytes: anything shorter is no PPK */
#define PPK_MAX 64

/* Which way a packet goes: part of the derivation, so that the two SAs can't be swapped. */
enum sa_direction { LEADER_TO_FOLLOWER = 1, FOLLOWER_TO_LEADER = 2 };
enum tag_role { TAG_FOLLOWER = 1, TAG_LEADER = 2 }; /* of answer, of confirm */

/* All that the keys depend on besides the shares. */
struct key_context {
	const struct secret *exporter; /* TLS_EXPORT_LEN bytes */
	const struct secret *ppk;      /* empty or NULL: none */
	uint8_t leader_id[PIN_LEN];    /* SHA-256 of the SubjectPublicKeyInfo */
	uint8_t follower_id[PIN_LEN];
	uint64_t xid, epoch;
	enum suite suite;
	struct spi leader_spi; /* inbound of the leader */
	struct spi follower_spi;
	bool esn;
};

bool keysched_extract(const struct key_context *c, const struct secret *leader_share,
		      const struct secret *follower_share, struct secret *prk);

/* Key material of suite_key_len(c->suite) bytes for one direction. */
bool keysched_sa(const struct key_context *c, const struct secret *prk, enum sa_direction dir,
		 struct secret *out);

/* The number that WFP wants in both bundles (qmSaId): equal on both hosts, never 0. */
bool keysched_qm_sa_id(const struct key_context *c, const struct secret *prk, uint32_t *qm_sa_id);

/*
 * Tag of answer or of confirm, over SHA-256 of the exact bytes of the offer, and of the answer:
 * without its ANSWER_TAIL for the answer's own tag, whole for that of confirm. Both have one key.
 */
bool keysched_tag_key(const struct key_context *c, const struct secret *prk, struct secret *key);
bool keysched_tag(const struct secret *key, enum tag_role role,
		  const uint8_t offer_hash[SHA256_LEN], const uint8_t answer_hash[SHA256_LEN],
		  uint8_t tag[TAG_LEN]);

/* The value of hello's "ppk": proves a PPK without showing it; role keeps it from being echoed. */
bool keysched_ppk_check(const struct secret *exporter, const struct secret *ppk, bool tls_client,
			uint8_t check[TAG_LEN]);

/* Key of the verify datagrams of a pair (both directions), from the same PRK. */
bool keysched_probe(const struct key_context *c, const struct secret *prk, struct secret *out);

#endif
