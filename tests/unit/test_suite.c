/* proto/base/suite: the list of suites, their lengths, and the choice of two hosts. */
#include "proto/base/suite.h"
#include "tests/t.h"

static void names_and_suites_correspond(void)
{
	for (int i = 0; i < SUITE_COUNT; i++)
		CHECK(suite_of_name(suite_info((enum suite)i)->name) == (enum suite)i);
	CHECK(suite_of_name("AES256GCM16") == SUITE_COUNT);
	CHECK(suite_of_name("aes256gcm") == SUITE_COUNT);
	CHECK(suite_of_name("") == SUITE_COUNT);
	CHECK(suite_info(SUITE_COUNT) == NULL);
	CHECK(suite_key_len(SUITE_COUNT) == 0);
}

static void lengths_are_those_of_the_rfcs(void)
{
	static const struct {
		const char *name;
		enum suite_kind kind;
		size_t key_len, enc, iv, icv;
		const char *rfc;
	} rows[] = {
		{"aes256gcm16", SUITE_GCM, 36, 32, 8, 16, "RFC 4106"},
		{"aes128gcm16", SUITE_GCM, 20, 16, 8, 16, "RFC 4106"},
		{"aes192gcm16", SUITE_GCM, 28, 24, 8, 16, "RFC 4106"},
		{"aes256-sha256", SUITE_CBC, 64, 32, 16, 16, "RFC 4868"},
		{"aes128-sha256", SUITE_CBC, 48, 16, 16, 16, "RFC 4868"},
		{"aes128-sha1", SUITE_CBC, 36, 16, 16, 12, "RFC 2404"},
		{"aes256gmac", SUITE_GMAC, 36, 32, 8, 16, "RFC 4543"},
		{"aes128gmac", SUITE_GMAC, 20, 16, 8, 16, "RFC 4543"},
		{"aes192gmac", SUITE_GMAC, 28, 24, 8, 16, "RFC 4543"},
	};

	CHECK(sizeof rows / sizeof rows[0] == SUITE_COUNT);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		enum suite s = suite_of_name(rows[i].name);
		const struct suite_info *info = suite_info(s);

		if (!CHECK(info != NULL))
			continue;
		CHECK(info->kind == rows[i].kind);
		CHECK_U64(suite_key_len(s), rows[i].key_len);
		CHECK_U64(info->enc_key_len, rows[i].enc);
		CHECK_U64(info->salt_len, rows[i].kind == SUITE_CBC ? 0 : 4);
		CHECK_U64(info->iv_len, rows[i].iv);
		CHECK_U64(info->icv_len, rows[i].icv);
		CHECK_STR(info->rfc, rows[i].rfc);
	}
}

static void a_list_holds_each_suite_once(void)
{
	struct suite_list l = {0};

	for (int round = 0; round < 2; round++)
		for (int i = SUITE_COUNT - 1; i >= 0; i--) {
			CHECK(suite_list_has(&l, (enum suite)i) == (round == 1));
			CHECK(suite_list_add(&l, (enum suite)i) == (round == 0));
		}
	CHECK(!suite_list_add(&l, SUITE_COUNT));
	CHECK_U64(l.n, SUITE_COUNT);
	CHECK_U64(l.v[0], SUITE_COUNT - 1);
}

static void the_choice_follows_the_offer(void)
{
	struct suite_list offered = {0}, allowed = {0}, none = {0};

	suite_list_add(&offered, SUITE_AES192GCM16);
	suite_list_add(&offered, SUITE_AES128_SHA1);
	suite_list_add(&offered, SUITE_AES256GCM16);
	suite_list_add(&allowed, SUITE_AES256GCM16);
	CHECK(suite_choose(&offered, &allowed) == SUITE_AES256GCM16);
	suite_list_add(&allowed, SUITE_AES128_SHA1);
	CHECK(suite_choose(&offered, &allowed) == SUITE_AES128_SHA1);
	CHECK(suite_choose(&offered, &none) == SUITE_COUNT);
	CHECK(suite_choose(&none, &allowed) == SUITE_COUNT);
}

T_MAIN(T(names_and_suites_correspond), T(lengths_are_those_of_the_rfcs),
       T(a_list_holds_each_suite_once), T(the_choice_follows_the_offer))
