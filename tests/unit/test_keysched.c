/*
 * proto/exchange/keysched: the vectors of docs/protocol.md; every input changes the output.
 *
 * The expected values come from tests/unit/vectors_keysched.py, which has its own HKDF.
 */
#include "proto/exchange/keysched.h"
#include "crypto/hex.h"
#include "crypto/random.h"
#include "tests/t.h"

static struct secret exporter, leader_share, follower_share, ppk32, ppk64, prk;
static uint8_t offer_hash[SHA256_LEN], answer_hash[SHA256_LEN];
static struct key_context c;

static void count_up(uint8_t *p, unsigned first, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(first + i);
}

static void fill(struct secret *s, unsigned first, size_t n)
{
	count_up(secret_room(s, n), first, n);
}

/* The inputs of the vectors. */
static void reset(void)
{
	crypto_start();
	fill(&exporter, 0x00, 32);
	fill(&leader_share, 0x20, 32);
	fill(&follower_share, 0x40, 32);
	fill(&ppk32, 0xa0, 32);
	fill(&ppk64, 0xa0, 64);
	count_up(offer_hash, 0xc0, sizeof offer_hash);
	count_up(answer_hash, 0xe0, sizeof answer_hash);
	c = (struct key_context){
		.exporter = &exporter,
		.xid = UINT64_C(0x0102030405060708),
		.epoch = 42,
		.suite = SUITE_AES256GCM16,
		.leader_spi = {0xc0ffee01},
		.follower_spi = {0x100},
	};
	count_up(c.leader_id, 0x60, PIN_LEN);
	count_up(c.follower_id, 0x80, PIN_LEN);
	CHECK(keysched_extract(&c, &leader_share, &follower_share, &prk));
}

static void check_secret(const struct secret *is, const char *want)
{
	char hex[2 * SECRET_MAX + 1];

	hex_put_secret(hex, is);
	CHECK_STR(hex, want);
}

static void check_bytes(const uint8_t *is, size_t n, const char *want)
{
	char hex[2 * SECRET_MAX + 1];

	hex_put(hex, is, n);
	CHECK_STR(hex, want);
}

static void prk_is_that_of_the_vectors_with_and_without_ppk(void)
{
	struct secret empty = {{0}, 0};

	reset();
	check_secret(&prk, "66cd0ee63055effd24c52b90779f9a43e1e1532844604980435267fcb4517027");
	c.ppk = &empty;
	CHECK(keysched_extract(&c, &leader_share, &follower_share, &prk));
	check_secret(&prk, "66cd0ee63055effd24c52b90779f9a43e1e1532844604980435267fcb4517027");
	c.ppk = &ppk32;
	CHECK(keysched_extract(&c, &leader_share, &follower_share, &prk));
	check_secret(&prk, "d1eee2fa6c94371473438e60c5fe422303dd451910075dac00430739829df195");
	c.ppk = &ppk64;
	CHECK(keysched_extract(&c, &leader_share, &follower_share, &prk));
	check_secret(&prk, "b37be26863ee4754de211af0bf1da9756f1f64ff71f2115d82d055cf635622a4");
}

static void sa_keys_are_those_of_the_vectors_for_every_suite(void)
{
	static const char *const want[SUITE_COUNT] = {
		[SUITE_AES256GCM16] = "3e226d2182ccd8c4f6021ec4a8ac7da441f30191745bd5a4207318f911d9"
				      "d61a302170af",
		[SUITE_AES128GCM16] = "98d8956179a361ff3d7a90787784d7a75b7bbf97",
		[SUITE_AES192GCM16] = "de6319473da760e18e58dbad6d8fe19d123bb2962e7350b01004baae",
		[SUITE_AES256_SHA256] = "2d898010e70811bcb8b6efbc25fa1ca8da7b5599f912c8f32340eb3d84"
					"812713752a91dbf39bf9399c42c9f750f563a6dbc76704ec78efaba0ac"
					"22b0333db190",
		[SUITE_AES128_SHA256] = "82db821a6a7068d2c21c9591feda3fc951d9466dc3d166f70bba5e0355"
					"9379d84641331266c42022e56da4db1ff6d385",
		[SUITE_AES128_SHA1] = "dbaec43cbae919df461f099b7306d845909cf59b083b860bebb19b56b041"
				      "497543f82b52",
		[SUITE_AES256GMAC] = "12d31ee19f6e8c2e2601ad98c555d8f4f30f892cc1d5d3849f1fb585fe682"
				     "8c0f4eba6c0",
		[SUITE_AES128GMAC] = "f2bbf0aa2ee898d8f4a1ba586e2be9abc35a6863",
		[SUITE_AES192GMAC] = "804f5d816ece4b13a5d255808c391dfc968d7bc5a2440472dd88c6f6",
	};
	struct secret key;

	reset();
	for (unsigned s = 0; s < SUITE_COUNT; s++) {
		c.suite = (enum suite)s;
		CHECK(keysched_sa(&c, &prk, LEADER_TO_FOLLOWER, &key));
		check_secret(&key, want[s]);
	}
}

static void the_other_direction_and_esn_give_other_keys(void)
{
	struct secret key;

	reset();
	CHECK(keysched_sa(&c, &prk, FOLLOWER_TO_LEADER, &key));
	check_secret(&key,
		     "51a19f7995187b5e3c37b0b08c670a7b05a4370c31d377bbf6d8322765e8006fa84d7801");
	c.esn = true;
	CHECK(keysched_sa(&c, &prk, FOLLOWER_TO_LEADER, &key));
	check_secret(&key,
		     "3d9250849e72262b238e06554ccfcc4c65b41fdbc96de0c3e5618666719e879af2dbc398");
}

static bool make_tag(enum tag_role role, uint8_t tag[TAG_LEN])
{
	struct secret key;

	return keysched_tag_key(&c, &prk, &key) &&
	       keysched_tag(&key, role, offer_hash, answer_hash, tag);
}

static void said_tags_and_probe_key_are_those_of_the_vectors(void)
{
	uint8_t tag[TAG_LEN];
	struct secret key;
	uint32_t qm_sa_id;

	reset();
	CHECK(keysched_qm_sa_id(&c, &prk, &qm_sa_id));
	CHECK_U64(qm_sa_id, 0xd0eb3cc5);
	CHECK(make_tag(TAG_FOLLOWER, tag));
	check_bytes(tag, TAG_LEN,
		    "0483166012c1d004a76135c191c4559e80089c075abf904c199661e87a3190ed");
	CHECK(make_tag(TAG_LEADER, tag));
	check_bytes(tag, TAG_LEN,
		    "9c913b69171ec0c80896c5e89c32a5f4c788abcef7c39c4bb87af373b5bdf885");
	CHECK(keysched_probe(&c, &prk, &key));
	check_secret(&key, "65332885e6384a4857311686b2a439e6539638c774bb01d1cb33e1637f81d1d9");
	c.esn = true;
	CHECK(make_tag(TAG_LEADER, tag));
	check_bytes(tag, TAG_LEN,
		    "d69b4017c0b8274d71a665503ad8ae86022184c8ff3cf1581b278c42850e4f6d");
}

static void ppk_checks_are_those_of_the_vectors_and_differ_by_role(void)
{
	uint8_t client[TAG_LEN], server[TAG_LEN];

	reset();
	CHECK(keysched_ppk_check(&exporter, &ppk32, true, client));
	check_bytes(client, TAG_LEN,
		    "d7855b04fa3ee5794c4601b1f0dcebc347d43a662ef3af4194736cbebf02bdd0");
	CHECK(keysched_ppk_check(&exporter, &ppk64, false, server));
	check_bytes(server, TAG_LEN,
		    "95de01c007f592bff629b00f264e7153ac3ba3b72916fa8a23f1b30677a07f6c");
	CHECK(keysched_ppk_check(&exporter, &ppk32, false, server));
	CHECK(!bytes_equal(client, server, TAG_LEN));
}

/* All outputs that one context gives. */
struct derived {
	struct secret down, up, probe;
	uint8_t answer_tag[TAG_LEN], confirm_tag[TAG_LEN];
};

static void derive(struct derived *d)
{
	CHECK(keysched_extract(&c, &leader_share, &follower_share, &prk));
	CHECK(keysched_sa(&c, &prk, LEADER_TO_FOLLOWER, &d->down));
	CHECK(keysched_sa(&c, &prk, FOLLOWER_TO_LEADER, &d->up));
	CHECK(keysched_probe(&c, &prk, &d->probe));
	CHECK(make_tag(TAG_FOLLOWER, d->answer_tag));
	CHECK(make_tag(TAG_LEADER, d->confirm_tag));
}

static void change_exporter(void)
{
	fill(&exporter, 1, 32);
}
static void change_ppk(void)
{
	c.ppk = &ppk32;
}
static void change_leader_share(void)
{
	fill(&leader_share, 0x21, 32);
}
static void change_follower_share(void)
{
	fill(&follower_share, 0x41, 32);
}
static void swap_shares(void)
{
	fill(&leader_share, 0x40, 32);
	fill(&follower_share, 0x20, 32);
}
static void change_xid(void)
{
	c.xid++;
}
static void change_epoch(void)
{
	c.epoch++;
}
static void change_leader_id(void)
{
	c.leader_id[31] ^= 1;
}
static void change_follower_id(void)
{
	c.follower_id[0] ^= 1;
}

static void every_input_changes_every_output(void)
{
	static const struct {
		const char *name;
		void (*change)(void);
	} rows[] = {
		{"exporter", change_exporter},
		{"PPK", change_ppk},
		{"leader's share", change_leader_share},
		{"follower's share", change_follower_share},
		{"shares swapped", swap_shares},
		{"xid", change_xid},
		{"epoch", change_epoch},
		{"leader's identity", change_leader_id},
		{"follower's identity", change_follower_id},
	};
	struct derived a, b;

	reset();
	derive(&a);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		bool ok;

		reset();
		rows[i].change();
		derive(&b);
		ok = CHECK(!secret_equal(&a.down, &b.down));
		ok = CHECK(!secret_equal(&a.up, &b.up)) && ok;
		ok = CHECK(!secret_equal(&a.probe, &b.probe)) && ok;
		ok = CHECK(!bytes_equal(a.answer_tag, b.answer_tag, TAG_LEN)) && ok;
		ok = CHECK(!bytes_equal(a.confirm_tag, b.confirm_tag, TAG_LEN)) && ok;
		if (!ok)
			NOTE("changed: %s", rows[i].name);
	}
}

static void the_choices_and_both_spis_are_bound_into_keys_or_tags(void)
{
	struct derived a, b;

	reset();
	derive(&a);
	c.leader_spi.n++;
	derive(&b);
	CHECK(secret_equal(&a.down, &b.down)); /* an SA is bound to its SPI */
	CHECK(!secret_equal(&a.up, &b.up));
	CHECK(!bytes_equal(a.answer_tag, b.answer_tag, TAG_LEN));
	reset();
	c.follower_spi.n++;
	derive(&b);
	CHECK(!secret_equal(&a.down, &b.down));
	CHECK(secret_equal(&a.up, &b.up));
	CHECK(!bytes_equal(a.confirm_tag, b.confirm_tag, TAG_LEN));
	reset();
	c.suite = SUITE_AES256GMAC; /* keys of the same length */
	derive(&b);
	CHECK(!secret_equal(&a.down, &b.down));
	CHECK(!bytes_equal(a.answer_tag, b.answer_tag, TAG_LEN));
	reset();
	offer_hash[0] ^= 1;
	derive(&b);
	CHECK(!bytes_equal(a.answer_tag, b.answer_tag, TAG_LEN));
	CHECK(!bytes_equal(a.confirm_tag, b.confirm_tag, TAG_LEN));
	reset();
	answer_hash[31] ^= 1;
	derive(&b);
	CHECK(!bytes_equal(a.answer_tag, b.answer_tag, TAG_LEN));
	CHECK(!bytes_equal(a.confirm_tag, b.confirm_tag, TAG_LEN));
}

static void the_two_directions_and_the_two_tags_never_coincide(void)
{
	struct derived d;

	reset();
	memcpy(c.follower_id, c.leader_id, PIN_LEN);
	c.follower_spi = c.leader_spi;
	derive(&d);
	CHECK(!secret_equal(&d.down, &d.up));
	CHECK(!bytes_equal(d.answer_tag, d.confirm_tag, TAG_LEN));
}

T_MAIN(T(prk_is_that_of_the_vectors_with_and_without_ppk),
       T(sa_keys_are_those_of_the_vectors_for_every_suite),
       T(the_other_direction_and_esn_give_other_keys),
       T(said_tags_and_probe_key_are_those_of_the_vectors),
       T(ppk_checks_are_those_of_the_vectors_and_differ_by_role),
       T(every_input_changes_every_output),
       T(the_choices_and_both_spis_are_bound_into_keys_or_tags),
       T(the_two_directions_and_the_two_tags_never_coincide))
