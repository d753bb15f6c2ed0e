/*
 * proto/wire/msg: a decoded message is written and decodes to the same message; a refused text leaves
 * no data in the struct.
 */
#include "proto/json/decode.h"
#include "proto/wire/msg.h"
#include "tests/fuzz/fuzz.h"

/* Both are wiped first, so that padding can be compared. */
static struct msg first, second;
static char body[FRAME_MAX + 1], again[FRAME_MAX + 1];

static void check_ranges(const struct msg *m)
{
	MUST((unsigned)m->type < MSG_COUNT);
	switch (m->type) {
	case MSG_OFFER:
		MUST(m->u.offer.xid != 0 && m->u.offer.epoch != 0);
		MUST(spi_usable(m->u.offer.spi));
		MUST(m->u.offer.suites.n >= 1 && m->u.offer.suites.n <= SUITE_COUNT);
		MUST(secret_len(&m->u.offer.share) == SHARE_LEN);
		MUST(m->u.offer.lifetime_s >= 30 && m->u.offer.lifetime_s <= 604800);
		MUST(m->u.offer.window <= 4096);
		break;
	case MSG_ANSWER:
		MUST(spi_usable(m->u.answer.spi) && (unsigned)m->u.answer.suite < SUITE_COUNT);
		MUST(secret_len(&m->u.answer.share) == SHARE_LEN);
		break;
	case MSG_HELLO:
		MUST(m->u.hello.protects <= PROTECT_MAX);
		MUST(m->u.hello.last >= m->u.hello.epoch);
		MUST((m->u.hello.epoch == 0) == (m->u.hello.in.n == 0));
		MUST((m->u.hello.epoch == 0) == (m->u.hello.out.n == 0));
		break;
	default:
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e = {0};
	char *text;
	size_t len;
	int rc;

	json_start();
	if (size > FRAME_MAX)
		return 0;
	text = copy_of(data, size);
	memset(&first, 0xa5, sizeof first);
	rc = msg_decode(&first, text, size, &e);
	free(text);
	if (rc < 0) {
		MUST(e.code == ERR_REFUSED && e.cause[0] != '\0');
		MUST(text_printable(e.cause, strlen(e.cause)));
		MUST(is_zero(&first.u, sizeof first.u));
		return 0;
	}
	check_ranges(&first);
	len = msg_encode(&first, body, sizeof body);
	MUST(len > 0 && body[len] == '\0');
	MUST(first.type == MSG_HELLO || len < 2048);
	MUST(msg_decode(&second, body, len, &e) == 0 && second.type == first.type);
	MUST(msg_encode(&second, again, sizeof again) == len && memcmp(body, again, len) == 0);
	return 0;
}
