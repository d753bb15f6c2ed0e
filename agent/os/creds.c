/*
 * agent/os/creds.c - identity, PPK and deny list from files.
 */
#include "agent/os/creds.h"

#include "agent/os/log.h"
#include "crypto/explain.h"
#include "crypto/hex.h"
#include "proto/exchange/keysched.h"

#include <stdlib.h>
#include <string.h>

int creds_fault(enum identity_fault f, const char *cert, const char *key, const char *ca,
		struct err *e)
{
	switch (f) {
	case IDENTITY_OK:
		return 0;
	case IDENTITY_BAD_CERT:
		return err_set(e, ERR_USAGE, "%s: not a PEM certificate", cert);
	case IDENTITY_BAD_KEY:
		return err_set(e, ERR_USAGE, "%s: not an unencrypted PEM private key", key);
	case IDENTITY_WRONG_KEY:
		return err_set(e, ERR_USAGE, "%s does not belong to the certificate %s", key, cert);
	case IDENTITY_BAD_CA:
		return err_set(e, ERR_USAGE, "%s: not a PEM certificate of a CA", ca);
	case IDENTITY_WEAK:
		return err_set(e, ERR_USAGE,
			       "%s: only EC keys on P-256, P-384 or P-521 are supported", cert);
	case IDENTITY_NO_MEMORY:
		break;
	}
	return err_set(e, ERR_BUG, "no memory for the identity");
}

int creds_explain(enum identity_fault f, const char *cert, const char *key, const char *ca,
		  const char *cert_path, const char *key_path, const char *ca_path, struct err *e)
{
	char cause[PEM_CAUSE];

	if ((f == IDENTITY_BAD_CERT || f == IDENTITY_WEAK) && pem_explain(cause, cert, PEM_CERT))
		return err_set(e, ERR_USAGE, "%s: %s", cert_path, cause);
	if (key != NULL && (f == IDENTITY_BAD_KEY || f == IDENTITY_WEAK) &&
	    pem_explain(cause, key, PEM_KEY))
		return err_set(e, ERR_USAGE, "%s: %s", key_path, cause);
	if (f == IDENTITY_BAD_CA && ca != NULL && pem_explain(cause, ca, PEM_CA))
		return err_set(e, ERR_USAGE, "%s: %s", ca_path, cause);
	return -1;
}

int creds_identity(struct identity **out, const struct config *c, struct err *e)
{
	char *cert = NULL, *key = NULL, *ca = NULL;
	size_t cert_len = 0, key_len = 0, ca_len = 0;
	enum identity_fault fault;
	char cause[PEM_CAUSE];
	int rc = -1;

	*out = NULL;
	if (os_read_file(&cert, &cert_len, c->certificate, OS_ANYONE, e) < 0 ||
	    os_read_file(&key, &key_len, c->key, OS_SECRET, e) < 0) {
		if (e->code == ERR_USAGE)
			err_hint(e, "create one with \"sapair id new\", or have a CA issue one: "
				    "\"sapair ca issue\"");
		goto free_texts;
	}
	if (c->ca[0] != '\0' && os_read_file(&ca, &ca_len, c->ca, OS_CONFIG, e) < 0)
		goto free_texts;
	fault = identity_load(out, cert, key, ca);
	rc = creds_fault(fault, c->certificate, c->key, c->ca, e);
	if (rc < 0)
		creds_explain(fault, cert, key, ca, c->certificate, c->key, c->ca, e);
	else if (ca != NULL && pem_explain(cause, ca, PEM_CA))
		log_line(LOG_WARN, "%s: %s; it is left out", c->ca, cause);
free_texts:
	os_free_text(cert, cert_len);
	os_free_text(key, key_len);
	os_free_text(ca, ca_len);
	return rc;
}

static bool is_left_out(const struct cert_reason *v, const struct cert_facts *f, bool has_ca)
{
	return v->fault == CERT_EXPIRED || v->fault == CERT_NOT_YET_VALID || v->fault == CERT_LAB ||
	       (v->fault == CERT_UNTRUSTED && !has_ca) || (v->pin_helps && f->self_signed);
}

void creds_add_reasons(struct cert_reasons *to, const struct cert_reasons *from,
		       const struct cert_facts *f, bool has_ca)
{
	for (size_t i = 0; i < from->n && to->n < CERT_REASONS_MAX; i++) {
		bool is_there = false;

		for (size_t k = 0; k < to->n; k++)
			is_there = is_there || strcmp(to->v[k].text, from->v[i].text) == 0;
		if (!is_there && !is_left_out(&from->v[i], f, has_ca))
			to->v[to->n++] = from->v[i];
	}
}

void creds_judge(struct cert_reasons *r, const struct identity *id, const struct config *c)
{
	bool dials = c->n_peers == 0, accepts = c->n_peers == 0;
	struct cert_reasons one;

	for (size_t i = 0; i < c->n_peers; i++) {
		dials = dials || c->peers[i].opt.role != ROLE_LISTEN;
		accepts = accepts || c->peers[i].opt.role != ROLE_DIAL;
	}
	r->n = 0;
	if (dials && identity_judge(id, TLS_CLIENT, NULL, &one))
		creds_add_reasons(r, &one, identity_facts(id), c->ca[0] != '\0');
	if (accepts && identity_judge(id, TLS_SERVER, NULL, &one))
		creds_add_reasons(r, &one, identity_facts(id), c->ca[0] != '\0');
}

int creds_ppk(struct secret *out, const char *path, struct err *e)
{
	char *text = NULL;
	size_t len = 0, n;
	bool ok;

	secret_wipe(out);
	if (path[0] == '\0')
		return 0;
	if (os_read_file(&text, &len, path, OS_SECRET, e) < 0)
		return err_in(e, "ppk");
	for (n = len; n > 0 && strchr(" \r\n", text[n - 1]) != NULL; n--)
		;
	ok = n >= (size_t)2 * PPK_MIN && n <= (size_t)2 * PPK_MAX && hex_get_secret(out, text, n);
	os_free_text(text, len);
	if (ok)
		return 0;
	return err_set(e, ERR_USAGE, "ppk: %s must contain %d to %d lower-case hex digits", path,
		       2 * PPK_MIN, 2 * PPK_MAX);
}

/* ---- the deny list --------------------------------------------------------------------- */

static int take_line(struct deny *deny, char *line, int number, const char *path, struct err *e)
{
	char *end = strchr(line, '#');

	if (end == NULL)
		end = line + strlen(line);
	while (end > line && strchr(" \t\r", end[-1]) != NULL)
		end--;
	*end = '\0';
	line += strspn(line, " \t");
	if (*line == '\0')
		return 0;
	if (pin_get(deny->pin[deny->n], line)) {
		deny->n++;
		return 0;
	}
	err_set(e, ERR_USAGE, "%s: line %d: must be sha256: and 64 lower-case hex digits", path,
		number);
	return err_hint(e, "\"sapair id show --pin\" prints the pin of a key or certificate");
}

int creds_deny(struct deny *deny, const char *path, struct err *e)
{
	char *text = NULL, *next;
	size_t len = 0, lines = 1;
	int rc = 0, number = 1;

	memset(deny, 0, sizeof *deny);
	if (path[0] == '\0')
		return 0;
	if (os_read_file(&text, &len, path, OS_CONFIG, e) < 0)
		return err_in(e, "deny");
	for (size_t i = 0; i < len; i++)
		lines += text[i] == '\n';
	deny->pin = calloc(lines, PIN_LEN);
	if (deny->pin == NULL)
		rc = err_set(e, ERR_OS, "no memory for %zu lines of the deny list", lines);
	if (rc == 0 && memchr(text, '\0', len) != NULL)
		rc = err_set(e, ERR_USAGE, "%s: not a text file", path);
	for (char *line = text; rc == 0 && line != NULL; line = next, number++) {
		next = strchr(line, '\n');
		if (next != NULL)
			*next++ = '\0';
		rc = take_line(deny, line, number, path, e);
	}
	os_free_text(text, len);
	if (rc < 0)
		deny_free(deny);
	return rc < 0 ? err_in(e, "deny") : 0;
}

bool deny_has(const struct deny *deny, const uint8_t pin[PIN_LEN])
{
	for (size_t i = 0; i < deny->n; i++)
		if (bytes_equal(deny->pin[i], pin, PIN_LEN))
			return true;
	return false;
}

void deny_free(struct deny *deny)
{
	free(deny->pin);
	memset(deny, 0, sizeof *deny);
}
