/*
 * crypto/explain.c - looks for the first fault in a PEM text that mbedTLS refuses.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <mbedtls/asn1.h>
#include <mbedtls/oid.h>
#include <mbedtls/pem.h>

#include "crypto/explain.h"
#include "crypto/mbed.h"
#include "crypto/random.h"

#define LABEL_MAX 40
#define DEPTH_MAX 16
#define TYPES "EC on P-256, P-384 or P-521 is needed"

struct block {
	const char *text; /* at its BEGIN line */
	char label[LABEL_MAX];
	unsigned line; /* of BEGIN */
};

#ifdef __MINGW32__
#define FORMAT gnu_printf
#else
#define FORMAT printf
#endif
static bool say(char cause[PEM_CAUSE], const char *fmt, ...) __attribute__((format(FORMAT, 2, 3)));
static bool say(char cause[PEM_CAUSE], const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(cause, PEM_CAUSE, fmt, ap);
	va_end(ap);
	return true;
}

static unsigned line_of(const char *text, const char *at)
{
	unsigned line = 1;

	for (; text < at; text++)
		line += *text == '\n';
	return line;
}

/* ---- DER ------------------------------------------------------------------------------- */

/* Reads the elements from p to end and those within; the first that does not fit, or NULL. */
static const unsigned char *find_broken(const unsigned char *p, const unsigned char *end,
					unsigned depth)
{
	while (p != NULL && p < end) {
		unsigned char *in = (unsigned char *)(uintptr_t)p + 1;
		size_t n;

		if (mbedtls_asn1_get_len(&in, end, &n) != 0)
			return p;
		if ((*p & MBEDTLS_ASN1_CONSTRUCTED) != 0 && depth < DEPTH_MAX) {
			const unsigned char *within = find_broken(in, in + n, depth + 1);

			if (within != NULL)
				return within;
		}
		p = in + n;
	}
	return NULL;
}

/* The nth member of the part of a certificate that is signed, after its version; or NULL. */
static unsigned char *member(unsigned char *der, size_t len, unsigned n)
{
	unsigned char *p = der, *end = der + len;
	size_t size;

	for (unsigned i = 0; i < 2; i++)
		if (mbedtls_asn1_get_tag(&p, end, &size, 0x30) != 0)
			return NULL;
	if (p < end && *p == 0xa0)
		n++;
	for (; n > 0; n--) {
		if (p++ >= end || mbedtls_asn1_get_len(&p, end, &size) != 0)
			return NULL;
		p += size;
	}
	return p < end ? p : NULL;
}

static const char *name_of(char text[64], const mbedtls_asn1_buf *oid)
{
#define OID(bytes, name)                      \
	{                                     \
		bytes, sizeof bytes - 1, name \
	}
	static const struct {
		const char *oid;
		size_t len;
		const char *name;
	} known[] = {
		OID("\x2b\x65\x70", "Ed25519"),
		OID("\x2b\x65\x71", "Ed448"),
		OID("\x2b\x65\x6e", "X25519"),
		OID("\x2a\x86\x48\xce\x38\x04\x01", "DSA"),
		OID("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a", "RSA-PSS"),
		OID("\x2b\x81\x04\x00\x0a", "secp256k1"),
		OID("\x2b\x81\x04\x00\x21", "secp224r1"),
		OID("\x2a\x86\x48\xce\x3d\x03\x01\x01", "secp192r1"),
	};

	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		if (oid->len == known[i].len && memcmp(oid->p, known[i].oid, oid->len) == 0)
			return known[i].name;
	return mbedtls_oid_get_numeric_string(text, 64, oid) > 0 ? text : "unknown";
}

/* The key's type, from its SubjectPublicKeyInfo. */
static bool say_key(char cause[PEM_CAUSE], const char *where, unsigned char *spki,
		    const unsigned char *end, size_t off)
{
	mbedtls_asn1_buf oid = {0, 0, NULL}, curve = {0, 0, NULL};
	unsigned char *p = spki;
	char text[64];
	size_t n;
	bool is_ec;

	if (p == NULL || mbedtls_asn1_get_tag(&p, end, &n, 0x30) != 0 ||
	    mbedtls_asn1_get_tag(&p, end, &n, 0x30) != 0 ||
	    mbedtls_asn1_get_tag(&p, end, &oid.len, MBEDTLS_ASN1_OID) != 0)
		return say(cause, "%s: its public key, at byte %zu, cannot be read", where, off);
	oid.p = p;
	p += oid.len;
	is_ec = oid.len == MBEDTLS_OID_SIZE(MBEDTLS_OID_EC_ALG_UNRESTRICTED) &&
		memcmp(oid.p, MBEDTLS_OID_EC_ALG_UNRESTRICTED, oid.len) == 0;
	if (!is_ec)
		return say(cause, "%s: its key, at byte %zu, is of type %s; " TYPES, where, off,
			   name_of(text, &oid));
	if (p < end && *p == 0x30)
		return say(
			cause,
			"%s: its EC key, at byte %zu, has explicit curve parameters instead of "
			"the name of a curve; make it with -param_enc named_curve, on P-256, P-384 "
			"or P-521",
			where, off);
	if (mbedtls_asn1_get_tag(&p, end, &curve.len, MBEDTLS_ASN1_OID) != 0)
		return say(cause, "%s: its EC key, at byte %zu, names no curve", where, off);
	curve.p = p;
	return say(cause, "%s: its EC key, at byte %zu, is on the curve %s; " TYPES, where, off,
		   name_of(text, &curve));
}

static bool explain_der(char cause[PEM_CAUSE], const char *where, unsigned char *der, size_t len,
			int ret)
{
	static const struct {
		int code;
		unsigned member; /* as member() counts */
		const char *what;
	} fields[] = {
		{MBEDTLS_ERR_X509_INVALID_SERIAL, 0, "serial number"},
		{MBEDTLS_ERR_X509_INVALID_ALG, 1, "signature algorithm"},
		{MBEDTLS_ERR_X509_UNKNOWN_SIG_ALG, 1, "signature algorithm"},
		{MBEDTLS_ERR_X509_INVALID_NAME, 2, "issuer or subject"},
		{MBEDTLS_ERR_X509_INVALID_DATE, 3, "validity"},
		{MBEDTLS_ERR_X509_INVALID_EXTENSIONS, 6, "extensions"},
	};
	const unsigned char *broken = find_broken(der, der + len, 0);
	unsigned char *spki = member(der, len, 5);
	char text[64];
	int high = -(-ret & 0x7f80);

	if (broken != NULL)
		return say(cause, "%s: its DER is cut or wrong at byte %zu of %zu", where,
			   (size_t)(broken - der), len);
	for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
		unsigned char *at = member(der, len, fields[i].member);
		mbedtls_asn1_buf oid = {0, 0, NULL};
		size_t n;

		if (fields[i].code != high || at == NULL)
			continue;
		n = (size_t)(at - der);
		if (high == MBEDTLS_ERR_X509_UNKNOWN_SIG_ALG &&
		    mbedtls_asn1_get_tag(&at, der + len, &oid.len, 0x30) == 0 &&
		    mbedtls_asn1_get_tag(&at, der + len, &oid.len, MBEDTLS_ASN1_OID) == 0) {
			oid.p = at;
			return say(cause,
				   "%s: its signature algorithm, at byte %zu, is %s, which is "
				   "not supported",
				   where, n, name_of(text, &oid));
		}
		return say(cause, "%s: its %s, at byte %zu, cannot be read", where, fields[i].what,
			   n);
	}
	if (high <= MBEDTLS_ERR_PK_ALLOC_FAILED + 0x780 && high >= MBEDTLS_ERR_PK_ALLOC_FAILED)
		return say_key(cause, where, spki, der + len,
			       spki != NULL ? (size_t)(spki - der) : 0);
	return say(cause, "%s: it cannot be read (mbedTLS: -0x%04x)", where, (unsigned)-ret);
}

/* ---- PEM ------------------------------------------------------------------------------- */

/* The next block from *at on; *at is set behind it. False: no more. */
static bool next_block(struct block *b, const char *text, const char **at, const char **end)
{
	const char *begin = strstr(*at, "-----BEGIN "), *label, *stop;
	char footer[LABEL_MAX + 16];
	size_t n;

	if (begin == NULL)
		return false;
	label = begin + 11;
	stop = strstr(label, "-----");
	n = stop != NULL ? (size_t)(stop - label) : 0;
	memset(b, 0, sizeof *b);
	b->text = begin;
	b->line = line_of(text, begin);
	if (n > 0 && n < LABEL_MAX && memchr(label, '\n', n) == NULL)
		memcpy(b->label, label, n);
	snprintf(footer, sizeof footer, "-----END %s-----", b->label);
	*end = strstr(label, footer);
	*at = *end != NULL ? *end + strlen(footer) : label;
	return true;
}

/* The first line of the block that is not base64. */
static bool say_base64(char cause[PEM_CAUSE], const struct block *b, const char *end)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				      "0123456789+/= \t\r";
	unsigned line = b->line + 1;

	for (const char *p = strchr(b->text, '\n'); p != NULL && p < end; p = strchr(p, '\n')) {
		p++;
		if (p + strspn(p, letters) < end && p[strspn(p, letters)] != '\n')
			return say(cause, "line %u is not base64", line);
		line++;
	}
	return say(cause, "line %u: the base64 of the block is not complete", b->line);
}

static bool is_ca_block(const mbedtls_x509_crt *crt, char cause[PEM_CAUSE], const char *where)
{
	char subject[100];

	if (cert_may_sign(crt))
		return true;
	cert_dn_put(subject, sizeof subject, &crt->subject);
	say(cause,
	    "%s: \"%s\" is not a CA: basicConstraints CA:TRUE and key usage keyCertSign are "
	    "needed",
	    where, subject);
	return false;
}

static bool explain_cert(char cause[PEM_CAUSE], const struct block *b, const char *end,
			 enum pem_use use, bool is_first)
{
	mbedtls_pem_context pem;
	mbedtls_x509_crt crt;
	char where[64], key[CERT_KEY_TEXT];
	size_t used;
	bool found = false;
	int ret;

	snprintf(where, sizeof where, "the certificate in line %u", b->line);
	mbedtls_pem_init(&pem);
	mbedtls_x509_crt_init(&crt);
	ret = mbedtls_pem_read_buffer(&pem, "-----BEGIN CERTIFICATE-----",
				      "-----END CERTIFICATE-----", (const unsigned char *)b->text,
				      NULL, 0, &used);
	if (ret != 0) {
		found = say_base64(cause, b, end);
	} else {
		ret = mbedtls_x509_crt_parse_der(&crt, pem.MBEDTLS_PRIVATE(buf),
						 pem.MBEDTLS_PRIVATE(buflen));
		if (ret != 0) {
			found = explain_der(cause, where, pem.MBEDTLS_PRIVATE(buf),
					    pem.MBEDTLS_PRIVATE(buflen), ret);
		} else if (use == PEM_CA) {
			found = !is_ca_block(&crt, cause, where);
		} else if (is_first && !cert_key_is_ec(&crt.pk)) {
			cert_key_put(key, &crt.pk);
			found = say(cause, "%s: its key is of type %s; " TYPES, where, key);
		}
	}
	mbedtls_x509_crt_free(&crt);
	mbedtls_pem_free(&pem);
	return found;
}

static bool explain_key(char cause[PEM_CAUSE], const struct block *b, const char *end,
			const char *text)
{
	mbedtls_pk_context pk;
	int ret;

	if (strcmp(b->label, "ENCRYPTED PRIVATE KEY") == 0 ||
	    strstr(b->text, "\nProc-Type: 4,ENCRYPTED") != NULL)
		return say(cause, "the private key in line %u is encrypted, which is not supported",
			   b->line);
	if (strcmp(b->label, "OPENSSH PRIVATE KEY") == 0)
		return say(cause, "line %u: an OpenSSH key; convert it with ssh-keygen -p -m PEM",
			   b->line);
	if (strstr(b->label, "PRIVATE KEY") == NULL)
		return say(cause, "line %u: %s, not a private key", b->line, b->label);
	mbedtls_pk_init(&pk);
	ret = mbedtls_pk_parse_key(&pk, (const unsigned char *)text, strlen(text) + 1, NULL, 0,
				   random_callback, NULL);
	mbedtls_pk_free(&pk);
	if (ret == 0)
		return false;
	if (-(-ret & 0x7f80) == MBEDTLS_ERR_PEM_INVALID_DATA)
		return say_base64(cause, b, end);
	switch (-(-ret & 0x7f80)) {
	case MBEDTLS_ERR_PK_UNKNOWN_PK_ALG:
		return say(cause,
			   "the private key in line %u is of a type that is not supported; " TYPES,
			   b->line);
	case MBEDTLS_ERR_PK_UNKNOWN_NAMED_CURVE:
		return say(cause,
			   "the private key in line %u is on a curve that is not supported; " TYPES,
			   b->line);
	default:
		return say(cause, "the private key in line %u cannot be read (mbedTLS: -0x%04x)",
			   b->line, (unsigned)-ret);
	}
}

static bool say_no_pem(char cause[PEM_CAUSE], const char *text, enum pem_use use)
{
	const unsigned char *p = (const unsigned char *)text;
	const char *what = use == PEM_KEY ? "PRIVATE KEY" : "CERTIFICATE";

	if (*p == '\0')
		return say(cause, "the file is empty");
	if (*p == 0x30 && p[1] >= 0x80)
		return say(cause,
			   "the file is DER, not PEM; convert it with openssl %s -inform DER",
			   use == PEM_KEY ? "pkey" : "x509");
	if ((p[0] == 0xff && p[1] == 0xfe) || (p[0] == 0xfe && p[1] == 0xff))
		return say(cause, "the file is UTF-16; save it as ASCII");
	return say(cause, "no line -----BEGIN %s-----", what);
}

bool pem_explain(char cause[PEM_CAUSE], const char *text, enum pem_use use)
{
	const char *at = text, *end;
	unsigned blocks = 0;
	struct block b;

	if (strlen(text) >= CERT_PEM_MAX)
		return say(cause, "%zu bytes; at most %d are allowed", strlen(text),
			   CERT_PEM_MAX - 1);
	while (next_block(&b, text, &at, &end)) {
		if (use == PEM_KEY && strcmp(b.label, "EC PARAMETERS") == 0)
			continue;
		if (end == NULL)
			return say(cause, "line %u: BEGIN %s without its END", b.line, b.label);
		if (use == PEM_KEY)
			return explain_key(cause, &b, end, text);
		if (strcmp(b.label, "CERTIFICATE") == 0) {
			if (explain_cert(cause, &b, end, use, blocks++ == 0))
				return true;
		} else if (blocks == 0) {
			return say(cause, "line %u: %s, not a certificate", b.line, b.label);
		}
	}
	return blocks == 0 ? say_no_pem(cause, text, use) : false;
}
