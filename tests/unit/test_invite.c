/* proto/wire/invite: tokens are read back or refused; a proof is valid for one session and one sender. */
#include "proto/wire/invite.h"

#include "crypto/hex.h"
#include "tests/t.h"

static struct invite made(void)
{
	struct invite i = {.until = 1795600000};
	uint8_t secret[INVITE_SECRET];

	for (uint8_t k = 0; k < PIN_LEN; k++)
		i.pin[k] = k;
	for (uint8_t k = 0; k < INVITE_SECRET; k++)
		secret[k] = (uint8_t)(0xa0 + k);
	secret_set(&i.secret, secret, sizeof secret);
	endpoint_parse(&i.at, "192.0.2.1:4511", 1, NULL);
	return i;
}

static void a_token_is_read_back(void)
{
	static const char *const at[] = {"192.0.2.1:4511", "[2001:db8::1]:65535"};

	for (size_t k = 0; k < 2; k++) {
		struct invite i = made(), back;
		char text[INVITE_TOKEN_TEXT + 8], spaced[INVITE_TOKEN_TEXT + 16], ep[ENDPOINT_TEXT];

		endpoint_parse(&i.at, at[k], 1, NULL);
		invite_put(text, &i);
		CHECK(strlen(text) < INVITE_TOKEN_TEXT);
		snprintf(spaced, sizeof spaced, " %s\r\n", text);
		if (!CHECK(invite_get(&back, spaced, strlen(spaced), NULL) == 0))
			return;
		endpoint_put(ep, &back.at);
		CHECK_STR(ep, at[k]);
		CHECK_MEM(back.pin, i.pin, PIN_LEN);
		CHECK(secret_equal(&back.secret, &i.secret));
		CHECK_U64((uint64_t)back.until, 1795600000);
	}
}

static void a_mistyped_token_is_refused(void)
{
	struct invite i = made(), back;
	char text[INVITE_TOKEN_TEXT + 8], bad[INVITE_TOKEN_TEXT + 8];
	struct err e = {0};
	size_t n;

	invite_put(text, &i);
	n = strlen(text);
	for (size_t k = 0; k < n; k++) {
		memcpy(bad, text, n + 1);
		bad[k] = bad[k] == '1' ? '2' : '1';
		if (!CHECK(invite_get(&back, bad, n, &e) < 0))
			NOTE("%s", bad);
		CHECK(e.code == ERR_USAGE);
		CHECK(secret_len(&back.secret) == 0);
	}
	for (size_t k = 0; k < n; k++)
		CHECK(invite_get(&back, text, k, &e) < 0);
}

static void a_proof_is_valid_for_one_session_and_one_sender(void)
{
	struct invite i = made();
	uint8_t joiner[PIN_LEN] = {7}, other[PIN_LEN] = {8};
	struct invite_msg m = {.kind = INVITE_JOIN, .name = "beta", .port = 4510}, x;
	SECRET(exporter);
	SECRET(another);
	SECRET(guess);

	memset(secret_room(&exporter, 32), 1, 32);
	memset(secret_room(&another, 32), 2, 32);
	memset(secret_room(&guess, INVITE_SECRET), 3, INVITE_SECRET);
	struct invite_bind b = {&i.secret, &exporter, i.pin, joiner};

	CHECK(invite_prove(&m, &b));
	CHECK(invite_proven(&m, &b));
	CHECK(!invite_proven(&m, &(struct invite_bind){&guess, &exporter, i.pin, joiner}));
	CHECK(!invite_proven(&m, &(struct invite_bind){&i.secret, &another, i.pin, joiner}));
	CHECK(!invite_proven(&m, &(struct invite_bind){&i.secret, &exporter, other, joiner}));
	CHECK(!invite_proven(&m, &(struct invite_bind){&i.secret, &exporter, i.pin, other}));
	CHECK(!invite_proven(&m, &(struct invite_bind){&i.secret, &exporter, joiner, i.pin}));
	x = m;
	x.kind = INVITE_WELCOME; /* reflected */
	CHECK(!invite_proven(&x, &b));
	x = m;
	x.port++;
	CHECK(!invite_proven(&x, &b));
	x = m;
	x.name[0] = 'z';
	CHECK(!invite_proven(&x, &b));
	/* An empty secret proves nothing. */
	secret_wipe(&guess);
	CHECK(!invite_prove(&x, &(struct invite_bind){&guess, &exporter, i.pin, joiner}));
}

static void messages_are_strict(void)
{
	static const char *const bad[] = {
		"",
		"{}",
		"[]",
		"{\"type\":\"join\",\"name\":\"../x\",\"port\":1,\"proof\":\"%s\"}",
		"{\"type\":\"join\",\"name\":\"-x\",\"port\":1,\"proof\":\"%s\"}",
		"{\"type\":\"join\",\"name\":\"\",\"port\":1,\"proof\":\"%s\"}",
		"{\"type\":\"join\",\"name\":\"b\",\"port\":0,\"proof\":\"%s\"}",
		"{\"type\":\"join\",\"name\":\"b\",\"port\":65536,\"proof\":\"%s\"}",
		"{\"type\":\"join\",\"name\":\"b\",\"port\":1,\"proof\":\"00\"}",
		"{\"type\":\"welcome\",\"name\":\"b\",\"port\":1,\"proof\":\"%s\"}",
		"{\"type\":\"join\",\"name\":\"b\",\"port\":1,\"proof\":\"%s\",\"x\":1}",
	};
	static const char zeros[] =
		"0000000000000000000000000000000000000000000000000000000000000000";
	struct invite_msg m = {.kind = INVITE_JOIN, .name = "beta", .port = 4510}, back;
	char body[512], text[512];
	size_t n = invite_encode(&m, body, sizeof body);

	CHECK(n > 0 && invite_decode(&back, INVITE_JOIN, body, n, NULL) == 0);
	CHECK_STR(back.name, "beta");
	CHECK_U64(back.port, 4510);
	CHECK(invite_decode(&back, INVITE_WELCOME, body, n, NULL) < 0);
	for (size_t k = 0; k < sizeof bad / sizeof bad[0]; k++) {
		const char *at = strstr(bad[k], "%s");

		snprintf(text, sizeof text, "%.*s%s%s", at ? (int)(at - bad[k]) : 500, bad[k],
			 at ? zeros : "", at ? at + 2 : "");
		if (!CHECK(invite_decode(&back, INVITE_JOIN, text, strlen(text), NULL) < 0))
			NOTE("%s", text);
	}
}

T_MAIN(T(a_token_is_read_back), T(a_mistyped_token_is_refused),
       T(a_proof_is_valid_for_one_session_and_one_sender), T(messages_are_strict))
