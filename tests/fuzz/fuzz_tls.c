/*
 * crypto/tls: arbitrary bytes for a server and for a client, and an attacker on the path that changes,
 * removes and adds bytes between two ends. No end gets more plaintext than was sent, and two open ends
 * have the same secrets.
 *
 *     u8 kind | 0: bytes for a server | 1: bytes for a client | 2: edits { u16 at, u8 how, u8 }
 */
#include <time.h>

#include "crypto/random.h"
#include "crypto/tls.h"
#include "tests/fuzz/fuzz.h"

#define EDITS 8

static struct identity *id;
static const char words[] = "{\"type\":\"ping\",\"id\":\"0123456789abcdef\"}";

struct end {
	struct tls *t;
	enum tls_fault fault;
	bool sent;
	size_t plain;
	uint32_t wire; /* bytes sent so far */
};

static struct edit {
	uint32_t at;
	uint8_t how, with;
} edits[EDITS];
static size_t n_edits;

static void start(void)
{
	static struct pem_pair own;
	struct cert_params wish = {.name = "own"};

	if (id != NULL)
		return;
	MUST(crypto_start());
	wish.not_before = (int64_t)time(NULL) - 3600;
	wish.not_after = wish.not_before + 360000;
	MUST(cert_self(&own, &wish));
	MUST(identity_load(&id, own.cert, own.key, NULL) == IDENTITY_OK);
}

/* Both ends have the same certificate, and accept it as pinned. */
static enum cert_fault judge(void *arg, const struct cert_facts *leaf, enum cert_fault chain)
{
	(void)arg;
	if (memcmp(leaf->pin, identity_facts(id)->pin, PIN_LEN) != 0)
		return CERT_WRONG_PIN;
	return chain == CERT_UNTRUSTED ? CERT_OK : chain;
}

static bool sink(void *arg, const uint8_t *plain, size_t n)
{
	struct end *e = arg;

	for (size_t i = 0; i < n; i++)
		MUST(e->plain + i < sizeof words && plain[i] == (uint8_t)words[e->plain + i]);
	e->plain += n;
	return true;
}

static bool nothing(void *arg, const uint8_t *plain, size_t n)
{
	(void)arg, (void)plain;
	MUST(n == 0); /* no plaintext before authentication */
	return false;
}

static void feed_unauthenticated(enum tls_role role, const uint8_t *data, size_t n)
{
	struct tls *t = tls_new(id, role, judge, NULL);
	uint8_t *copy = (uint8_t *)copy_of(data, n);

	MUST(t != NULL);
	(void)tls_feed(t, copy, n, nothing, NULL);
	MUST(!tls_is_open(t) && !tls_send(t, (const uint8_t *)"x", 1));
	(void)tls_feed_end(t);
	tls_free(t);
	free(copy);
}

/* Applies the edits to the bytes of one flight; at counts the bytes of both directions. */
static size_t edit(uint8_t *to, const uint8_t *from, size_t n, uint32_t at, uint32_t direction)
{
	size_t len = 0;

	for (size_t i = 0; i < n; i++) {
		uint8_t b = from[i];
		bool keep = true;

		for (size_t k = 0; k < n_edits; k++) {
			if (edits[k].at != (at + (uint32_t)i) * 2 + direction)
				continue;
			if (edits[k].how % 3 == 0)
				b ^= edits[k].with;
			else if (edits[k].how % 3 == 1)
				keep = false;
			else
				to[len++] = edits[k].with;
		}
		if (keep)
			to[len++] = b;
	}
	return len;
}

static bool pass(struct end *from, struct end *to, uint32_t direction)
{
	size_t n, len;
	const uint8_t *wire = tls_output(from->t, &n);
	uint8_t *copy;

	if (n == 0)
		return false;
	copy = malloc(n + EDITS);
	MUST(copy != NULL);
	len = edit(copy, wire, n, from->wire, direction);
	from->wire += (uint32_t)n;
	tls_output_done(from->t, n);
	if (to->fault == TLS_OK && len > 0)
		to->fault = tls_feed(to->t, copy, len, sink, to);
	free(copy);
	if (to->fault == TLS_OK && tls_is_open(to->t) && !to->sent)
		to->sent = tls_send(to->t, (const uint8_t *)words, sizeof words);
	return true;
}

static void between(struct tape *t)
{
	struct end c = {0}, s = {0};
	SECRET(of_c);
	SECRET(of_s);

	for (n_edits = 0; n_edits < EDITS && t->left >= 4; n_edits++) {
		edits[n_edits].at = (uint32_t)tape_byte(t) << 8;
		edits[n_edits].at |= tape_byte(t);
		edits[n_edits].how = tape_byte(t);
		edits[n_edits].with = tape_byte(t);
	}
	c.t = tls_new(id, TLS_CLIENT, judge, &c);
	s.t = tls_new(id, TLS_SERVER, judge, &s);
	MUST(c.t != NULL && s.t != NULL);
	for (int i = 0; i < 20; i++) {
		bool moved = pass(&c, &s, 0);

		if (!pass(&s, &c, 1) && !moved)
			break;
		if (tls_is_open(c.t) && !c.sent)
			c.sent = tls_send(c.t, (const uint8_t *)words, sizeof words);
	}
	if (n_edits == 0)
		MUST(c.plain == sizeof words && s.plain == sizeof words);
	if (tls_is_open(c.t) && tls_is_open(s.t) && tls_export(c.t, &of_c) &&
	    tls_export(s.t, &of_s))
		MUST(secret_equal(&of_c, &of_s));
	if (c.plain > 0 || s.plain > 0)
		MUST(tls_peer(c.plain > 0 ? c.t : s.t) != NULL);
	tls_close(c.t);
	(void)tls_feed_end(s.t);
	tls_free(c.t);
	tls_free(s.t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tape t = {data, size};

	start();
	switch (tape_byte(&t) % 3) {
	case 0:
		feed_unauthenticated(TLS_SERVER, t.at, t.left);
		break;
	case 1:
		feed_unauthenticated(TLS_CLIENT, t.at, t.left);
		break;
	default:
		between(&t);
		break;
	}
	return 0;
}
