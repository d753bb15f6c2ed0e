/*
 * crypto/cipher: published vectors; forged texts and wrong sizes are refused.
 */
#include "crypto/cipher.h"
#include "crypto/hex.h"
#include "crypto/random.h"
#include "tests/t.h"

#define MAX 128

/* Decodes hex; returns the number of bytes. */
static size_t unhex(uint8_t *to, const char *text)
{
	size_t n = strlen(text) / 2;

	if (n > MAX || !CHECK(hex_get(to, n, text, 2 * n)))
		return 0;
	return n;
}

#define GCM_PLAIN                                                                                  \
	"d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e24" \
	"49a6b525b16aedf5aa0de657ba637b39"
#define GCM_KEY "feffe9928665731c6d6a8f9467308308"
#define GCM_IV "cafebabefacedbaddecaf888"
#define GCM_AAD "feedfacedeadbeeffeedfacedeadbeefabaddad2"
#define ZERO16 "00000000000000000000000000000000"
#define ZERO12 "000000000000000000000000"

/* McGrew and Viega, "The Galois/Counter Mode of Operation", appendix B, by test case */
static const struct gcm_row {
	int number;
	const char *key, *nonce, *aad, *plain, *sealed, *tag;
} gcm_rows[] = {
	{1, ZERO16, ZERO12, "", "", "", "58e2fccefa7e3061367f1d57a4e7455a"},
	{2, ZERO16, ZERO12, "", ZERO16, "0388dace60b6a392f328c2b971b2fe78",
	 "ab6e47d42cec13bdf53a67b21257bddf"},
	{3, GCM_KEY, GCM_IV, "", GCM_PLAIN "1aafd255",
	 "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5a"
	 "ac84aa051ba30b396a0aac973d58e091473f5985",
	 "4d5c2af327cd64a62cf35abd2ba6fab4"},
	{4, GCM_KEY, GCM_IV, GCM_AAD, GCM_PLAIN,
	 "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5a"
	 "ac84aa051ba30b396a0aac973d58e091",
	 "5bc94fbc3221a5db94fae95ae7121a47"},
	{7, ZERO16 "0000000000000000", ZERO12, "", "", "", "cd33b28ac773f74ba00ed1f312572435"},
	{8, ZERO16 "0000000000000000", ZERO12, "", ZERO16, "98e7247c07f0fe411c267e4384b0f600",
	 "2ff58d80033927ab8ef4d4587514f0fb"},
	{10, GCM_KEY "feffe9928665731c", GCM_IV, GCM_AAD, GCM_PLAIN,
	 "3980ca0b3c00e841eb06fac4872a2757859e1ceaa6efd984628593b40ca1e19c7d773d00c144c525ac619d18"
	 "c84a3f4718e2448b2fe324d9ccda2710",
	 "2519498e80f1478f37ba55bd6d27618c"},
	{13, ZERO16 ZERO16, ZERO12, "", "", "", "530f8afbc74536b9a963b4f1c4cb738b"},
	{14, ZERO16 ZERO16, ZERO12, "", ZERO16, "cea7403d4d606b6e074ec5d3baf39d18",
	 "d0d1c8a799996bf0265b98b5d48ab919"},
	{16, GCM_KEY GCM_KEY, GCM_IV, GCM_AAD, GCM_PLAIN,
	 "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b10"
	 "56828838c5f61e6393ba7a0abcc9f662",
	 "76fc6ece0f4e1768cddf8853bb2d551b"},
};

static void gcm_gives_the_published_vectors(void)
{
	for (size_t i = 0; i < sizeof gcm_rows / sizeof gcm_rows[0]; i++) {
		const struct gcm_row *r = &gcm_rows[i];
		uint8_t key[MAX], nonce[MAX], aad[MAX], plain[MAX], data[MAX], want[MAX];
		size_t key_len = unhex(key, r->key), aad_len = unhex(aad, r->aad);
		size_t n = unhex(plain, r->plain);

		NOTE("test case %d", r->number);
		unhex(nonce, r->nonce);
		unhex(want, r->sealed);
		unhex(want + n, r->tag);
		memcpy(data, plain, n);
		CHECK(gcm_seal(key, key_len, nonce, aad, aad_len, data, n));
		CHECK_MEM(data, want, n + GCM_TAG_LEN);
		CHECK(gcm_open(key, key_len, nonce, aad, aad_len, data, n));
		CHECK_MEM(data, plain, n);
	}
}

static void gcm_detects_every_flipped_bit(void)
{
	uint8_t key[32] = {1}, nonce[12] = {2}, aad[8] = {3},
		sealed[20 + GCM_TAG_LEN] = "twenty bytes of data";
	static const uint8_t nothing[20];

	CHECK(gcm_seal(key, 32, nonce, aad, sizeof aad, sealed, 20));
	for (size_t bit = 0; bit < 8 * sizeof sealed; bit++) {
		uint8_t data[sizeof sealed];

		memcpy(data, sealed, sizeof data);
		data[bit / 8] ^= (uint8_t)(1U << bit % 8);
		CHECK(!gcm_open(key, 32, nonce, aad, sizeof aad, data, 20));
		CHECK_MEM(data, nothing, 20); /* unauthenticated plain text is wiped */
	}
	for (size_t bit = 0; bit < 8 * sizeof aad; bit++) {
		uint8_t data[sizeof sealed];

		memcpy(data, sealed, sizeof data);
		aad[bit / 8] ^= (uint8_t)(1U << bit % 8);
		CHECK(!gcm_open(key, 32, nonce, aad, sizeof aad, data, 20));
		aad[bit / 8] ^= (uint8_t)(1U << bit % 8);
	}
	nonce[0]++;
	CHECK(!gcm_open(key, 32, nonce, aad, sizeof aad, sealed, 20));
}

static void wrong_sizes_are_refused(void)
{
	uint8_t key[33] = {0}, iv[16] = {0}, data[64] = {0}, out[32];

	for (size_t len = 0; len <= 33; len++) {
		bool right = len == 16 || len == 24 || len == 32;

		CHECK(gcm_seal(key, len, iv, NULL, 0, data, 32) == right);
		CHECK(cbc_encrypt(key, len, iv, data, 32) == right);
		CHECK(cbc_decrypt(key, len, iv, data, 32) == right);
	}
	for (size_t n = 0; n <= 48; n++)
		CHECK(cbc_encrypt(key, 16, iv, data, n) == (n % 16 == 0) &&
		      cbc_decrypt(key, 16, iv, data, n) == (n % 16 == 0));
	CHECK(!mac_make(MAC_SHA256_128, key, 0, data, 1, NULL, 0, out));
	CHECK(!mac_make(MAC_SHA1_96, data, 65, data, 1, NULL, 0, out));
}

/* RFC 3602 section 4 cases 1 to 4, NIST SP 800-38A F.2.5 */
static const struct {
	const char *key, *iv, *plain, *sealed;
} cbc_rows[] = {
	{"06a9214036b8a15b512e03d534120006", "3dafba429d9eb430b422da802c9fac41",
	 "53696e676c6520626c6f636b206d7367", "e353779c1079aeb82708942dbe77181a"},
	{"c286696d887c9aa0611bbb3e2025a45a", "562e17996d093d28ddb3ba695a2e6f58",
	 "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
	 "d296cd94c2cccf8a3a863028b5e1dc0a7586602d253cfff91b8266bea6d61ab1"},
	{"6c3ea0477630ce21a2ce334aa746c2cd", "c782dc4c098c66cbd9cd27d825682c81",
	 "5468697320697320612034382d62797465206d657373616765202865786163746c7920332041455320626c6f"
	 "636b7329",
	 "d0a02b3836451753d493665d33f0e8862dea54cdb293abc7506939276772f8d5021c19216bad525c8579695d"
	 "83ba2684"},
	{"56e47a38c5598974bc46903dba290349", "8ce82eefbea0da3c44699ed7db51b7d9",
	 "a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacb"
	 "cccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedf",
	 "c30e32ffedc0774e6aff6af0869f71aa0f3af07a9a31a9c684db207eb0ef8e4e35907aa632c3ffdf868bb7b2"
	 "9d3d46ad83ce9f9a102ee99d49a53e87f4c3da55"},
	{"603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
	 "000102030405060708090a0b0c0d0e0f",
	 "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc119"
	 "1a0a52eff69f2445df4f9b17ad2b417be66c3710",
	 "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d39f23369a9d9bacfa530e263"
	 "04231461b2eb05e2c39be9fcda6c19078c6a9d1b"},
};

static void cbc_gives_the_published_vectors(void)
{
	for (size_t i = 0; i < sizeof cbc_rows / sizeof cbc_rows[0]; i++) {
		uint8_t key[MAX], iv[MAX], plain[MAX], data[MAX], want[MAX];
		size_t key_len = unhex(key, cbc_rows[i].key);
		size_t n = unhex(plain, cbc_rows[i].plain);

		NOTE("row %d", (int)i);
		unhex(iv, cbc_rows[i].iv);
		unhex(want, cbc_rows[i].sealed);
		memcpy(data, plain, n);
		CHECK(cbc_encrypt(key, key_len, iv, data, n));
		CHECK_MEM(data, want, n);
		CHECK(cbc_decrypt(key, key_len, iv, data, n));
		CHECK_MEM(data, plain, n);
	}
}

/* RFC 4868 section 2.7.2.1 (AUTH256-1 to 4); RFC 2202 section 3, cut to 96 bits as RFC 2404 does */
#define R10(x) x x x x x x x x x x
#define COUNT25 "0102030405060708090a0b0c0d0e0f10111213141516171819"
static const struct {
	enum mac_kind kind;
	const char *key, *data, *tag;
} mac_rows[] = {
	{MAC_SHA256_128, R10("0b0b0b") "0b0b", "4869205468657265",
	 "198a607eb44bfbc69903a0f1cf2bbdc5"},
	{MAC_SHA256_128, "4a6566654a6566654a6566654a6566654a6566654a6566654a6566654a656665",
	 "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
	 "167f928588c5cc2eef8e3093caa0e87c"},
	{MAC_SHA256_128, R10("aaaaaa") "aaaa", R10("dddddddddd"),
	 "cdcb1220d1ecccea91e53aba3092f962"},
	{MAC_SHA256_128, COUNT25 "1a1b1c1d1e1f20", R10("cdcdcdcdcd"),
	 "372efcf9b40b35c2115b1346903d2ef4"},
	{MAC_SHA1_96, R10("0b0b"), "4869205468657265", "b617318655057264e28bc0b6"},
	{MAC_SHA1_96, "4a656665", "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
	 "effcdf6ae5eb2fa2d27416d5"},
	{MAC_SHA1_96, R10("aaaa"), R10("dddddddddd"), "125d7342b9ac11cd91a39af4"},
	{MAC_SHA1_96, COUNT25, R10("cdcdcdcdcd"), "4c9007f4026250c6bc8414f9"},
	{MAC_SHA1_96, R10("0c0c"), "546573742057697468205472756e636174696f6e",
	 "4c1a03424b55e07fe7f27be1"},
};

static void macs_give_the_published_vectors(void)
{
	for (size_t i = 0; i < sizeof mac_rows / sizeof mac_rows[0]; i++) {
		enum mac_kind kind = mac_rows[i].kind;
		uint8_t key[MAX], data[MAX], want[MAX], tag[MAX] = {0};
		size_t key_len = unhex(key, mac_rows[i].key);
		size_t n = unhex(data, mac_rows[i].data);

		NOTE("row %d", (int)i);
		CHECK_U64(unhex(want, mac_rows[i].tag), mac_len(kind));
		for (size_t cut = 0; cut <= n; cut++) {
			memset(tag, 0x55, sizeof tag);
			CHECK(mac_make(kind, key, key_len, data, cut, data + cut, n - cut, tag));
			CHECK_MEM(tag, want, mac_len(kind));
			CHECK(tag[mac_len(kind)] == 0x55);
		}
		CHECK(mac_check(kind, key, key_len, data, n, NULL, 0, want));
		for (size_t bit = 0; bit < 8 * mac_len(kind); bit++) {
			want[bit / 8] ^= (uint8_t)(1U << bit % 8);
			CHECK(!mac_check(kind, key, key_len, data, n, NULL, 0, want));
			want[bit / 8] ^= (uint8_t)(1U << bit % 8);
		}
	}
}

/* PSA has 32 key slots in its smaller builds: none may stay in use, even after a failure. */
static void no_key_slot_is_kept(void)
{
	uint8_t key[32] = {0}, iv[16] = {0}, data[32 + GCM_TAG_LEN] = {0};

	for (int i = 0; i < 3000; i++) {
		memset(data, 0, sizeof data);
		CHECK(!gcm_open(key, 32, iv, NULL, 0, data, 32));
		CHECK(gcm_seal(key, 32, iv, NULL, 0, data, 32));
		CHECK(cbc_encrypt(key, 32, iv, data, 32) && cbc_decrypt(key, 16, iv, data, 32));
	}
}

static void start(void)
{
	CHECK(crypto_start());
}

T_MAIN(T(start), T(gcm_gives_the_published_vectors), T(gcm_detects_every_flipped_bit),
       T(wrong_sizes_are_refused), T(cbc_gives_the_published_vectors),
       T(macs_give_the_published_vectors), T(no_key_slot_is_kept))
