/*
 * proto/esp/esp.c - ESP packets with the three kinds of suite.
 *
 *     kind   nonce or IV            the ICV covers                                   ESN high half
 *     GCM    salt 4 | IV 8          SPI, number as AAD; the encrypted rest           in the AAD
 *     GMAC   salt 4 | IV 8          SPI, number, IV and all that follows, as AAD     in the AAD
 *     CBC    IV 16                  the packet                                       after it
 *
 * RFC 4106 section 5, RFC 4543 section 3.3, RFC 4303 section 2.2.1.
 */
#include "proto/esp/esp.h"
#include "crypto/bytes.h"
#include "crypto/cipher.h"
#include "crypto/random.h"

#include <string.h>

#define HEAD 8    /* SPI and the low half of the sequence number */
#define TRAILER 2 /* pad length and next header */
#define SALT 4
#define GCM_IV 8
#define ICV_MAX 16

/* The alignment of a packet's body: the cipher's block, or 4 (RFC 4303 section 2.4). */
static size_t block_of(const struct suite_info *s)
{
	return s->kind == SUITE_CBC ? 16 : 4;
}

static enum mac_kind mac_of(enum suite s)
{
	return s == SUITE_AES128_SHA1 ? MAC_SHA1_96 : MAC_SHA256_128;
}

/* The SPI and sequence number that GCM and GMAC authenticate; returns the length. */
static size_t put_aad(uint8_t aad[HEAD + 4], const uint8_t *packet, uint64_t seq, bool esn)
{
	memcpy(aad, packet, 4);
	if (!esn) {
		be_put(aad + 4, seq, 4);
		return 8;
	}
	be_put(aad + 4, seq >> 32, 4);
	be_put(aad + 8, seq, 4);
	return 12;
}

typedef bool aead(const uint8_t *key, size_t key_len, const uint8_t nonce[GCM_NONCE_LEN],
		  const uint8_t *aad, size_t aad_len, uint8_t *data, size_t n);

/* Calls gcm_seal() or gcm_open(). The key material is key, then salt. */
static bool run_aead(aead *f, const struct secret *material, const struct suite_info *s,
		     const uint8_t iv[GCM_IV], const uint8_t *aad, size_t aad_len, uint8_t *data,
		     size_t n)
{
	size_t len;
	const uint8_t *key = secret_bytes(material, &len);
	uint8_t nonce[GCM_NONCE_LEN];
	bool done;

	memcpy(nonce, key + s->enc_key_len, SALT);
	memcpy(nonce + SALT, iv, GCM_IV);
	done = f(key, s->enc_key_len, nonce, aad, aad_len, data, n);
	wipe(nonce, sizeof nonce);
	return done;
}

static bool run_gcm(aead *f, const struct secret *material, const struct suite_info *s,
		    uint8_t *packet, size_t covered, uint64_t seq, bool esn)
{
	uint8_t aad[HEAD + 4], *iv = packet + HEAD, *body = iv + GCM_IV;
	size_t aad_len = put_aad(aad, packet, seq, esn);

	return run_aead(f, material, s, iv, aad, aad_len, body, covered - HEAD - GCM_IV);
}

/*
 * Everything is AAD. With ESN the AAD contains four bytes that the packet does not: the rest of the
 * packet is moved up to insert them, over the ICV, which is saved in icv, and then moved back.
 */
static bool run_gmac(aead *f, const struct secret *material, const struct suite_info *s,
		     uint8_t *packet, size_t covered, uint64_t seq, bool esn)
{
	uint8_t aad[HEAD + 4], iv[GCM_IV], icv[ICV_MAX];
	const size_t head = put_aad(aad, packet, seq, esn), rest = covered - HEAD;
	bool done;

	memcpy(iv, packet + HEAD, sizeof iv);
	memcpy(icv, packet + covered, sizeof icv);
	memmove(packet + head, packet + HEAD, rest);
	memcpy(packet, aad, head);
	done = run_aead(f, material, s, iv, packet, head + rest, icv, 0);
	memmove(packet + HEAD, packet + head, rest);
	be_put(packet + 4, seq, 4);
	memcpy(packet + covered, icv, sizeof icv);
	return done;
}

/* Keys of a CBC suite: encryption key, then MAC key. */
static bool cbc_seal(const struct esp_out *sa, const struct suite_info *s, uint8_t *packet,
		     size_t covered)
{
	size_t len;
	const uint8_t *key = secret_bytes(&sa->key, &len);
	uint8_t *iv = packet + HEAD, *body = iv + s->iv_len;
	uint8_t high[4];

	be_put(high, sa->seq >> 32, 4);
	return cbc_encrypt(key, s->enc_key_len, iv, body, covered - HEAD - s->iv_len) &&
	       mac_make(mac_of(sa->suite), key + s->enc_key_len, s->mac_key_len, packet, covered,
			high, sa->esn ? sizeof high : 0, packet + covered);
}

static bool cbc_open(const struct esp_in *sa, const struct suite_info *s, uint8_t *packet,
		     size_t covered, uint64_t seq)
{
	size_t len;
	const uint8_t *key = secret_bytes(&sa->key, &len);
	uint8_t *iv = packet + HEAD, *body = iv + s->iv_len;
	uint8_t high[4];

	be_put(high, seq >> 32, 4);
	return mac_check(mac_of(sa->suite), key + s->enc_key_len, s->mac_key_len, packet, covered,
			 high, sa->replay.esn ? sizeof high : 0, packet + covered) &&
	       cbc_decrypt(key, s->enc_key_len, iv, body, covered - HEAD - s->iv_len);
}

/* Unique for each key, as GCM requires (RFC 4106 section 3.1). */
static void put_counter_iv(uint8_t *iv, const struct esp_out *sa)
{
	be_put(iv, sa->seq >> 32, 4);
	be_put(iv + 4, sa->seq, 4);
	for (size_t i = 0; i < GCM_IV; i++)
		iv[i] ^= sa->iv_salt[i];
}

bool esp_peek(const uint8_t *packet, size_t n, struct spi *spi)
{
	if (n < HEAD)
		return false;
	spi->n = (uint32_t)be_get(packet, 4);
	return true;
}

enum esp_fault esp_seal(struct esp_out *sa, uint8_t next_header, const uint8_t *payload,
			size_t payload_len, uint8_t *packet, size_t size, size_t *n)
{
	const struct suite_info *s = suite_info(sa->suite);
	const size_t block = block_of(s), head = HEAD + (size_t)s->iv_len;
	size_t pad, covered;
	uint8_t *body = packet + head;
	bool done = false;

	if (payload_len > size || size - payload_len < ESP_OVERHEAD_MAX)
		return ESP_NO_ROOM;
	if (sa->seq == (sa->esn ? UINT64_MAX : UINT32_MAX))
		return ESP_EXHAUSTED;
	sa->seq++; /* a number is used once, even if sealing fails */

	pad = (block - (payload_len + TRAILER) % block) % block;
	covered = head + payload_len + pad + TRAILER;
	memmove(body, payload, payload_len);
	for (size_t i = 0; i < pad; i++)
		body[payload_len + i] = (uint8_t)(i + 1);
	body[payload_len + pad] = (uint8_t)pad;
	body[payload_len + pad + 1] = next_header;
	be_put(packet, sa->spi.n, 4);
	be_put(packet + 4, sa->seq, 4);

	switch (s->kind) {
	case SUITE_GCM:
		put_counter_iv(packet + HEAD, sa);
		done = run_gcm(gcm_seal, &sa->key, s, packet, covered, sa->seq, sa->esn);
		break;
	case SUITE_GMAC:
		put_counter_iv(packet + HEAD, sa);
		done = run_gmac(gcm_seal, &sa->key, s, packet, covered, sa->seq, sa->esn);
		break;
	case SUITE_CBC:
		random_bytes(packet + HEAD, s->iv_len);
		done = cbc_seal(sa, s, packet, covered);
		break;
	}
	*n = covered + s->icv_len;
	if (!done)
		wipe(packet, *n);
	return done ? ESP_OK : ESP_NO_MEMORY;
}

/* The decrypted body: payload, padding 1 2 3 .., pad length, next header. */
static bool unpad(const uint8_t *body, size_t n, size_t *payload_len, uint8_t *next_header)
{
	const size_t pad = body[n - TRAILER];

	if (pad > n - TRAILER)
		return false;
	*payload_len = n - TRAILER - pad;
	*next_header = body[n - 1];
	for (size_t i = 0; i < pad; i++)
		if (body[*payload_len + i] != i + 1)
			return false;
	return true;
}

enum esp_fault esp_open(struct esp_in *sa, uint8_t *packet, size_t n, uint8_t *next_header,
			uint8_t **payload, size_t *payload_len)
{
	const struct suite_info *s = suite_info(sa->suite);
	const size_t head = HEAD + (size_t)s->iv_len, block = block_of(s);
	uint8_t *body = packet + head;
	size_t covered;
	uint64_t seq;
	bool good = false;

	if (n < head + block + s->icv_len || (n - head - s->icv_len) % block != 0)
		return ESP_SHORT;
	if (!replay_check(&sa->replay, (uint32_t)be_get(packet + 4, 4), &seq))
		return ESP_REPLAYED;
	covered = n - s->icv_len;

	switch (s->kind) {
	case SUITE_GCM:
		good = run_gcm(gcm_open, &sa->key, s, packet, covered, seq, sa->replay.esn);
		break;
	case SUITE_GMAC:
		good = run_gmac(gcm_open, &sa->key, s, packet, covered, seq, sa->replay.esn);
		break;
	case SUITE_CBC:
		good = cbc_open(sa, s, packet, covered, seq);
		break;
	}
	if (!good) {
		wipe(packet, n);
		return ESP_INTEGRITY;
	}
	/* Authentic: update the window before any other check (RFC 4303 section 3.4.3). */
	if (!replay_update(&sa->replay, seq)) {
		wipe(packet, n);
		return ESP_REPLAYED;
	}
	if (!unpad(body, covered - head, payload_len, next_header)) {
		wipe(packet, n);
		return ESP_PADDING;
	}
	*payload = body;
	return ESP_OK;
}
