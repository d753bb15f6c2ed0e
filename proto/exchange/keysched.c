/*
 * proto/exchange/keysched.c - the labels and byte strings behind keysched.h.
 *
 * Every info string begins with its label and a zero byte; then follow, as the comment in front
 * of each function says:
 *
 *     direction, role, esn   1 byte
 *     xid, epoch             8 bytes, big endian
 *     suite                  1 byte of length, and its name in ASCII
 *     identities             32 bytes each
 *     SPIs                   4 bytes each, big endian (wire order)
 *
 * No two labels are prefixes of one another with their zero byte, and behind a label everything
 * has a length that is fixed or stands in front: no two inputs give one string.
 */
#include "proto/exchange/keysched.h"
#include "crypto/bytes.h"

#include <assert.h>
#include <string.h>

#define INFO_MAX 192

struct info {
	uint8_t bytes[INFO_MAX];
	size_t n;
};

static void put(struct info *i, const void *p, size_t n)
{
	assert(n <= INFO_MAX - i->n);
	memcpy(i->bytes + i->n, p, n);
	i->n += n;
}

static void put_number(struct info *i, uint64_t v, size_t bytes)
{
	uint8_t be[8];

	be_put(be, v, bytes);
	put(i, be, bytes);
}

static void begin(struct info *i, const char *label)
{
	i->n = 0;
	put(i, label, strlen(label) + 1);
}

/* xid, epoch */
static void put_run(struct info *i, const struct key_context *c)
{
	put_number(i, c->xid, 8);
	put_number(i, c->epoch, 8);
}

/* suite, esn: what was chosen */
static void put_choice(struct info *i, const struct key_context *c)
{
	const char *name = suite_info(c->suite)->name;

	put_number(i, strlen(name), 1);
	put(i, name, strlen(name));
	put_number(i, c->esn, 1);
}

/* leader's identity, follower's identity, leader's SPI, follower's SPI */
static void put_both(struct info *i, const struct key_context *c)
{
	put(i, c->leader_id, PIN_LEN);
	put(i, c->follower_id, PIN_LEN);
	put_number(i, c->leader_spi.n, 4);
	put_number(i, c->follower_spi.n, 4);
}

static bool expand(const struct secret *prk, const struct info *i, struct secret *out, size_t len)
{
	const struct bytes part = {i->bytes, i->n};

	return hkdf_expand(prk, &part, 1, out, len);
}

/*
 * The exporter's value and the PPK side by side. Longer than a block of SHA-256 it is hashed
 * here, as HMAC does with such keys (RFC 2104 section 3): any HKDF gives the same result.
 */
static bool salt_of(const struct key_context *c, struct secret *salt)
{
	uint8_t glued[2 * SECRET_MAX], hash[SHA256_LEN];
	struct bytes whole = {glued, 0};
	const uint8_t *p;
	size_t n;
	bool ok = true;

	p = secret_bytes(c->exporter, &n);
	memcpy(glued, p, n);
	whole.n = n;
	if (c->ppk != NULL) {
		p = secret_bytes(c->ppk, &n);
		memcpy(glued + whole.n, p, n);
		whole.n += n;
	}
	if (whole.n <= SECRET_MAX) {
		secret_set(salt, glued, whole.n);
	} else {
		ok = sha256(&whole, 1, hash);
		secret_set(salt, hash, ok ? sizeof hash : 0);
	}
	wipe(glued, sizeof glued);
	wipe(hash, sizeof hash);
	return ok;
}

bool keysched_extract(const struct key_context *c, const struct secret *leader_share,
		      const struct secret *follower_share, struct secret *prk)
{
	SECRET(salt);
	SECRET(ikm);
	uint8_t *p = secret_room(&ikm, 2 * SHARE_LEN);

	assert(secret_len(leader_share) == SHARE_LEN && secret_len(follower_share) == SHARE_LEN);
	memcpy(p, secret_bytes(leader_share, NULL), SHARE_LEN);
	memcpy(p + SHARE_LEN, secret_bytes(follower_share, NULL), SHARE_LEN);
	secret_wipe(prk);
	return salt_of(c, &salt) && hkdf_extract(&salt, &ikm, prk);
}

/* "sapair/1 sa" 00 direction xid epoch suite esn sender receiver spi-of-the-receiver */
bool keysched_sa(const struct key_context *c, const struct secret *prk, enum sa_direction dir,
		 struct secret *out)
{
	bool down = dir == LEADER_TO_FOLLOWER;
	struct info i;

	begin(&i, "sapair/1 sa");
	put_number(&i, dir, 1);
	put_run(&i, c);
	put_choice(&i, c);
	put(&i, down ? c->leader_id : c->follower_id, PIN_LEN);
	put(&i, down ? c->follower_id : c->leader_id, PIN_LEN);
	put_number(&i, down ? c->follower_spi.n : c->leader_spi.n, 4);
	return expand(prk, &i, out, suite_key_len(c->suite));
}

/* "sapair/1 said" 00 xid epoch; 4 bytes, big endian, 1 for 0 */
bool keysched_qm_sa_id(const struct key_context *c, const struct secret *prk, uint32_t *qm_sa_id)
{
	SECRET(four);
	struct info i;
	bool ok;

	begin(&i, "sapair/1 said");
	put_run(&i, c);
	ok = expand(prk, &i, &four, 4);
	*qm_sa_id = (uint32_t)be_get(secret_bytes(&four, NULL), 4);
	if (*qm_sa_id == 0)
		*qm_sa_id = 1;
	return ok;
}

/* "sapair/1 tag" 00 xid epoch suite esn ids spis */
bool keysched_tag_key(const struct key_context *c, const struct secret *prk, struct secret *key)
{
	struct info i;

	begin(&i, "sapair/1 tag");
	put_run(&i, c);
	put_choice(&i, c);
	put_both(&i, c);
	return expand(prk, &i, key, SHA256_LEN);
}

/* role H(offer) H(answer) */
bool keysched_tag(const struct secret *key, enum tag_role role,
		  const uint8_t offer_hash[SHA256_LEN], const uint8_t answer_hash[SHA256_LEN],
		  uint8_t tag[TAG_LEN])
{
	const uint8_t role_byte = (uint8_t)role;
	const struct bytes text[] = {{&role_byte, 1},
				     {offer_hash, SHA256_LEN},
				     {answer_hash, SHA256_LEN}};

	return hmac_sha256(key, text, 3, tag);
}

/* PRK of its own: HKDF-Extract(exporter, PPK). Info: "sapair/1 ppk" 00 role (1 client, 2 server) */
bool keysched_ppk_check(const struct secret *exporter, const struct secret *ppk, bool tls_client,
			uint8_t check[TAG_LEN])
{
	SECRET(prk);
	SECRET(out);
	struct info i;

	begin(&i, "sapair/1 ppk");
	put_number(&i, tls_client ? 1 : 2, 1);
	if (hkdf_extract(exporter, ppk, &prk) && expand(&prk, &i, &out, TAG_LEN)) {
		memcpy(check, secret_bytes(&out, NULL), TAG_LEN);
		return true;
	}
	wipe(check, TAG_LEN);
	return false;
}

/* "sapair/1 probe" 00 xid epoch ids spis */
bool keysched_probe(const struct key_context *c, const struct secret *prk, struct secret *out)
{
	struct info i;

	begin(&i, "sapair/1 probe");
	put_run(&i, c);
	put_both(&i, c);
	return expand(prk, &i, out, SHA256_LEN);
}
