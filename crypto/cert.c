/*
 * crypto/cert.c - reads certificates and makes new ones.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mbedtls/error.h>
#include <mbedtls/pem.h>

#include "crypto/date.h"
#include "crypto/hex.h"
#include "crypto/hkdf.h"
#include "crypto/mbed.h"
#include "crypto/random.h"

#define URI "sapair:"
#define URI_LEN 7
#define LAB_UNIT "sapair lab"
#define DN_MAX 1024 /* a subject as text, before it is truncated for cert_facts */

static unsigned char oid_org_unit[] = {0x55, 0x04, 0x0b};
static unsigned char oid_server_auth[] = {0x2b, 6, 1, 5, 5, 7, 3, 1};
static unsigned char oid_client_auth[] = {0x2b, 6, 1, 5, 5, 7, 3, 2};
static const char oid_authority_key[] = {0x55, 0x1d, 0x23};

/* A CA's key may be RSA (those of old Windows CAs are). Agents' keys may not: cert_key_is_ec(). */
const mbedtls_x509_crt_profile cert_profile = {
	.allowed_mds = MBEDTLS_X509_ID_FLAG(MBEDTLS_MD_SHA256) |
		       MBEDTLS_X509_ID_FLAG(MBEDTLS_MD_SHA384) |
		       MBEDTLS_X509_ID_FLAG(MBEDTLS_MD_SHA512),
	.allowed_pks = UINT32_MAX,
	.allowed_curves = MBEDTLS_X509_ID_FLAG(MBEDTLS_ECP_DP_SECP256R1) |
			  MBEDTLS_X509_ID_FLAG(MBEDTLS_ECP_DP_SECP384R1) |
			  MBEDTLS_X509_ID_FLAG(MBEDTLS_ECP_DP_SECP521R1),
	.rsa_min_bitlen = 2048,
};

static const struct {
	const char *word;
	const char *text;
} faults[] = {
	[CERT_OK] = {"ok", "the certificate is valid"},
	[CERT_MISSING] = {"missing", "the peer sent no certificate"},
	[CERT_UNTRUSTED] = {"untrusted",
			    "the certificate is not signed by a trusted CA, and no pin matches "
			    "it"},
	[CERT_EXPIRED] = {"expired", "the certificate has expired"},
	[CERT_NOT_YET_VALID] = {"not-yet-valid",
				"the certificate is not valid yet (is the clock right?)"},
	[CERT_WRONG_PIN] = {"wrong-pin", "the key is not the one pinned for this peer"},
	[CERT_WRONG_PEER] = {"wrong-peer",
			     "the certificate is valid, but not of the configured peer"},
	[CERT_WRONG_PURPOSE] = {"wrong-purpose",
				"the certificate's key usage does not allow this use"},
	[CERT_UNREADABLE] = {"unreadable", "the certificate cannot be read"},
	[CERT_WEAK] = {"weak",
		       "the certificate's key or signature is too weak (the minimum is EC P-256 "
		       "and SHA-256)"},
	[CERT_DENIED] = {"denied", "the key is on the deny list of this host"},
	[CERT_LAB] = {"lab", "a lab identity, and allow_lab is not set"},
};

const char *cert_fault_word(enum cert_fault f)
{
	return (size_t)f < sizeof faults / sizeof faults[0] ? faults[f].word : "unknown";
}

const char *cert_fault_text(enum cert_fault f)
{
	return (size_t)f < sizeof faults / sizeof faults[0] ? faults[f].text : "unknown fault";
}

void pin_put(char *text, const uint8_t pin[PIN_LEN])
{
	memcpy(text, "sha256:", 7);
	hex_put(text + 7, pin, PIN_LEN);
}

bool pin_get(uint8_t pin[PIN_LEN], const char *text)
{
	if (strncmp(text, "sha256:", 7) != 0 && strncmp(text, "SHA256:", 7) != 0) {
		wipe(pin, PIN_LEN);
		return false;
	}
	return hex_get(pin, PIN_LEN, text + 7, strlen(text + 7));
}

int64_t cert_seconds_of(const mbedtls_x509_time *t)
{
	return date_days(t->year, t->mon, t->day) * DATE_DAY_S + t->hour * 3600 + t->min * 60 +
	       t->sec;
}

/* "YYYYMMDDhhmmss", as mbedtls_x509write_crt_set_validity() wants it; 0 <= s <= DATE_MAX. */
static void put_time(char text[MBEDTLS_X509_RFC5280_UTC_TIME_LEN], int64_t s)
{
	char date[DATE_TEXT];
	size_t n = 0;

	date_put(date, s);
	for (const char *p = date; *p != '\0'; p++)
		if (*p >= '0' && *p <= '9')
			text[n++] = *p;
	text[n] = '\0';
}

/*
 * Reading.
 */
static bool name_fits(const char *name, size_t len)
{
	if (len < 1 || len > CERT_NAME_MAX)
		return false;
	for (size_t i = 0; i < len; i++)
		if (!(name[i] >= 'a' && name[i] <= 'z') && !(name[i] >= 'A' && name[i] <= 'Z') &&
		    !(name[i] >= '0' && name[i] <= '9') && name[i] != '.' && name[i] != '_' &&
		    name[i] != '-')
			return false;
	return true;
}

/* mbedTLS escapes all but ASCII. A long text is truncated. */
void cert_dn_put(char *text, size_t size, const mbedtls_x509_name *dn)
{
	char whole[DN_MAX];
	size_t len = 0;

	if (mbedtls_x509_dn_gets(whole, sizeof whole, dn) < 0)
		strcpy(whole, "(unreadable)");
	for (; whole[len] != '\0' && len < size - 1; len++)
		text[len] = whole[len] >= ' ' && whole[len] <= '~' ? whole[len] : '?';
	if (whole[len] != '\0')
		memcpy(text + size - 4, "...", 3);
	text[len] = '\0';
}

static bool unit_is_lab(const mbedtls_x509_name *dn)
{
	for (; dn != NULL; dn = dn->next)
		if (dn->oid.len == sizeof oid_org_unit &&
		    memcmp(dn->oid.p, oid_org_unit, sizeof oid_org_unit) == 0 &&
		    dn->val.len == sizeof LAB_UNIT - 1 &&
		    memcmp(dn->val.p, LAB_UNIT, sizeof LAB_UNIT - 1) == 0)
			return true;
	return false;
}

/* Other names, for messages. */
static void read_unused(struct cert_facts *f, int kind, const mbedtls_x509_buf *name)
{
	size_t n = strlen(f->unused), room = sizeof f->unused - n;
	const char *type = kind == MBEDTLS_X509_SAN_DNS_NAME                      ? "DNS"
			   : kind == MBEDTLS_X509_SAN_RFC822_NAME                 ? "email"
			   : kind == MBEDTLS_X509_SAN_UNIFORM_RESOURCE_IDENTIFIER ? "URI"
										  : NULL;

	if (type == NULL)
		return;
	if (name->len + strlen(type) + sizeof ",  , ..." > room) {
		if (n > 0 && f->unused[n - 1] != '.')
			memcpy(f->unused + n, ", ...", sizeof ", ...");
		return;
	}
	n += (size_t)snprintf(f->unused + n, room, "%s%s ", n > 0 ? ", " : "", type);
	for (size_t i = 0; i < name->len; i++)
		f->unused[n + i] = (char)(name->p[i] > ' ' && name->p[i] <= '~' ? name->p[i] : '?');
}

/* A certificate with two names has none: readers might choose different ones. */
static bool read_uri(struct cert_facts *f, const char *uri, size_t len, bool *twice)
{
	if (len < URI_LEN || memcmp(uri, URI, URI_LEN) != 0 ||
	    !name_fits(uri + URI_LEN, len - URI_LEN))
		return false;
	if (f->name[0] != '\0')
		*twice = true;
	memcpy(f->name, uri + URI_LEN, len - URI_LEN);
	f->name[len - URI_LEN] = '\0';
	return true;
}

static void read_names(struct cert_facts *f, const mbedtls_x509_sequence *san)
{
	bool twice = false;

	for (; san != NULL && san->buf.p != NULL; san = san->next) {
		int kind = san->buf.tag & MBEDTLS_ASN1_TAG_VALUE_MASK;

		if (kind == MBEDTLS_X509_SAN_UNIFORM_RESOURCE_IDENTIFIER &&
		    read_uri(f, (const char *)san->buf.p, san->buf.len, &twice))
			continue;
		if (kind != MBEDTLS_X509_SAN_IP_ADDRESS) {
			read_unused(f, kind, &san->buf);
		} else if (san->buf.len != 4 && san->buf.len != 16) {
			continue;
		} else if (f->addrs == CERT_ADDRS_MAX) {
			f->addrs_more++;
		} else {
			memcpy(f->addr[f->addrs].bytes, san->buf.p, san->buf.len);
			f->addr[f->addrs++].len = (uint8_t)san->buf.len;
		}
	}
	if (twice)
		memset(f->name, 0, sizeof f->name);
}

bool cert_facts_of(struct cert_facts *f, const mbedtls_x509_crt *crt)
{
	const struct bytes spki = {crt->pk_raw.p, crt->pk_raw.len};

	memset(f, 0, sizeof *f);
	if (crt->pk_raw.len == 0 || !sha256(&spki, 1, f->pin))
		return false;
	read_names(f, &crt->subject_alt_names);
	cert_dn_put(f->subject, sizeof f->subject, &crt->subject);
	cert_dn_put(f->issuer, sizeof f->issuer, &crt->issuer);
	f->not_before = cert_seconds_of(&crt->valid_from);
	f->not_after = cert_seconds_of(&crt->valid_to);
	f->is_ca = mbedtls_x509_crt_get_ca_istrue(crt) == 1;
	f->is_lab = unit_is_lab(&crt->subject);
	f->self_signed = crt->issuer_raw.len == crt->subject_raw.len &&
			 memcmp(crt->issuer_raw.p, crt->subject_raw.p, crt->issuer_raw.len) == 0;
	return true;
}

bool cert_key_is_ec(const mbedtls_pk_context *pk)
{
	psa_key_attributes_t a = PSA_KEY_ATTRIBUTES_INIT;
	size_t bits;

	if (mbedtls_pk_get_psa_attributes(pk, PSA_KEY_USAGE_VERIFY_HASH, &a) != 0)
		return false;
	bits = psa_get_key_bits(&a);
	return psa_get_key_type(&a) == PSA_KEY_TYPE_ECC_PUBLIC_KEY(PSA_ECC_FAMILY_SECP_R1) &&
	       (bits == 256 || bits == 384 || bits == 521);
}

void cert_key_put(char text[CERT_KEY_TEXT], const mbedtls_pk_context *pk)
{
	psa_key_attributes_t a = PSA_KEY_ATTRIBUTES_INIT;
	const char *type = mbedtls_pk_get_name(pk);
	bool known = mbedtls_pk_get_psa_attributes(pk, PSA_KEY_USAGE_VERIFY_HASH, &a) == 0;
	psa_key_type_t kind = psa_get_key_type(&a);

	if (known && PSA_KEY_TYPE_IS_ECC(kind))
		type = PSA_KEY_TYPE_ECC_GET_FAMILY(kind) == PSA_ECC_FAMILY_BRAINPOOL_P_R1
			       ? "EC brainpool"
		       : PSA_KEY_TYPE_ECC_GET_FAMILY(kind) == PSA_ECC_FAMILY_SECP_K1 ? "EC secp k1"
										     : "EC P";
	snprintf(text, CERT_KEY_TEXT, "%s, %zu bits", type, mbedtls_pk_get_bitlen(pk));
}

/* mbedTLS adds a high-level code (module in bits 7 to 14) and a low-level one. */
static enum identity_fault parse_fault(int ret, enum identity_fault otherwise)
{
	switch (-(-ret & 0x7f80)) {
	case MBEDTLS_ERR_X509_ALLOC_FAILED:
	case MBEDTLS_ERR_PK_ALLOC_FAILED:
	case MBEDTLS_ERR_PEM_ALLOC_FAILED:
		return IDENTITY_NO_MEMORY;
	case MBEDTLS_ERR_X509_UNKNOWN_SIG_ALG: /* such as Ed25519 */
	case MBEDTLS_ERR_PK_UNKNOWN_PK_ALG:
	case MBEDTLS_ERR_PK_UNKNOWN_NAMED_CURVE:
		return IDENTITY_WEAK;
	default:
		return otherwise;
	}
}

enum identity_fault cert_parse(mbedtls_x509_crt *to, const char *pem, enum identity_fault otherwise)
{
	size_t len = strlen(pem);
	int ret;

	if (len >= CERT_PEM_MAX)
		return otherwise;
	ret = mbedtls_x509_crt_parse(to, (const unsigned char *)pem, len + 1);
	if (ret > 0 && otherwise == IDENTITY_BAD_CA)
		return IDENTITY_OK; /* one CA that cannot be read does not take the others away */
	if (otherwise == IDENTITY_BAD_CA)
		return ret == 0 ? IDENTITY_OK : IDENTITY_BAD_CA;
	return ret == 0 ? IDENTITY_OK : parse_fault(ret, otherwise);
}

enum identity_fault cert_parse_key(mbedtls_pk_context *to, const char *pem)
{
	size_t len = strlen(pem);
	int ret;

	if (len >= CERT_PEM_MAX)
		return IDENTITY_BAD_KEY;
	ret = mbedtls_pk_parse_key(to, (const unsigned char *)pem, len + 1, NULL, 0,
				   random_callback, NULL);
	return ret == 0 ? IDENTITY_OK : parse_fault(ret, IDENTITY_BAD_KEY);
}

bool cert_may_sign(const mbedtls_x509_crt *crt)
{
	return mbedtls_x509_crt_get_ca_istrue(crt) == 1 &&
	       mbedtls_x509_crt_check_key_usage(crt, MBEDTLS_X509_KU_KEY_CERT_SIGN) == 0;
}

enum identity_fault cert_read(const char *pem, struct cert_facts *facts)
{
	mbedtls_x509_crt crt;
	enum identity_fault fault;

	memset(facts, 0, sizeof *facts);
	mbedtls_x509_crt_init(&crt);
	fault = cert_parse(&crt, pem, IDENTITY_BAD_CERT);
	if (fault == IDENTITY_OK && !cert_facts_of(facts, &crt))
		fault = IDENTITY_NO_MEMORY;
	mbedtls_x509_crt_free(&crt);
	return fault;
}

/*
 * Writing.
 */
struct ca {
	mbedtls_x509_crt crt;
	mbedtls_pk_context key;
};

static enum identity_fault ca_open(struct ca *ca, const char *cert, const char *key)
{
	enum identity_fault fault;

	mbedtls_x509_crt_init(&ca->crt);
	mbedtls_pk_init(&ca->key);
	fault = cert_parse(&ca->crt, cert, IDENTITY_BAD_CA);
	if (fault == IDENTITY_OK && !cert_may_sign(&ca->crt))
		fault = IDENTITY_BAD_CA;
	if (fault == IDENTITY_OK)
		fault = cert_parse_key(&ca->key, key);
	if (fault == IDENTITY_OK &&
	    mbedtls_pk_check_pair(&ca->crt.pk, &ca->key, random_callback, NULL) != 0)
		fault = IDENTITY_WRONG_KEY;
	return fault;
}

static void ca_close(struct ca *ca)
{
	mbedtls_pk_free(&ca->key);
	mbedtls_x509_crt_free(&ca->crt);
}

static bool params_fit(const struct cert_params *w)
{
	if (w->name == NULL || !name_fits(w->name, strlen(w->name)) || w->addrs > CERT_ADDRS_MAX ||
	    w->not_before < 0 || w->not_after < w->not_before || w->not_after > DATE_MAX)
		return false;
	for (size_t i = 0; i < w->addrs; i++)
		if (w->addr[i][0] != 4 && w->addr[i][0] != 16)
			return false;
	return true;
}

/* The PSA key slot is freed as soon as the key is copied. */
static bool make_key(mbedtls_pk_context *key)
{
	psa_key_attributes_t a = PSA_KEY_ATTRIBUTES_INIT;
	psa_key_id_t id;
	int ret;

	psa_set_key_type(&a, PSA_KEY_TYPE_ECC_KEY_PAIR(PSA_ECC_FAMILY_SECP_R1));
	psa_set_key_bits(&a, 256);
	psa_set_key_algorithm(&a, PSA_ALG_ECDSA(PSA_ALG_ANY_HASH));
	psa_set_key_usage_flags(&a, PSA_KEY_USAGE_SIGN_HASH | PSA_KEY_USAGE_EXPORT);
	if (psa_generate_key(&a, &id) != PSA_SUCCESS)
		return false;
	ret = mbedtls_pk_copy_from_psa(id, key);
	psa_destroy_key(id);
	return ret == 0;
}

/* mbedTLS writes the list from its end: the URI is its last element, to come first. */
static bool put_san(mbedtls_x509write_cert *w, const struct cert_params *params)
{
	mbedtls_x509_san_list list[CERT_ADDRS_MAX + 1], *at = list;
	uint8_t bytes[CERT_ADDRS_MAX][16]; /* mbedTLS wants pointers that are not const */
	char uri[URI_LEN + CERT_NAME_MAX + 1];

	memset(list, 0, sizeof list);
	for (size_t i = params->addrs; i-- > 0; at++) {
		memcpy(bytes[i], params->addr[i] + 1, params->addr[i][0]);
		at->node.type = MBEDTLS_X509_SAN_IP_ADDRESS;
		at->node.san.unstructured_name.p = bytes[i];
		at->node.san.unstructured_name.len = params->addr[i][0];
		at->next = at + 1;
	}
	snprintf(uri, sizeof uri, URI "%s", params->name);
	at->node.type = MBEDTLS_X509_SAN_UNIFORM_RESOURCE_IDENTIFIER;
	at->node.san.unstructured_name.p = (unsigned char *)uri;
	at->node.san.unstructured_name.len = strlen(uri);
	return mbedtls_x509write_crt_set_subject_alternative_name(w, list) == 0;
}

static bool put_purpose(mbedtls_x509write_cert *w, bool is_ca)
{
	mbedtls_asn1_sequence client = {{MBEDTLS_ASN1_OID, sizeof oid_client_auth, oid_client_auth},
					NULL};
	mbedtls_asn1_sequence both = {{MBEDTLS_ASN1_OID, sizeof oid_server_auth, oid_server_auth},
				      &client};

	if (is_ca)
		return mbedtls_x509write_crt_set_basic_constraints(w, 1, 0) == 0 &&
		       mbedtls_x509write_crt_set_key_usage(w, MBEDTLS_X509_KU_KEY_CERT_SIGN) == 0;
	return mbedtls_x509write_crt_set_basic_constraints(w, 0, -1) == 0 &&
	       mbedtls_x509write_crt_set_key_usage(w, MBEDTLS_X509_KU_DIGITAL_SIGNATURE) == 0 &&
	       mbedtls_x509write_crt_set_ext_key_usage(w, &both) == 0;
}

/* The CA's own key identifier, which OpenSSL compares, however it was computed. */
static bool put_authority(mbedtls_x509write_cert *w, const mbedtls_x509_crt *ca)
{
	uint8_t der[4 + 64];
	size_t n = ca->subject_key_id.len;

	if (n == 0 || n > 64)
		return true; /* optional */
	der[0] = MBEDTLS_ASN1_CONSTRUCTED | MBEDTLS_ASN1_SEQUENCE;
	der[1] = (uint8_t)(n + 2);
	der[2] = MBEDTLS_ASN1_CONTEXT_SPECIFIC;
	der[3] = (uint8_t)n;
	memcpy(der + 4, ca->subject_key_id.p, n);
	return mbedtls_x509write_crt_set_extension(w, oid_authority_key, sizeof oid_authority_key,
						   0, der, n + 4) == 0;
}

static bool put_subject_and_issuer(mbedtls_x509write_cert *w, const struct cert_params *params,
				   const mbedtls_x509_crt *ca)
{
	char dn[DN_MAX];

	snprintf(dn, sizeof dn, "CN=%s,O=sapair%s", params->name,
		 params->is_lab ? ",OU=" LAB_UNIT : "");
	if (mbedtls_x509write_crt_set_subject_name(w, dn) != 0)
		return false;
	if (ca == NULL)
		return mbedtls_x509write_crt_set_issuer_name(w, dn) == 0;
	return mbedtls_x509_dn_gets(dn, sizeof dn, &ca->subject) > 0 &&
	       mbedtls_x509write_crt_set_issuer_name(w, dn) == 0 && put_authority(w, ca);
}

/* ca is NULL for a self-signed certificate; then signer is its own key. */
static bool write_cert(char *pem, const struct cert_params *params, mbedtls_pk_context *subject,
		       const mbedtls_x509_crt *ca, mbedtls_pk_context *signer)
{
	char from[MBEDTLS_X509_RFC5280_UTC_TIME_LEN], to[MBEDTLS_X509_RFC5280_UTC_TIME_LEN];
	unsigned char serial[16];
	mbedtls_x509write_cert w;
	bool ok;

	/* 127 bits: positive, without the leading zero byte that DER forbids */
	random_bytes(serial, sizeof serial);
	serial[0] = (unsigned char)((serial[0] & 0x7f) | 0x40);
	put_time(from, params->not_before);
	put_time(to, params->not_after);

	mbedtls_x509write_crt_init(&w);
	mbedtls_x509write_crt_set_version(&w, MBEDTLS_X509_CRT_VERSION_3);
	mbedtls_x509write_crt_set_md_alg(&w, MBEDTLS_MD_SHA256);
	mbedtls_x509write_crt_set_subject_key(&w, subject);
	mbedtls_x509write_crt_set_issuer_key(&w, signer);
	ok = mbedtls_x509write_crt_set_serial_raw(&w, serial, sizeof serial) == 0 &&
	     mbedtls_x509write_crt_set_validity(&w, from, to) == 0 &&
	     put_subject_and_issuer(&w, params, ca) && put_purpose(&w, params->is_ca) &&
	     mbedtls_x509write_crt_set_subject_key_identifier(&w) == 0 && put_san(&w, params) &&
	     mbedtls_x509write_crt_pem(&w, (unsigned char *)pem, CERT_PEM_MAX, random_callback,
				       NULL) == 0;
	mbedtls_x509write_crt_free(&w);
	return ok;
}

/* Whether the new certificate chains to the CA: not every CA name survives the conversion to text
 * and back. Dates are not checked. */
static bool chains(const char *pem, mbedtls_x509_crt *ca)
{
	mbedtls_x509_crt crt;
	uint32_t flags = 0;
	int ret;

	mbedtls_x509_crt_init(&crt);
	ret = mbedtls_x509_crt_parse(&crt, (const unsigned char *)pem, strlen(pem) + 1);
	if (ret == 0)
		ret = mbedtls_x509_crt_verify_with_profile(&crt, ca, NULL, &cert_profile, NULL,
							   &flags, NULL, NULL);
	mbedtls_x509_crt_free(&crt);
	if (ret == MBEDTLS_ERR_X509_CERT_VERIFY_FAILED)
		return (flags & ~(uint32_t)(MBEDTLS_X509_BADCERT_EXPIRED |
					    MBEDTLS_X509_BADCERT_FUTURE)) == 0;
	return ret == 0;
}

bool cert_self(struct pem_pair *out, const struct cert_params *params)
{
	mbedtls_pk_context key;
	bool ok;

	wipe(out, sizeof *out);
	if (!params_fit(params))
		return false;
	mbedtls_pk_init(&key);
	ok = make_key(&key) && write_cert(out->cert, params, &key, NULL, &key) &&
	     mbedtls_pk_write_key_pem(&key, (unsigned char *)out->key, sizeof out->key) == 0;
	mbedtls_pk_free(&key);
	if (!ok)
		wipe(out, sizeof *out);
	return ok;
}

/* Signs for a key: that of subject_cert, or a new one, which is written to key_pem. */
static enum identity_fault certify(char *pem, char *key_pem, const struct cert_params *params,
				   const char *subject_cert, const char *ca_cert,
				   const char *ca_key)
{
	struct ca ca;
	mbedtls_x509_crt subject;
	mbedtls_pk_context fresh, *key = &fresh;
	enum identity_fault fault;

	if (!params_fit(params) || params->is_ca)
		return IDENTITY_BAD_CERT;
	mbedtls_x509_crt_init(&subject);
	mbedtls_pk_init(&fresh);
	fault = ca_open(&ca, ca_cert, ca_key);
	if (fault == IDENTITY_OK && subject_cert != NULL) {
		key = &subject.pk;
		fault = cert_parse(&subject, subject_cert, IDENTITY_BAD_CERT);
		if (fault == IDENTITY_OK && !cert_key_is_ec(key))
			fault = IDENTITY_WEAK;
	} else if (fault == IDENTITY_OK && !make_key(key)) {
		fault = IDENTITY_NO_MEMORY;
	}
	if (fault == IDENTITY_OK && !write_cert(pem, params, key, &ca.crt, &ca.key))
		fault = IDENTITY_NO_MEMORY;
	if (fault == IDENTITY_OK && !chains(pem, &ca.crt))
		fault = IDENTITY_BAD_CA;
	if (fault == IDENTITY_OK && key_pem != NULL &&
	    mbedtls_pk_write_key_pem(key, (unsigned char *)key_pem, CERT_PEM_MAX) != 0)
		fault = IDENTITY_NO_MEMORY;
	mbedtls_pk_free(&fresh);
	mbedtls_x509_crt_free(&subject);
	ca_close(&ca);
	return fault;
}

enum identity_fault cert_issue(struct pem_pair *out, const struct cert_params *params,
			       const char *ca_cert, const char *ca_key)
{
	enum identity_fault fault;

	wipe(out, sizeof *out);
	fault = certify(out->cert, out->key, params, NULL, ca_cert, ca_key);
	if (fault != IDENTITY_OK)
		wipe(out, sizeof *out);
	return fault;
}

enum identity_fault cert_sign(char *out, const struct cert_params *params, const char *subject_cert,
			      const char *ca_cert, const char *ca_key)
{
	enum identity_fault fault;

	wipe(out, CERT_PEM_MAX);
	fault = certify(out, NULL, params, subject_cert, ca_cert, ca_key);
	if (fault != IDENTITY_OK)
		wipe(out, CERT_PEM_MAX);
	return fault;
}
