/*
 * proto/wire/msg: each message has one text, each member a range; anything else is refused with a
 * reason, and leaves no data in the struct.
 */
#include "proto/wire/msg.h"
#include "tests/t.h"

#define XID "00112233445566ff"
#define HEX32 "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

static struct msg m;
static struct err e;

/* A valid text of every message, as msg_encode() writes it; some in two forms. */
static const char *const good[] = {
	"{\"type\":\"hello\",\"version\":1,\"instance\":\"000102030405060708090a0b0c0d0e0f\","
	"\"agent\":\"sapair/0.1.0\",\"name\":\"alpha\",\"local\":\"192.0.2.1\","
	"\"remote\":\"192.0.2.2\",\"mode\":\"required\",\"encap\":\"transport\",\"udp\":false,"
	"\"protect\":[\"all\"],\"epoch\":\"0\",\"last\":\"0\"}",
	"{\"type\":\"hello\",\"version\":1,\"instance\":\"000102030405060708090a0b0c0d0e0f\","
	"\"agent\":\"sapair/0.1.0\",\"name\":\"alpha\",\"local\":\"2001:db8::1\","
	"\"remote\":\"2001:db8::2\",\"mode\":\"permissive\",\"encap\":\"tunnel\",\"udp\":true,"
	"\"protect\":[\"tcp/445\",\"udp/53\"],\"epoch\":\"18446744073709551614\","
	"\"last\":\"18446744073709551615\",\"spi_in\":\"00000100\",\"spi_out\":\"ffffffff\","
	"\"ppk\":\"" HEX32 "\"}",
	"{\"type\":\"offer\",\"xid\":\"" XID "\",\"epoch\":\"7\",\"reason\":\"request\","
	"\"suites\":[\"aes256gcm16\",\"aes128-sha1\"],\"spi\":\"c0ffee01\",\"share\":\"" HEX32
	"\",\"lifetime_s\":30,\"esn\":true,\"window\":4096}",
	"{\"type\":\"answer\",\"xid\":\"" XID "\",\"suite\":\"aes256gcm16\",\"spi\":\"00000100\","
	"\"share\":\"" HEX32 "\",\"lifetime_s\":604800,\"esn\":false,\"window\":0,\"tag\":\"" HEX32
	"\"}",
	"{\"type\":\"confirm\",\"xid\":\"" XID "\",\"tag\":\"" HEX32 "\"}",
	"{\"type\":\"done\",\"xid\":\"" XID "\"}",
	"{\"type\":\"reject\",\"xid\":\"" XID
	"\",\"reason\":\"suite\",\"text\":\"none \\\"in\\\" common\"}",
	"{\"type\":\"reject\",\"xid\":\"" XID
	"\",\"reason\":\"epoch\",\"text\":\"\",\"epoch\":\"9\"}",
	"{\"type\":\"rekey\",\"reason\":\"packets\"}",
	"{\"type\":\"probe\",\"id\":\"0000000000000000\",\"epoch\":\"7\",\"sent\":4294967295}",
	"{\"type\":\"report\",\"id\":\"" XID "\",\"epoch\":\"0\",\"received\":0}",
	"{\"type\":\"report\",\"id\":\"" XID
	"\",\"epoch\":\"7\",\"received\":5,\"spi_in\":\"00000100\","
	"\"spi_out\":\"00000101\",\"in_packets\":\"5\",\"out_packets\":\"18446744073709551615\"}",
	"{\"type\":\"ping\",\"id\":\"" XID "\"}",
	"{\"type\":\"pong\",\"id\":\"" XID "\"}",
	"{\"type\":\"bye\",\"reason\":\"duplicate\"}",
	"{\"type\":\"error\",\"reason\":\"malformed\",\"text\":\"offer: spi: missing\"}",
};
#define GOODS (sizeof good / sizeof good[0])

static int decode(const char *body)
{
	memset(&e, 0, sizeof e);
	return msg_decode(&m, body, strlen(body), &e);
}

static bool all_zero(const void *p, size_t n)
{
	const uint8_t *b = p;

	for (size_t i = 0; i < n; i++)
		if (b[i] != 0)
			return false;
	return true;
}

static void every_message_decodes_and_encodes_to_the_same_bytes(void)
{
	unsigned seen = 0;

	for (size_t i = 0; i < GOODS; i++) {
		char out[2048];

		if (!CHECK(decode(good[i]) == 0)) {
			NOTE("%s: %s", good[i], e.cause);
			continue;
		}
		seen |= 1u << m.type;
		CHECK_U64(msg_encode(&m, out, sizeof out), strlen(good[i]));
		CHECK_STR(out, good[i]);
	}
	CHECK_U64(seen, (1u << MSG_COUNT) - 1);
}

static void members_are_stored_in_their_fields(void)
{
	CHECK(decode(good[1]) == 0);
	CHECK(m.u.hello.version == 1 && m.u.hello.instance[15] == 15);
	CHECK_STR(m.u.hello.name, "alpha");
	CHECK(m.u.hello.mode == MODE_PERMISSIVE && m.u.hello.encap == ENCAP_TUNNEL);
	CHECK(m.u.hello.protects == 2);
	CHECK_STR(m.u.hello.protect[1], "udp/53");
	CHECK_U64(m.u.hello.epoch, UINT64_MAX - 1);
	CHECK_U64(m.u.hello.last, UINT64_MAX);
	CHECK_U64(m.u.hello.out.n, 0xffffffff);
	CHECK(m.u.hello.has_ppk && m.u.hello.ppk_check[31] == 0x1f);
	CHECK(decode(good[2]) == 0);
	CHECK_U64(m.u.offer.xid, UINT64_C(0x00112233445566ff));
	CHECK(m.u.offer.reason == REASON_REQUEST && m.u.offer.suites.n == 2);
	CHECK(m.u.offer.suites.v[1] == SUITE_AES128_SHA1);
	CHECK_U64(m.u.offer.spi.n, 0xc0ffee01);
	CHECK(secret_len(&m.u.offer.share) == SHARE_LEN);
	CHECK(m.u.offer.lifetime_s == 30 && m.u.offer.esn && m.u.offer.window == 4096);
	CHECK(decode(good[3]) == 0);
	CHECK(m.u.answer.suite == SUITE_AES256GCM16 && m.u.answer.tag[31] == 0x1f);
	CHECK(decode(good[7]) == 0);
	CHECK(m.u.reject.reason == FAULT_EPOCH && m.u.reject.epoch == 9);
	CHECK(decode(good[10]) == 0 && !m.u.report.has_counts);
	CHECK(decode(good[11]) == 0 && m.u.report.has_counts && m.u.report.in_packets == 5);
}

/* Replaces the first `from` in a valid text. */
static const char *changed(size_t which, const char *from, const char *to)
{
	static char text[4096];
	const char *at = strstr(good[which], from);

	if (at == NULL) {
		NOTE("no %s in %s", from, good[which]);
		return "";
	}
	snprintf(text, sizeof text, "%.*s%s%s", (int)(at - good[which]), good[which], to,
		 at + strlen(from));
	return text;
}

static void wrong_members_are_refused_with_their_name_and_reason(void)
{
	static const struct {
		size_t which;
		const char *from, *to, *why;
	} rows[] = {
		{2, "\"type\":\"offer\"", "\"type\":\"Offer\"", "unknown type \"Offer\""},
		{2, "\"type\":\"offer\"", "\"type\":7", "type: missing, or not a string"},
		{2, "\"type\":\"offer\",", "", "type: missing, or not a string"},
		{2, "\"epoch\":\"7\",", "", "offer: epoch: missing"},
		{2, "\"esn\":true", "\"esn\":true,\"more\":1", "offer: unknown member \"more\""},
		{2, "\"esn\":true", "\"Esn\":true", "offer: unknown member \"Esn\""},
		{2, XID, "0000000000000000", "offer: xid: must not be 0"},
		{2, XID, "00112233445566FF", "offer: xid: must be 16 lower-case hex digits"},
		{2, "\"epoch\":\"7\"", "\"epoch\":\"0\"",
		 "offer: epoch: must be a string with a whole number between 1 and "
		 "18446744073709551615"},
		{2, "\"epoch\":\"7\"", "\"epoch\":7",
		 "offer: epoch: must be a string with a whole number between 1 and "
		 "18446744073709551615"},
		{2, "\"request\"", "\"whim\"",
		 "offer: reason: must be \"start\", \"mismatch\", \"request\", \"time\", \"bytes\", "
		 "\"packets\" or \"repair\""},
		{2, "aes128-sha1", "des", "offer: suites[1]: unknown suite \"des\""},
		{2, "aes128-sha1", "aes256gcm16", "offer: suites[1]: aes256gcm16 is given twice"},
		{2, "\"aes128-sha1\"", "7", "offer: suites[1]: must be a string"},
		{2, "[\"aes256gcm16\",\"aes128-sha1\"]", "[]", "offer: suites: must not be empty"},
		{2, "[\"aes256gcm16\",\"aes128-sha1\"]", "{}", "offer: suites: must be an array"},
		{2, "c0ffee01", "000000ff", "offer: spi: SPIs 0 to 255 are reserved"},
		{2, "c0ffee01", "0000100", "offer: spi: must be 8 lower-case hex digits"},
		{2, "1e1f", "1e", "offer: share: must be 64 lower-case hex digits"},
		{2, "1e1f", "1e1f20", "offer: share: must be 64 lower-case hex digits"},
		{2, "\"lifetime_s\":30", "\"lifetime_s\":29",
		 "offer: lifetime_s: must be a whole number between 30 and 604800"},
		{2, "\"lifetime_s\":30", "\"lifetime_s\":604801",
		 "offer: lifetime_s: must be a whole number between 30 and 604800"},
		{2, "\"lifetime_s\":30", "\"lifetime_s\":\"30\"",
		 "offer: lifetime_s: must be a whole number between 30 and 604800"},
		{2, "\"esn\":true", "\"esn\":1", "offer: esn: must be true or false"},
		{2, "\"window\":4096", "\"window\":4097",
		 "offer: window: must be a whole number between 0 and 4096"},
		{3, "aes256gcm16", "rot13", "answer: suite: unknown suite \"rot13\""},
		{3, "00000100", "00000000", "answer: spi: SPIs 0 to 255 are reserved"},
		{3, "\"lifetime_s\":604800", "\"lifetime_s\":0",
		 "answer: lifetime_s: must be a whole number between 30 and 604800"},
		{4, "1e1f\"}", "1e\"}", "confirm: tag: must be 64 lower-case hex digits"},
		{5, XID, "0000000000000000", "done: xid: must not be 0"},
		{6, "\"suite\"", "\"none\"", "reject: reason: must be a fault"},
		{6, "common", "common\\u0007", "reject: text: must not contain control characters"},
		{7, "\"9\"", "\"09\"",
		 "reject: epoch: must be a string with a whole number between 0 and "
		 "18446744073709551615"},
		{9, "\"sent\":4294967295", "\"sent\":-1",
		 "probe: sent: must be a whole number between 0 and 4294967295"},
		{11, "\"in_packets\":\"5\",", "",
		 "report: in_packets and out_packets must both be present or absent"},
		{15, "malformed", "none", "error: reason: must be a fault"},
		{0, "\"version\":1", "\"version\":0",
		 "hello: version: must be a whole number between 1 and 4294967295"},
		{0, "0e0f", "0e", "hello: instance: must be 32 lower-case hex digits"},
		{0, "192.0.2.1", "192.0.2.256", NULL},
		{0, "192.0.2.1", "example.org", NULL},
		{0, "\"required\"", "\"on\"",
		 "hello: mode: must be \"required\" or \"permissive\""},
		{0, "\"transport\"", "\"beet\"",
		 "hello: encap: must be \"transport\" or \"tunnel\""},
		{0, "[\"all\"]", "[\"\"]", "hello: protect[0]: must be 1 to 31 bytes long"},
		{0, "[\"all\"]", "[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\"]",
		 "hello: protect: must have at most 8 elements"},
		{0, "\"epoch\":\"0\"", "\"epoch\":\"1\"",
		 "hello: spi_in and spi_out must be present exactly when an epoch is in force"},
		{0, "\"last\":\"0\"", "\"last\":\"0\",\"spi_in\":\"00000100\"",
		 "hello: spi_in and spi_out must be present exactly when an epoch is in force"},
		{1, ",\"spi_out\":\"ffffffff\"", "",
		 "hello: spi_in and spi_out must be present exactly when an epoch is in force"},
		{1, "18446744073709551615", "18446744073709551613",
		 "hello: last must not be below epoch"},
		{1, "18446744073709551615", "18446744073709551616",
		 "hello: last: must be a string with a whole number between 0 and "
		 "18446744073709551615"},
		{1, "1e1f", "1e", "hello: ppk: must be 64 lower-case hex digits"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		bool ok = CHECK(decode(changed(rows[i].which, rows[i].from, rows[i].to)) == -1);

		ok = CHECK(e.code == ERR_REFUSED) && ok;
		if (rows[i].why != NULL)
			ok = CHECK_STR(e.cause, rows[i].why) && ok;
		ok = CHECK(all_zero(&m, sizeof m)) && ok;
		if (!ok)
			NOTE("%s -> %s", rows[i].from, rows[i].to);
	}
}

static void bytes_around_the_object_and_deep_nesting_are_refused(void)
{
	CHECK(decode("") == -1);
	CHECK(decode("[]") == -1);
	CHECK(decode("null") == -1);
	CHECK(decode("{}") == -1);
	CHECK(decode("{\"type\":\"done\",\"xid\":\"" XID "\"} {}") == -1);
	CHECK(decode("{\"type\":\"done\",\"xid\":\"" XID "\",\"xid\":\"" XID "\"}") == -1);
	CHECK(decode("{\"type\":\"done\",\"type\":\"done\",\"xid\":\"" XID "\"}") == -1);
	CHECK(decode("{\"type\":\"bye\",\"reason\":[[[[\"duplicate\"]]]]}") == -1);
	CHECK(decode(" {\"type\" : \"done\",\"xid\":\"" XID "\"} ") ==
	      0); /* white space is allowed */
}

static void truncated_messages_are_refused(void)
{
	char text[2048];

	for (size_t i = 0; i < GOODS; i++)
		for (size_t n = 0; n < strlen(good[i]); n++) {
			memcpy(text, good[i], n);
			text[n] = '\0';
			if (!CHECK(msg_decode(&m, text, n, &e) == -1))
				NOTE("%s", text);
		}
}

static void an_answer_ends_with_its_tag_in_one_form_only(void)
{
	static const char *const ends[] = {
		",\"tag\":\"" HEX32 "\"} ",      ",\"tag\":\"" HEX32 "\" }",
		",\"tag\": \"" HEX32 "\"}",      ", \"tag\":\"" HEX32 "\"}",
		",\"t\\u0061g\":\"" HEX32 "\"}", ",\"tag\":\"" HEX32 "\"\n}",
	};
	char text[2048];
	size_t n = strlen(good[3]);

	CHECK(n > ANSWER_TAIL);
	CHECK(strcmp(good[3] + n - ANSWER_TAIL, ",\"tag\":\"" HEX32 "\"}") == 0);
	for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
		snprintf(text, sizeof text, "%.*s%s", (int)(n - ANSWER_TAIL), good[3], ends[i]);
		CHECK(decode(text) == -1);
		CHECK_STR(e.cause, "answer: tag must be the last member, without white space");
	}
	CHECK(decode(changed(3, "\"xid\":\"" XID "\",", "")) == -1);
	/* the tag in front, another member last */
	CHECK(decode("{\"type\":\"answer\",\"tag\":\"" HEX32 "\",\"xid\":\"" XID "\",\"suite\":"
		     "\"aes256gcm16\",\"spi\":\"00000100\",\"share\":\"" HEX32 "\",\"lifetime_s\":"
		     "600,\"esn\":false,\"window\":0}") == -1);
}

static void the_tag_of_an_encoded_answer_can_be_set(void)
{
	char text[2048], out[2048];
	uint8_t tag[TAG_LEN];
	size_t n;

	memset(tag, 0xab, sizeof tag);
	CHECK(decode(good[3]) == 0);
	memset(m.u.answer.tag, 0, TAG_LEN);
	n = msg_encode(&m, text, sizeof text);
	memcpy(out, text, n + 1);
	msg_answer_set_tag(out, n, tag);
	CHECK(memcmp(out, text, n - ANSWER_TAIL) == 0);
	CHECK(decode(out) == 0);
	CHECK_MEM(m.u.answer.tag, tag, TAG_LEN);
}

static void a_message_that_does_not_fit_is_not_written(void)
{
	char out[2048];

	for (size_t i = 0; i < GOODS; i++) {
		size_t n = strlen(good[i]);

		CHECK(decode(good[i]) == 0);
		memset(out, 'x', sizeof out);
		CHECK_U64(msg_encode(&m, out, n), 0);
		CHECK(all_zero(out, n));
		CHECK(out[n] == 'x');
		CHECK_U64(msg_encode(&m, out, n + 1), n);
	}
}

static void the_longest_messages_fit_into_their_buffers(void)
{
	static char out[FRAME_MAX + 1];
	struct msg_hello *h = &m.u.hello;

	memset(&m, 0, sizeof m);
	m.type = MSG_HELLO;
	memset(h->agent, '\\', MSG_NAME_MAX);
	memset(h->name, '"', MSG_NAME_MAX);
	h->local.len = h->remote.len = 16;
	memset(h->local.bytes, 0xff, 16);
	memset(h->remote.bytes, 0xff, 16);
	h->protects = PROTECT_MAX;
	for (size_t i = 0; i < PROTECT_MAX; i++)
		memset(h->protect[i], '"', PROTECT_TEXT - 1);
	h->version = UINT32_MAX;
	h->epoch = h->last = UINT64_MAX;
	h->in.n = h->out.n = UINT32_MAX;
	h->has_ppk = true;
	CHECK(msg_encode(&m, out, sizeof out) > 0);
	memset(&m, 0, sizeof m);
	m.type = MSG_REJECT;
	m.u.reject.xid = m.u.reject.epoch = UINT64_MAX;
	m.u.reject.reason = FAULT_PROTOCOL;
	memset(m.u.reject.text, '"', MSG_TEXT_MAX);
	CHECK(msg_encode(&m, out, 2048) > 0);
	memset(&m, 0, sizeof m);
	m.type = MSG_OFFER;
	m.u.offer.xid = m.u.offer.epoch = UINT64_MAX;
	for (int s = 0; s < SUITE_COUNT; s++)
		suite_list_add(&m.u.offer.suites, (enum suite)s);
	secret_room(&m.u.offer.share, SHARE_LEN);
	m.u.offer.lifetime_s = m.u.offer.window = UINT32_MAX;
	CHECK(msg_encode(&m, out, 2048) > 0);
}

/* A text with one changed byte is refused, or decoded and encoded without errors of memory. */
static void changed_bytes_are_handled_safely(void)
{
	char text[2048], out[FRAME_MAX + 1];

	for (size_t i = 0; i < GOODS; i++) {
		size_t n = strlen(good[i]);

		for (size_t k = 0; k < n; k++)
			for (unsigned bit = 0; bit < 8; bit++) {
				memcpy(text, good[i], n + 1);
				text[k] = (char)((unsigned char)text[k] ^ 1u << bit);
				if (msg_decode(&m, text, n, &e) == 0)
					CHECK(msg_encode(&m, out, sizeof out) > 0);
				else
					CHECK(all_zero(&m, sizeof m));
			}
	}
}

static void every_fault_and_reason_has_a_word_and_a_text(void)
{
	for (int f = 0; f < FAULT_COUNT; f++) {
		CHECK(strlen(fault_word((enum fault)f)) > 0);
		CHECK(strlen(fault_text((enum fault)f)) > 0);
		CHECK(fault_class((enum fault)f) < ERR_COUNT);
	}
	CHECK_STR(fault_word(FAULT_QUIET), "quiet");
	CHECK(fault_class(FAULT_TAG) == ERR_AUTH);
	CHECK_STR(reason_word(REASON_REPAIR), "repair");
	CHECK_STR(msg_name(MSG_CONFIRMATION), "confirm");
	CHECK_STR(msg_name(MSG_COUNT), "unknown");
	CHECK_STR(fault_word(FAULT_COUNT), "unknown");
	CHECK_STR(reason_word(REASON_COUNT), "unknown");
	CHECK(fault_class(FAULT_COUNT) == ERR_BUG);
}

T_MAIN(T(every_message_decodes_and_encodes_to_the_same_bytes),
       T(members_are_stored_in_their_fields),
       T(wrong_members_are_refused_with_their_name_and_reason),
       T(bytes_around_the_object_and_deep_nesting_are_refused), T(truncated_messages_are_refused),
       T(an_answer_ends_with_its_tag_in_one_form_only), T(the_tag_of_an_encoded_answer_can_be_set),
       T(a_message_that_does_not_fit_is_not_written),
       T(the_longest_messages_fit_into_their_buffers), T(changed_bytes_are_handled_safely),
       T(every_fault_and_reason_has_a_word_and_a_text))
