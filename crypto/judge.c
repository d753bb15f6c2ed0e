/*
 * crypto/judge.c - the rules for a peer's certificate, and the reasons that they give.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <mbedtls/oid.h>

#include "crypto/date.h"
#include "crypto/judge.h"
#include "crypto/mbed.h"

#define LIST_TEXT 120 /* a list of purposes or names within a reason */
#define ADDRS_SHOWN 4 /* in a list of names */
#define CERT_ADDR_TEXT 40
#define WEAK_FLAGS \
	(MBEDTLS_X509_BADCERT_BAD_MD | MBEDTLS_X509_BADCERT_BAD_PK | MBEDTLS_X509_BADCERT_BAD_KEY)

static const char server_auth[] = {0x2b, 6, 1, 5, 5, 7, 3, 1};
static const char client_auth[] = {0x2b, 6, 1, 5, 5, 7, 3, 2};

void cert_reason_add(struct cert_reasons *r, enum cert_fault fault, bool pin_helps, const char *fmt,
		     ...)
{
	struct cert_reason *to;
	va_list ap;

	if (r == NULL || r->n == CERT_REASONS_MAX)
		return;
	to = &r->v[r->n++];
	to->fault = fault;
	to->pin_helps = pin_helps;
	va_start(ap, fmt);
	vsnprintf(to->text, sizeof to->text, fmt, ap);
	va_end(ap);
}

/* Appends to a list: between elements a comma, at its end "..." where it is full. */
static void list(char *text, size_t size, const char *element)
{
	size_t n = strlen(text), need = strlen(element) + (n > 0 ? 2 : 0);

	if (n + need + sizeof ", ..." <= size)
		snprintf(text + n, size - n, "%s%s", n > 0 ? ", " : "", element);
	else if (n + sizeof ", ..." <= size && strcmp(text + n - 3, "...") != 0)
		memcpy(text + n, ", ...", sizeof ", ...");
}

/* ---- dates ----------------------------------------------------------------------------- */

static void judge_dates(const mbedtls_x509_crt *crt, uint32_t flags, const char *what,
			bool pin_helps, struct cert_reasons *r)
{
	char date[DATE_TEXT], now[DATE_TEXT];

	date_put(now, (int64_t)time(NULL));
	if (flags & MBEDTLS_X509_BADCERT_EXPIRED) {
		date_put(date, cert_seconds_of(&crt->valid_to));
		cert_reason_add(r, CERT_EXPIRED, pin_helps,
				"%s has expired: it ended at %s, the clock here says %s", what,
				date, now);
	}
	if (flags & MBEDTLS_X509_BADCERT_FUTURE) {
		date_put(date, cert_seconds_of(&crt->valid_from));
		cert_reason_add(r, CERT_NOT_YET_VALID, pin_helps,
				"%s is not valid yet: it begins at %s, the clock here says %s",
				what, date, now);
	}
}

/* ---- purposes -------------------------------------------------------------------------- */

static void list_purposes(char text[LIST_TEXT], const mbedtls_x509_crt *crt)
{
	static const struct {
		const char *oid, *name;
	} known[] = {
		{MBEDTLS_OID_SERVER_AUTH, "serverAuth"},
		{MBEDTLS_OID_CLIENT_AUTH, "clientAuth"},
		{MBEDTLS_OID_CODE_SIGNING, "codeSigning"},
		{MBEDTLS_OID_EMAIL_PROTECTION, "emailProtection"},
		{MBEDTLS_OID_TIME_STAMPING, "timeStamping"},
		{MBEDTLS_OID_OCSP_SIGNING, "OCSPSigning"},
	};

	text[0] = '\0';
	for (const mbedtls_x509_sequence *s = &crt->ext_key_usage; s != NULL; s = s->next) {
		const char *name = NULL;
		char oid[64];

		for (size_t i = 0; i < sizeof known / sizeof known[0] && name == NULL; i++)
			if (strlen(known[i].oid) == s->buf.len &&
			    memcmp(known[i].oid, s->buf.p, s->buf.len) == 0)
				name = known[i].name;
		if (name == NULL)
			name = mbedtls_oid_get_numeric_string(oid, sizeof oid, &s->buf) > 0 ? oid
											    : "?";
		list(text, LIST_TEXT, name);
	}
}

static void list_usages(char text[LIST_TEXT], unsigned usage)
{
	static const struct {
		unsigned bit;
		const char *name;
	} known[] = {
		{MBEDTLS_X509_KU_DIGITAL_SIGNATURE, "digitalSignature"},
		{MBEDTLS_X509_KU_NON_REPUDIATION, "nonRepudiation"},
		{MBEDTLS_X509_KU_KEY_ENCIPHERMENT, "keyEncipherment"},
		{MBEDTLS_X509_KU_DATA_ENCIPHERMENT, "dataEncipherment"},
		{MBEDTLS_X509_KU_KEY_AGREEMENT, "keyAgreement"},
		{MBEDTLS_X509_KU_KEY_CERT_SIGN, "keyCertSign"},
		{MBEDTLS_X509_KU_CRL_SIGN, "cRLSign"},
	};

	text[0] = '\0';
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		if (usage & known[i].bit)
			list(text, LIST_TEXT, known[i].name);
	if (text[0] == '\0')
		list(text, LIST_TEXT, "empty");
}

/* role is that of the host that shows the certificate. */
static void judge_purpose(const mbedtls_x509_crt *leaf, enum tls_role role, struct cert_reasons *r)
{
	const char *use = role == TLS_CLIENT ? client_auth : server_auth;
	char found[LIST_TEXT];

	if (mbedtls_x509_crt_check_extended_key_usage(leaf, use, sizeof client_auth) != 0) {
		list_purposes(found, leaf);
		cert_reason_add(
			r, CERT_WRONG_PURPOSE, false,
			"the certificate's extended key usage is %s; a host that %s needs %s",
			found, role == TLS_CLIENT ? "connects" : "accepts connections",
			role == TLS_CLIENT ? "clientAuth" : "serverAuth");
	}
	if (mbedtls_x509_crt_check_key_usage(leaf, MBEDTLS_X509_KU_DIGITAL_SIGNATURE) != 0) {
		list_usages(found, leaf->MBEDTLS_PRIVATE(key_usage));
		cert_reason_add(r, CERT_WRONG_PURPOSE, false,
				"the certificate's key usage is %s; digitalSignature is needed",
				found);
	}
}

/* ---- key and signature ----------------------------------------------------------------- */

static void judge_strength(const mbedtls_x509_crt *crt, uint32_t flags, bool is_leaf,
			   const char *what, struct cert_reasons *r)
{
	const char *md = "?";
	char key[CERT_KEY_TEXT];

	if (flags & MBEDTLS_X509_BADCERT_BAD_MD) {
		mbedtls_oid_get_sig_alg_desc(&crt->sig_oid, &md);
		cert_reason_add(r, CERT_WEAK, !is_leaf,
				"%s is signed with %s; SHA-256, SHA-384 or SHA-512 is needed", what,
				md);
	}
	cert_key_put(key, &crt->pk);
	if (is_leaf && !cert_key_is_ec(&crt->pk))
		cert_reason_add(r, CERT_WEAK, false,
				"%s has a key of type %s; EC on P-256, P-384 or P-521 is needed",
				what, key);
	else if (flags & (MBEDTLS_X509_BADCERT_BAD_PK | MBEDTLS_X509_BADCERT_BAD_KEY))
		/* mbedTLS flags what was signed with the key */
		cert_reason_add(
			r, CERT_WEAK, !is_leaf,
			"%s (key: %s) is signed with a key that is too weak; needed is EC on P-256, P-384 "
			"or P-521, or RSA of 2048 bits",
			what, key);
}

/* ---- names ----------------------------------------------------------------------------- */

static void put_addr(char text[CERT_ADDR_TEXT], const uint8_t *bytes, size_t len)
{
	size_t n = 0;

	if (len == 4) {
		snprintf(text, CERT_ADDR_TEXT, "%u.%u.%u.%u", bytes[0], bytes[1], bytes[2],
			 bytes[3]);
		return;
	}
	for (size_t i = 0; i < len; i += 2)
		n += (size_t)snprintf(text + n, CERT_ADDR_TEXT - n, "%s%x", i > 0 ? ":" : "",
				      (unsigned)bytes[i] << 8 | bytes[i + 1]);
}

void cert_names_put(char *text, size_t size, const struct cert_facts *f)
{
	char element[CERT_NAME_MAX + 48];
	size_t more = f->addrs + f->addrs_more;

	text[0] = '\0';
	snprintf(element, sizeof element, "name %s", f->name);
	list(text, size, f->name[0] != '\0' ? element : "no name (URI sapair:NAME)");
	for (size_t i = 0; i < f->addrs && i < ADDRS_SHOWN; i++, more--) {
		char addr[CERT_ADDR_TEXT];

		put_addr(addr, f->addr[i].bytes, f->addr[i].len);
		snprintf(element, sizeof element, "%s%s", i == 0 ? "address " : "", addr);
		list(text, size, element);
	}
	if (more > 0) {
		snprintf(element, sizeof element, "%zu more", more);
		list(text, size, element);
	} else if (f->addrs == 0) {
		list(text, size, "no IP address");
	}
	if (f->unused[0] != '\0') {
		snprintf(element, sizeof element, "%.80s (not used)", f->unused);
		list(text, size, element);
	}
}

static bool has_addr(const struct cert_facts *f, const struct cert_wanted *w)
{
	for (size_t i = 0; i < f->addrs && w->addr_len > 0; i++)
		if (f->addr[i].len == w->addr_len &&
		    memcmp(f->addr[i].bytes, w->addr, w->addr_len) == 0)
			return true;
	return false;
}

static bool is_set(const char *text)
{
	return text != NULL && text[0] != '\0';
}

bool cert_names_match(const struct cert_facts *f, const struct cert_wanted *w,
		      struct cert_reasons *r)
{
	char found[LIST_TEXT], wanted[CERT_NAME_MAX + 64] = "", addr[CERT_ADDR_TEXT] = "";
	bool by_identity = w != NULL && is_set(w->identity);

	if (w == NULL     ? f->name[0] != '\0' || f->addrs > 0
	    : by_identity ? strcmp(f->name, w->identity) == 0
			  : (is_set(w->name) && strcmp(f->name, w->name) == 0) || has_addr(f, w))
		return true;
	if (w != NULL && w->addr_len > 0)
		put_addr(addr, w->addr, w->addr_len);
	if (w == NULL)
		snprintf(wanted, sizeof wanted, "a name or an IP address");
	else if (by_identity)
		snprintf(wanted, sizeof wanted, "the name %s (identity)", w->identity);
	else
		snprintf(wanted, sizeof wanted, "%s%s%s%s%s", is_set(w->name) ? "the name " : "",
			 is_set(w->name) ? w->name : "",
			 is_set(w->name) && addr[0] != '\0' ? " or " : "",
			 addr[0] != '\0' ? "the address " : "", addr);
	cert_names_put(found, sizeof found, f);
	cert_reason_add(r, CERT_WRONG_PEER, true, "the certificate has %s; needed is %s%s", found,
			wanted,
			f->addrs_more > 0 && !by_identity
				? "; only its first 64 addresses are looked at" /* CERT_ADDRS_MAX */
				: "");
	return false;
}

void cert_lab_refused(struct cert_reasons *r)
{
	cert_reason_add(
		r, CERT_LAB, true,
		"it is a lab identity (organisational unit \"sapair lab\"), and allow_lab is not set");
}

/* ---- the chain ------------------------------------------------------------------------- */

struct verify *verify_new(enum tls_role role, bool has_ca)
{
	struct verify *v = calloc(1, sizeof *v);

	if (v != NULL) {
		v->role = role;
		v->has_ca = has_ca;
	}
	return v;
}

/* A certificate above the leaf: its faults are the chain's. */
static void judge_issuer(struct verify *v, const mbedtls_x509_crt *crt, uint32_t flags)
{
	char subject[100], what[120];

	v->above |= flags;
	cert_dn_put(subject, sizeof subject, &crt->subject);
	snprintf(what, sizeof what, "the CA \"%s\"", subject);
	judge_dates(crt, flags, what, true, &v->issuers);
	judge_strength(crt, flags, false, what, &v->issuers);
}

static void judge_chain(struct verify *v, const mbedtls_x509_crt *leaf, uint32_t flags)
{
	char issuer[100];
	bool is_untrusted = ((flags | v->above) & MBEDTLS_X509_BADCERT_NOT_TRUSTED) != 0;

	cert_dn_put(issuer, sizeof issuer, &leaf->issuer);
	if (!v->has_ca)
		cert_reason_add(
			&v->chain, CERT_UNTRUSTED, true,
			"the certificate is issued by \"%s\"; no CA is configured here, and no pin "
			"matches it",
			issuer);
	else if (is_untrusted)
		cert_reason_add(
			&v->chain, CERT_UNTRUSTED, true,
			"the certificate is issued by \"%s\", not signed by a trusted CA, and no pin "
			"matches it",
			issuer);
	for (size_t i = 0; i < v->issuers.n; i++)
		cert_reason_add(&v->chain, v->issuers.v[i].fault, true, "%s", v->issuers.v[i].text);
	if (v->chain.n == 0 && (flags | v->above) != 0)
		cert_reason_add(&v->chain, CERT_UNTRUSTED, true,
				"the chain of the certificate is not valid");
}

void verify_on_cert(struct verify *v, const mbedtls_x509_crt *crt, int depth, uint32_t flags)
{
	static const char what[] = "the certificate";

	if (depth > 0) {
		judge_issuer(v, crt, flags);
		return;
	}
	v->judged = cert_facts_of(&v->facts, crt);
	if (!v->judged) {
		cert_reason_add(&v->leaf, CERT_UNREADABLE, false, "%s",
				cert_fault_text(CERT_UNREADABLE));
		return;
	}
	judge_dates(crt, flags, what, false, &v->leaf);
	judge_purpose(crt, v->role, &v->leaf);
	judge_strength(crt, flags, true, what, &v->leaf);
	judge_chain(v, crt,
		    flags & ~(uint32_t)(MBEDTLS_X509_BADCERT_EXPIRED | MBEDTLS_X509_BADCERT_FUTURE |
					WEAK_FLAGS));
}

enum cert_fault verify_fault(const struct cert_reasons *r)
{
	return r->n > 0 ? r->v[0].fault : CERT_OK;
}

void cert_reasons_add(struct cert_reasons *r, const struct cert_reasons *from)
{
	for (size_t i = 0; i < from->n && r->n < CERT_REASONS_MAX; i++)
		r->v[r->n++] = from->v[i];
}

/* ---- our own --------------------------------------------------------------------------- */

static int on_own_cert(void *arg, mbedtls_x509_crt *crt, int depth, uint32_t *flags)
{
	verify_on_cert(arg, crt, depth, *flags);
	*flags = 0;
	return 0;
}

static bool judge_own(mbedtls_x509_crt *chain, mbedtls_x509_crt *ca, enum tls_role role,
		      const struct cert_wanted *wanted, struct cert_reasons *r)
{
	struct verify *v = verify_new(role, ca != NULL);
	uint32_t flags;
	bool judged;

	memset(r, 0, sizeof *r);
	if (v == NULL)
		return false;
	mbedtls_x509_crt_verify_with_profile(chain, ca, NULL, &cert_profile, NULL, &flags,
					     on_own_cert, v);
	judged = v->judged;
	if (judged) {
		cert_reasons_add(r, &v->leaf);
		if (v->facts.is_lab)
			cert_lab_refused(r);
		cert_names_match(&v->facts, wanted, r);
		if (ca != NULL)
			cert_reasons_add(r, &v->chain);
	}
	free(v);
	return judged;
}

bool identity_judge(const struct identity *id, enum tls_role role, const struct cert_wanted *wanted,
		    struct cert_reasons *r)
{
	/* mbedTLS wants pointers that are not const, and changes nothing */
	struct identity *own = (struct identity *)(uintptr_t)id;

	return judge_own(&own->chain, id->has_ca ? &own->ca : NULL, role, wanted, r);
}

enum identity_fault cert_judge(const char *pem, const char *ca, enum tls_role role,
			       const struct cert_wanted *wanted, struct cert_reasons *r)
{
	mbedtls_x509_crt chain, trusted;
	enum identity_fault fault;

	memset(r, 0, sizeof *r);
	mbedtls_x509_crt_init(&chain);
	mbedtls_x509_crt_init(&trusted);
	fault = cert_parse(&chain, pem, IDENTITY_BAD_CERT);
	if (fault == IDENTITY_OK && ca != NULL)
		fault = cert_parse(&trusted, ca, IDENTITY_BAD_CA);
	if (fault == IDENTITY_OK)
		fault = judge_own(&chain, ca != NULL ? &trusted : NULL, role, wanted, r)
				? IDENTITY_OK
				: IDENTITY_NO_MEMORY;
	mbedtls_x509_crt_free(&trusted);
	mbedtls_x509_crt_free(&chain);
	return fault;
}

void cert_reasons_put(char *text, size_t size, const struct cert_reasons *r)
{
	size_t n = 0;

	text[0] = '\0';
	for (size_t i = 0; i < r->n && n < size; i++)
		n += (size_t)snprintf(text + n, size - n, "%s%s", i > 0 ? "; " : "", r->v[i].text);
}
