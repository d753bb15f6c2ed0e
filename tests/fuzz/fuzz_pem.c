/*
 * crypto/cert and crypto/identity: any PEM, as certificate, key, CA, request to sign.
 *
 *     u8 kind | text; with bit 7 the text is DER and is wrapped in PEM, so that mutations reach
 *     the ASN.1 inside the base64. For a key (kind 2) bit 7 means: edits { u16 at, u8 } of our own key.
 */
#include <time.h>

#include "crypto/cert.h"
#include "crypto/random.h"
#include "tests/fuzz/fuzz.h"

static struct pem_pair ca, own;

static void start(void)
{
	static bool done;
	struct cert_params wish = {.name = "ca", .is_ca = true};
	int64_t now = (int64_t)time(NULL);

	if (done)
		return;
	MUST(crypto_start());
	wish.not_before = now - 3600;
	wish.not_after = now + 360000;
	MUST(cert_self(&ca, &wish));
	wish.name = "own";
	wish.is_ca = false;
	wish.not_after = now + 3600;
	MUST(cert_issue(&own, &wish, ca.cert, ca.key) == IDENTITY_OK);
	done = true;
}

static char *wrap(const uint8_t *der, size_t n, const char *label)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char *pem = malloc(n * 2 + 200), *p = pem;

	MUST(pem != NULL);
	p += sprintf(p, "-----BEGIN %s-----\n", label);
	for (size_t i = 0; i < n; i += 3) {
		uint32_t v = (uint32_t)der[i] << 16 | (uint32_t)(i + 1 < n ? der[i + 1] : 0) << 8 |
			     (uint32_t)(i + 2 < n ? der[i + 2] : 0);

		*p++ = digits[v >> 18];
		*p++ = digits[v >> 12 & 63];
		*p++ = i + 1 < n ? digits[v >> 6 & 63] : '=';
		*p++ = i + 2 < n ? digits[v & 63] : '=';
		if (i % 48 == 45)
			*p++ = '\n';
	}
	sprintf(p, "\n-----END %s-----\n", label);
	return pem;
}

static void check_facts(const struct cert_facts *f)
{
	MUST(memchr(f->name, 0, sizeof f->name) != NULL && f->addrs <= CERT_ADDRS_MAX);
	MUST(memchr(f->subject, 0, sizeof f->subject) != NULL);
	MUST(memchr(f->issuer, 0, sizeof f->issuer) != NULL);
	for (const char *p = f->subject; *p != '\0'; p++)
		MUST((unsigned char)*p >= 0x20 && *p != 0x7f);
	for (size_t i = 0; i < f->addrs; i++)
		MUST(f->addr[i].len == 4 || f->addr[i].len == 16);
}

static void use(unsigned what, const char *pem)
{
	static char signed_[CERT_PEM_MAX];
	struct cert_params wish = {.name = "new", .not_after = (int64_t)time(NULL) + 60};
	struct identity *id = NULL;
	struct cert_facts facts;
	enum identity_fault f;

	switch (what) {
	case 0:
		if (cert_read(pem, &facts) == IDENTITY_OK)
			check_facts(&facts);
		return;
	case 1:
		f = identity_load(&id, pem, own.key, ca.cert);
		break;
	case 2:
		f = identity_load(&id, own.cert, pem, NULL);
		break;
	case 3:
		f = identity_load(&id, own.cert, own.key, pem);
		break;
	case 4:
		if (cert_sign(signed_, &wish, pem, ca.cert, ca.key) == IDENTITY_OK)
			MUST(cert_read(signed_, &facts) == IDENTITY_OK &&
			     strcmp(facts.name, "new") == 0 && !facts.is_ca);
		return;
	default:
		(void)cert_sign(signed_, &wish, own.cert, pem, ca.key);
		return;
	}
	MUST((f == IDENTITY_OK) == (id != NULL));
	if (id != NULL)
		check_facts(identity_facts(id));
	identity_free(id);
}

static char *edited_key(const uint8_t *data, size_t size)
{
	size_t n = strlen(own.key);
	char *pem = copy_of((const uint8_t *)own.key, n);

	for (; size >= 3; size -= 3, data += 3)
		pem[(size_t)(data[0] << 8 | data[1]) % n] = (char)data[2];
	return pem;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned what;
	char *pem;

	start();
	if (size < 1 || size > CERT_PEM_MAX / 2)
		return 0;
	what = data[0] % 0x40 % 6;
	if (!(data[0] & 0x80))
		pem = copy_of(data + 1, size - 1);
	else if (what == 2)
		pem = edited_key(data + 1, size - 1);
	else
		pem = wrap(data + 1, size - 1, "CERTIFICATE");
	use(what, pem);
	free(pem);
	return 0;
}
