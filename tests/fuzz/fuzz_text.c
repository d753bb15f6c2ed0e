/*
 * proto/base/addr and err, proto/exchange/probe, crypto/hex, pins: short untrusted texts and datagrams.
 */
#include "crypto/cert.h"
#include "crypto/hex.h"
#include "crypto/random.h"
#include "proto/base/addr.h"
#include "proto/exchange/probe.h"
#include "proto/base/suite.h"
#include "tests/fuzz/fuzz.h"

static void address(const char *text)
{
	struct addr a, back;
	struct endpoint ep, ep_back;
	char out[ENDPOINT_TEXT];
	struct err e = {0};

	if (addr_parse(&a, text, &e) == 0) {
		MUST(a.len == 4 || a.len == 16);
		addr_put(out, &a);
		MUST(addr_parse(&back, out, &e) == 0 && addr_equal(&a, &back));
		MUST(addr_compare(&a, &back) == 0);
	}
	if (endpoint_parse(&ep, text, 4510, &e) == 0) {
		MUST(ep.port != 0);
		endpoint_put(out, &ep);
		MUST(endpoint_parse(&ep_back, out, 1, &e) == 0);
		MUST(addr_equal(&ep.addr, &ep_back.addr) && ep.port == ep_back.port);
	}
}

static void escape(const char *text, size_t n)
{
	char small[7], out[1024], again[1024];
	struct err e = {0};

	text_escape(out, sizeof out, text, n);
	MUST(strlen(out) < sizeof out);
	for (const char *p = out; *p != '\0'; p++)
		MUST((unsigned char)*p >= 0x20 && *p != 0x7f);
	MUST(text_printable(out, strlen(out)));
	text_escape(again, sizeof again, out, strlen(out));
	if (text_printable(text, n) && memchr(text, '\\', n) == NULL && n < sizeof out)
		MUST(strlen(out) == n && memcmp(out, text, n) == 0);
	text_escape(small, sizeof small, text, n);
	MUST(strlen(small) < sizeof small && text_printable(small, strlen(small)));
	err_set(&e, ERR_REFUSED, "%s", text);
	err_in(&e, "%s", text);
	err_at(&e, "%s", text);
	MUST(strlen(e.cause) < sizeof e.cause && e.path <= strlen(e.cause));
	MUST(text_printable(e.cause, strlen(e.cause)));
}

static void hex(const char *text, size_t n)
{
	uint8_t bytes[600];
	char back[1201];

	if (n / 2 <= sizeof bytes && hex_get(bytes, n / 2, text, n)) {
		hex_put(back, bytes, n / 2);
		MUST(strlen(back) == n && memcmp(back, text, n) == 0);
	}
}

static void probe(const uint8_t *data, size_t n)
{
	static struct secret key;
	struct probe p;

	if (secret_len(&key) == 0)
		memset(secret_room(&key, 32), 7, 32);
	if (!probe_peek(data, n, &p))
		return;
	MUST(n == PROBE_LEN && (p.kind == PROBE_ASK || p.kind == PROBE_ECHO));
	if (probe_check(data, &key)) {
		uint8_t made[PROBE_LEN];

		MUST(probe_make(made, &p, &key) && memcmp(made, data, PROBE_LEN) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t pin[PIN_LEN];
	char *text, put[PIN_TEXT + 1];

	MUST(crypto_start());
	if (size > 1024)
		return 0;
	text = copy_of(data, size);
	address(text);
	escape(text, size);
	hex(text, size);
	probe((const uint8_t *)text, size);
	(void)suite_of_name(text);
	(void)err_of_word(text);
	if (pin_get(pin, text)) {
		pin_put(put, pin);
		MUST(strlen(put) == PIN_TEXT && strcmp(put + 7, text + 7) == 0);
	}
	free(text);
	return 0;
}
