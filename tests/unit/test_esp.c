/*
 * proto/esp: published packets byte by byte; every suite seals and opens; forged packets are refused.
 */
#include "proto/esp/esp.h"
#include "crypto/cipher.h"
#include "crypto/hex.h"
#include "crypto/random.h"
#include "tests/t.h"

#define MAX 2048

static uint32_t words[REPLAY_WINDOW_MAX / 32];

static void crypto_starts(void)
{
	CHECK(crypto_start());
}

static struct secret key_of(const char *hex)
{
	struct secret key = {{0}, 0};

	CHECK(hex_get_secret(&key, hex, strlen(hex)));
	return key;
}

static uint64_t be(const uint8_t *p, size_t n)
{
	uint64_t v = 0;

	while (n-- > 0)
		v = v << 8 | *p++;
	return v;
}

/*
 * Complete packets from SPI to ICV, and the high half of their sequence number. Those of the draft
 * (McGrew, 2009) are published; those marked "openssl" were computed with the openssl command (enc,
 * dgst -mac HMAC, mac GMAC) from a payload padded by hand.
 */
static const struct packet_row {
	const char *source;
	enum suite suite;
	bool esn;
	uint64_t seq;
	const char *key, *packet;
} packet_rows[] = {
	{"draft-mcgrew-gcm-test-01 page 6", SUITE_AES128GCM16, true, UINT64_C(0x8765432100000000),
	 "4c80cdefbb5d10da906ac73c3613a6342e443b68",
	 "00004321000000004956ed7e3b244cfefecf537e729d5b07dc30df528dd22b768d1b98736696"
	 "a6fd348509fa13ceac34cfa2436f14a3f3cf65925bf1f4a13c5d15b21e1884f5ff6247aeabb7"
	 "86b93bce61bc17d768fd9732459018148f6cbe722fd04796562dfdb4"},
	{"draft-mcgrew-gcm-test-01 page 7", SUITE_AES128GCM16, false, UINT64_C(0x0000000a),
	 "feffe9928665731c6d6a8f9467308308cafebabe",
	 "0000a5f80000000afacedbaddecaf888deb22cd9b07c72c16e3a65beeb8df304a5a5897d33ae"
	 "530f1ba76d5d114d2a5c3de81827c10e9a4f51330d0eec416642cfbb85a5b47e48a4ec3b9ba9"
	 "5d918bd183b70d3aa8bc6ee4c309e9d85a41ad4a"},
	{"draft-mcgrew-gcm-test-01 page 8", SUITE_AES256GCM16, false, UINT64_C(0x00000002),
	 "abbccddef00112233445566778899aababbccddef00112233445566778899aab11223344",
	 "4a2cbfe3000000020102030405060708ff425c9b724599df7a3bcd510194e00d6a78107f1b0b"
	 "1cbf06efae9d65a5d763748a637985771d347f0545659f14e99def842d8eb335f4eecfdbf831"
	 "824b4c4915956c96"},
	{"draft-mcgrew-gcm-test-01 page 11", SUITE_AES192GCM16, false, UINT64_C(0x0000000a),
	 "feffe9928665731c6d6a8f9467308308feffe9928665731ccafebabe",
	 "0000a5f80000000afacedbaddecaf888a5b1f8066029aea40e598b8122de02420938b3ab33f8"
	 "28e687b8858b5bfbdbd0315b27452144cc7795457b9652037f5318027b5b4cd7a636"},
	{"draft-mcgrew-gcm-test-01 page 12", SUITE_AES128GCM16, true, UINT64_C(0x0000000000000001),
	 "abbccddef00112233445566778899aabdecaf888",
	 "0000010000000001cafedebaceface7418a6fd42f72cbf4ab2a2ea901f73d814e3e7f243d954"
	 "12e1c349c1d2fbec168f9190feebaf2cb01984e65863965d7472b79da345e0e780191f0d2f0e"
	 "0f496c226f2127b27db35724e7845d68651f57e65f354f75ff17015769623436"},
	{"draft-mcgrew-gcm-test-01 page 13", SUITE_AES256GCM16, true, UINT64_C(0x156f3126dd0db99b),
	 "abbccddef00112233445566778899aababbccddef00112233445566778899aab73616c74",
	 "17405e67dd0db99b616e640169766563f2d69ecdbd5a0d5b8d5ef38bad4da58d1f278fde98ef"
	 "67549d524a3018d9a57ff4d3a31ce673119e451626c2415771e3b7eebca614c89b35"},
	{"draft-mcgrew-gcm-test-01 page 16", SUITE_AES128GCM16, false, UINT64_C(0xffffffff),
	 "7d773d00c144c525ac619d18c84a3f47d9664267",
	 "335467aeffffffff43457e9182443bc6437f866bcb3f699fe9b0822bac961c4504bef270"},
	{"draft-mcgrew-gcm-test-01 page 17", SUITE_AES256GCM16, true, UINT64_C(0xffffffffffffffff),
	 "6c6567616c697a656d6172696a75616e61616e64646f69746265666f726569617475726e",
	 "796b6963ffffffff333021696765746df97ab2aa356d8edce17644ac8c78e25dd24dedbb29eb"
	 "f1b64a274b39b49c3a864cd3d78ca4ae68a32b42458fb57dbe821dcc63b9d0937ba2945f6693"
	 "68661a329fb4c053"},
	{"draft-mcgrew-gcm-test-01 page 18", SUITE_AES128GMAC, false, UINT64_C(0x00000007),
	 "4c80cdefbb5d10da906ac73c3613a63422433c64",
	 "0000432100000007000000000000000045000030da3a00008001df3bc0a80005c0a800010800"
	 "c6cd020007006162636465666768696a6b6c6d6e6f707172737401020201f2a9a836e155106a"
	 "a8dcd618e4099aaa"},
	{"draft-mcgrew-gcm-test-01 page 20", SUITE_AES128GCM16, true, UINT64_C(0x8765432100000007),
	 "4c80cdefbb5d10da906ac73c3613a63422433c64",
	 "00004321000000074855ec7d3a234bfd74752e8aeb5d873cd7c0f4acc36c4bff84b7d7b98f0c"
	 "a8b6acda6894bc619069ef9cbc28fe1b56a7c4e0d58c86cd2bc0"},
	{"RFC 3602 case 5, ICV by openssl", SUITE_AES128_SHA1, false, UINT64_C(1),
	 "90d382b410eeba7ad938c46cec1a82bf6b6579206f662073616d706c652073686131206d",
	 "0000432100000001e96e8c08ab465763fd098d45dd3ff893f663c25d325c18c6a9453e194e12"
	 "0849a4870b66cc6b9965330013b4898dc856a4699e523a55db080b59ec3a8e4b7e52775b07d1"
	 "db34ed9c538ab50c551b874aa269add047ad2d5913ac19b7cfbad4a63dd250ebfdb009836d08"
	 "a27a"},
	{"the same, ESN, ICV by openssl", SUITE_AES128_SHA256, true, UINT64_C(0x300000001),
	 "90d382b410eeba7ad938c46cec1a82bf808182838485868788898a8b8c8d8e8f909192939495"
	 "969798999a9b9c9d9e9f",
	 "0000432100000001e96e8c08ab465763fd098d45dd3ff893f663c25d325c18c6a9453e194e12"
	 "0849a4870b66cc6b9965330013b4898dc856a4699e523a55db080b59ec3a8e4b7e52775b07d1"
	 "db34ed9c538ab50c551b874aa269add047ad2d5913ac19b7cfbad4a677b3cb96cf340ff668ed"
	 "a3eea2e92582"},
	{"by openssl", SUITE_AES256_SHA256, false, UINT64_C(7),
	 "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f808182838485"
	 "868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
	 "deadbeef00000007000102030405060708090a0b0c0d0e0f9296cd8bbb4a9234f8958617444d"
	 "f51b4cca39079bfa9581077fce285f778b28e60ac7a3988133745a5930db7b8a04be"},
	{"ESN, ICV by openssl", SUITE_AES256GMAC, true, UINT64_C(0x200000005),
	 "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3fa1b2c3d4",
	 "c0ffee01000000050102030405060708404142434445464748494a4b4c4d4e4f505152535401"
	 "01118ccf1be9f635a0af5393167dfeaac166"},
	{"ICV by openssl", SUITE_AES192GMAC, false, UINT64_C(5),
	 "202122232425262728292a2b2c2d2e2f3031323334353637a1b2c3d4",
	 "c0ffee01000000050102030405060708404142434445464748494a4b4c4d4e4f505152535401"
	 "0111c74bd45d392ff1d0d3325b3679112c9b"},
};
#define PACKET_ROWS (sizeof packet_rows / sizeof packet_rows[0])

static struct esp_in inbound_of(const struct packet_row *r)
{
	struct esp_in in = {.suite = r->suite, .key = key_of(r->key)};

	replay_init(&in.replay, 64, r->esn, words);
	in.replay.top = r->seq - 1; /* as if all earlier packets had arrived */
	return in;
}

static size_t packet_of(uint8_t packet[MAX], const struct packet_row *r)
{
	size_t n = strlen(r->packet) / 2;

	CHECK(n <= MAX && hex_get(packet, n, r->packet, 2 * n));
	return n;
}

static void published_packets_open(void)
{
	for (size_t i = 0; i < PACKET_ROWS; i++) {
		const struct packet_row *r = &packet_rows[i];
		struct esp_in in = inbound_of(r);
		uint8_t packet[MAX], next, *payload;
		size_t n = packet_of(packet, r), len;

		if (!CHECK(esp_open(&in, packet, n, &next, &payload, &len) == ESP_OK)) {
			NOTE("%s", r->source);
			continue;
		}
		CHECK_U64(in.replay.top, r->seq);
		if (next == 4 && len > 0) /* the inner IPv4 header has the length of the payload */
			CHECK(payload[0] >> 4 == 4 && be(payload + 2, 2) == len);
	}
}

/* With a fixed IV, sealing the opened payload gives the same bytes. CBC chooses a random IV. */
static void published_packets_are_made(void)
{
	unsigned made = 0;

	for (size_t i = 0; i < PACKET_ROWS; i++) {
		const struct packet_row *r = &packet_rows[i];
		struct esp_in in = inbound_of(r);
		struct esp_out out = {.suite = r->suite, .esn = r->esn, .seq = r->seq - 1};
		uint8_t want[MAX], packet[MAX], sealed[MAX], next, *payload;
		size_t n = packet_of(want, r), len, sealed_len;

		if (suite_info(r->suite)->kind == SUITE_CBC)
			continue;
		memcpy(packet, want, n);
		if (!CHECK(esp_open(&in, packet, n, &next, &payload, &len) == ESP_OK))
			continue;
		out.key = key_of(r->key);
		out.spi.n = (uint32_t)be(want, 4);
		for (size_t b = 0; b < 8; b++)
			out.iv_salt[b] = want[8 + b] ^ (uint8_t)(r->seq >> (56 - 8 * b));
		CHECK(esp_seal(&out, next, payload, len, sealed, sizeof sealed, &sealed_len) ==
		      ESP_OK);
		if (!CHECK_U64(sealed_len, n) || !CHECK_MEM(sealed, want, n))
			NOTE("%s", r->source);
		made++;
	}
	CHECK_U64(made, 12);
}

/* RFC 3602 section 4: an ICMP echo request, as the RFC has it before encryption. */
static void rfc_3602_gives_the_echo_request(void)
{
	static const char echo[] = "08000ebda70a00008e9c083db95b070008090a0b0c0d0e0f10111213141516"
				   "1718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435"
				   "3637";
	const struct packet_row *r = packet_rows;
	struct esp_in in;
	uint8_t packet[MAX], want[64], next, *payload;
	size_t n, len;

	while (r->suite != SUITE_AES128_SHA1)
		r++;
	in = inbound_of(r);
	n = packet_of(packet, r);
	CHECK(hex_get(want, 64, echo, sizeof echo - 1));
	if (!CHECK(esp_open(&in, packet, n, &next, &payload, &len) == ESP_OK))
		return;
	CHECK_U64(next, 1);
	CHECK_U64(len, 64);
	CHECK_MEM(payload, want, 64);
}

/* Both ends of an SA, with a new key. */
static void make_ends(struct esp_out *out, struct esp_in *in, enum suite suite, bool esn)
{
	memset(out, 0, sizeof *out);
	memset(in, 0, sizeof *in);
	out->spi.n = in->spi.n = 0x12345678;
	out->suite = in->suite = suite;
	out->esn = esn;
	random_secret(&out->key, suite_key_len(suite));
	in->key = out->key;
	random_bytes(out->iv_salt, sizeof out->iv_salt);
	replay_init(&in->replay, 64, esn, words);
}

static void every_suite_seals_and_opens_every_length(void)
{
	uint8_t sent[600], packet[MAX], next, *payload;
	size_t n, len;

	for (size_t i = 0; i < sizeof sent; i++)
		sent[i] = (uint8_t)(7 * i);
	for (unsigned s = 0; s < SUITE_COUNT; s++)
		for (int esn = 0; esn < 2; esn++) {
			struct esp_out out;
			struct esp_in in;

			make_ends(&out, &in, (enum suite)s, esn != 0);
			if (esn != 0) /* crosses a change of the high half */
				out.seq = in.replay.top = (UINT64_C(4) << 32) - 40;
			for (size_t l = 0; l < 80; l++) {
				size_t send = l < 70 ? l : 8 * l - 40;
				bool good = esp_seal(&out, ESP_NEXT_UDP, sent, send, packet,
						     sizeof packet, &n) == ESP_OK &&
					    n <= send + ESP_OVERHEAD_MAX &&
					    esp_open(&in, packet, n, &next, &payload, &len) ==
						    ESP_OK &&
					    next == ESP_NEXT_UDP && len == send &&
					    memcmp(payload, sent, send) == 0;

				if (!CHECK(good)) {
					NOTE("%s, esn %d, %zu bytes",
					     suite_info((enum suite)s)->name, esn, send);
					break;
				}
			}
		}
}

static void every_changed_bit_is_detected(void)
{
	uint8_t sealed[MAX], packet[MAX], next, *payload;
	size_t n, len;

	for (unsigned s = 0; s < SUITE_COUNT; s++)
		for (int esn = 0; esn < 2; esn++) {
			struct esp_out out;
			struct esp_in in;

			make_ends(&out, &in, (enum suite)s, esn != 0);
			CHECK(esp_seal(&out, ESP_NEXT_UDP, (const uint8_t *)"probe", 5, sealed,
				       sizeof sealed, &n) == ESP_OK);
			for (size_t bit = 0; bit < 8 * n; bit++) {
				enum esp_fault f;

				memcpy(packet, sealed, n);
				packet[bit / 8] ^= (uint8_t)(0x80u >> bit % 8);
				f = esp_open(&in, packet, n, &next, &payload, &len);
				/* A number outside the window is refused before the ICV is checked. */
				if (!CHECK(f == ESP_INTEGRITY || f == ESP_REPLAYED))
					NOTE("%s, esn %d, bit %zu", suite_info((enum suite)s)->name,
					     esn, bit);
			}
			CHECK_U64(in.replay.top, 0); /* forgeries do not move the window */
			memcpy(packet, sealed, n);
			if (esn != 0) { /* the high half, which is not in the packet */
				in.replay.top = UINT64_C(1) << 32;
				CHECK(esp_open(&in, packet, n, &next, &payload, &len) ==
				      ESP_INTEGRITY);
			}
		}
}

static void truncated_packets_are_refused(void)
{
	uint8_t sealed[MAX], packet[MAX + 64], next, *payload;
	size_t n, len;

	for (unsigned s = 0; s < SUITE_COUNT; s++) {
		struct esp_out out;
		struct esp_in in;

		make_ends(&out, &in, (enum suite)s, true);
		CHECK(esp_seal(&out, 17, (const uint8_t *)"0123456789", 10, sealed, sizeof sealed,
			       &n) == ESP_OK);
		for (size_t cut = 8; cut <= n + 40; cut++) {
			enum esp_fault f;

			if (cut == n)
				continue;
			memset(packet, 0, sizeof packet);
			memcpy(packet, sealed, cut < n ? cut : n);
			f = esp_open(&in, packet, cut, &next, &payload, &len);
			if (!CHECK(f == ESP_SHORT || f == ESP_INTEGRITY))
				NOTE("%s, %zu of %zu bytes", suite_info((enum suite)s)->name, cut,
				     n);
		}
	}
}

static void a_replay_is_refused_before_the_icv(void)
{
	uint8_t sealed[MAX], packet[MAX], next, *payload;
	struct esp_out out;
	struct esp_in in;
	size_t n, len;

	make_ends(&out, &in, SUITE_AES256GCM16, false);
	CHECK(esp_seal(&out, 17, (const uint8_t *)"x", 1, sealed, sizeof sealed, &n) == ESP_OK);
	memcpy(packet, sealed, n);
	CHECK(esp_open(&in, packet, n, &next, &payload, &len) == ESP_OK);
	memcpy(packet, sealed, n);
	CHECK(esp_open(&in, packet, n, &next, &payload, &len) == ESP_REPLAYED);
	sealed[n - 1] ^= 1;
	CHECK(esp_open(&in, sealed, n, &next, &payload, &len) == ESP_REPLAYED);
}

static void sequence_numbers_do_not_wrap(void)
{
	static const uint8_t payload[4];
	uint8_t packet[MAX];
	struct esp_out out;
	struct esp_in in;
	size_t n;

	make_ends(&out, &in, SUITE_AES128GCM16, false);
	out.seq = UINT32_MAX - 1;
	CHECK(esp_seal(&out, 17, payload, 4, packet, sizeof packet, &n) == ESP_OK);
	CHECK(esp_seal(&out, 17, payload, 4, packet, sizeof packet, &n) == ESP_EXHAUSTED);
	CHECK(esp_seal(&out, 17, payload, 4, packet, sizeof packet, &n) == ESP_EXHAUSTED);
	CHECK_U64(out.seq, UINT32_MAX);
	out.esn = true;
	CHECK(esp_seal(&out, 17, payload, 4, packet, sizeof packet, &n) == ESP_OK);
	CHECK_U64(out.seq, UINT64_C(1) << 32);
	out.seq = UINT64_MAX;
	CHECK(esp_seal(&out, 17, payload, 4, packet, sizeof packet, &n) == ESP_EXHAUSTED);
}

static void ivs_differ(void)
{
	uint8_t a[MAX], b[MAX];
	struct esp_out out;
	struct esp_in in;
	size_t n;

	for (unsigned s = 0; s < SUITE_COUNT; s++) {
		make_ends(&out, &in, (enum suite)s, false);
		CHECK(esp_seal(&out, 17, (const uint8_t *)"x", 1, a, sizeof a, &n) == ESP_OK);
		CHECK(esp_seal(&out, 17, (const uint8_t *)"x", 1, b, sizeof b, &n) == ESP_OK);
		CHECK(memcmp(a + 8, b + 8, suite_info((enum suite)s)->iv_len) != 0);
	}
}

static void the_payload_may_overlap_the_packet(void)
{
	uint8_t packet[MAX], next, *payload;
	struct esp_out out;
	struct esp_in in;
	size_t n, len;

	make_ends(&out, &in, SUITE_AES128_SHA256, true);
	memcpy(packet, "in place", 8);
	CHECK(esp_seal(&out, 17, packet, 8, packet, sizeof packet, &n) == ESP_OK);
	CHECK(esp_open(&in, packet, n, &next, &payload, &len) == ESP_OK);
	CHECK_U64(len, 8);
	CHECK_MEM(payload, "in place", 8);
}

static void too_long_a_payload_is_refused(void)
{
	static uint8_t payload[MAX], packet[MAX];
	struct esp_out out;
	struct esp_in in;
	size_t n;

	make_ends(&out, &in, SUITE_AES256_SHA256, true);
	CHECK(esp_seal(&out, 17, payload, MAX - ESP_OVERHEAD_MAX + 1, packet, MAX, &n) ==
	      ESP_NO_ROOM);
	CHECK(esp_seal(&out, 17, payload, SIZE_MAX, packet, MAX, &n) == ESP_NO_ROOM);
	CHECK_U64(out.seq, 0);
	CHECK(esp_seal(&out, 17, payload, MAX - ESP_OVERHEAD_MAX, packet, MAX, &n) == ESP_OK);
	CHECK(n <= MAX);
}

/* Replaces the 4-byte body of a GCM packet, with a valid ICV. */
static void reseal(const struct esp_out *out, uint8_t *packet, const uint8_t body[4])
{
	size_t len;
	const uint8_t *key = secret_bytes(&out->key, &len);
	uint8_t nonce[GCM_NONCE_LEN];

	memcpy(nonce, key + 16, 4);
	memcpy(nonce + 4, packet + 8, 8);
	memcpy(packet + 16, body, 4);
	CHECK(gcm_seal(key, 16, nonce, packet, 8, packet + 16, 4));
}

static void impossible_padding_is_refused(void)
{
	static const struct {
		uint8_t body[4]; /* the last two: pad length, next header */
		enum esp_fault want;
	} rows[] = {
		{{1, 2, 2, 17}, ESP_OK},        {{9, 1, 1, 17}, ESP_OK},
		{{9, 9, 0, 17}, ESP_OK},        {{1, 3, 2, 17}, ESP_PADDING},
		{{9, 2, 1, 17}, ESP_PADDING},   {{1, 2, 3, 17}, ESP_PADDING},
		{{1, 2, 255, 17}, ESP_PADDING},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		uint8_t packet[MAX], next, *payload;
		struct esp_out out;
		struct esp_in in;
		size_t n, len;

		make_ends(&out, &in, SUITE_AES128GCM16, false);
		CHECK(esp_seal(&out, 17, rows[i].body, 2, packet, sizeof packet, &n) == ESP_OK);
		CHECK_U64(n, 8 + 8 + 4 + 16);
		reseal(&out, packet, rows[i].body);
		CHECK(esp_open(&in, packet, n, &next, &payload, &len) == rows[i].want);
		CHECK_U64(in.replay.top, 1);
	}
}

static void an_spi_is_read(void)
{
	static const uint8_t packet[8] = {0xc0, 0xff, 0xee, 0x01};
	struct spi spi = {0};

	CHECK(!esp_peek(packet, 7, &spi));
	CHECK(esp_peek(packet, 8, &spi) && spi.n == 0xc0ffee01);
}

T_MAIN(T(crypto_starts), T(published_packets_open), T(published_packets_are_made),
       T(rfc_3602_gives_the_echo_request), T(every_suite_seals_and_opens_every_length),
       T(every_changed_bit_is_detected), T(truncated_packets_are_refused),
       T(a_replay_is_refused_before_the_icv), T(sequence_numbers_do_not_wrap), T(ivs_differ),
       T(the_payload_may_overlap_the_packet), T(too_long_a_payload_is_refused),
       T(impossible_padding_is_refused), T(an_spi_is_read))
