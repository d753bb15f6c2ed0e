/*
 * proto/wire/invite: tokens, and the two messages of a pairing.
 *
 *     u8 what | token, or body of a join, or of a welcome
 */
#include "crypto/random.h"
#include "proto/wire/invite.h"
#include "proto/json/decode.h"
#include "tests/fuzz/fuzz.h"

static void token(const char *text, size_t size)
{
	char put[INVITE_TOKEN_TEXT];
	struct invite i, again;
	struct err e = {0};

	if (invite_get(&i, text, size, &e) < 0) {
		MUST(e.code == ERR_USAGE && text_printable(e.cause, strlen(e.cause)));
		MUST(secret_len(&i.secret) == 0);
		return;
	}
	MUST(secret_len(&i.secret) == INVITE_SECRET && i.at.port != 0);
	invite_put(put, &i);
	MUST(strlen(put) < sizeof put);
	MUST(invite_get(&again, put, strlen(put), &e) == 0 && again.until == i.until);
	MUST(secret_equal(&again.secret, &i.secret) && addr_equal(&again.at.addr, &i.at.addr));
}

static void message(enum invite_kind kind, const char *text, size_t size)
{
	static const uint8_t pin[2][PIN_LEN] = {{1}, {2}};
	char body[FRAME_MAX + 1];
	SECRET(secret);
	SECRET(exporter);
	struct invite_bind bind = {&secret, &exporter, pin[0], pin[1]};
	struct invite_msg m, again;
	struct err e = {0};
	size_t len;

	if (invite_decode(&m, kind, text, size, &e) < 0) {
		MUST(e.cause[0] != '\0' && text_printable(e.cause, strlen(e.cause)));
		return;
	}
	MUST(m.kind == (int)kind && m.port != 0);
	memset(secret_room(&secret, INVITE_SECRET), 7, INVITE_SECRET);
	memset(secret_room(&exporter, SHA256_LEN), 8, SHA256_LEN);
	MUST(!invite_proven(&m, &bind)); /* a proof cannot be guessed */
	MUST(invite_prove(&m, &bind) && invite_proven(&m, &bind));
	len = invite_encode(&m, body, sizeof body);
	MUST(len > 0 && invite_decode(&again, kind, body, len, &e) == 0);
	MUST(again.port == m.port && strcmp(again.name, m.name) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text;

	MUST(crypto_start());
	json_start();
	if (size < 1 || size > FRAME_MAX)
		return 0;
	text = copy_of(data + 1, size - 1);
	if (data[0] % 3 == 0)
		token(text, size - 1);
	else
		message(data[0] % 3 == 1 ? INVITE_JOIN : INVITE_WELCOME, text, size - 1);
	free(text);
	return 0;
}
