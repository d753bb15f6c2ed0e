/*
 * agent/os/creds.c - identity and PPK from files.
 */
#include "agent/os/creds.h"

#include "crypto/hex.h"
#include "proto/keysched.h"

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
		return err_set(e, ERR_USAGE, "%s: no PEM certificate of a CA", ca);
	case IDENTITY_WEAK:
		return err_set(e, ERR_USAGE, "%s: only EC keys on P-256, P-384 or P-521 are taken",
			       cert);
	case IDENTITY_NO_MEMORY:
		break;
	}
	return err_set(e, ERR_BUG, "no memory for the identity");
}

int creds_identity(struct identity **out, const struct config *c, struct err *e)
{
	char *cert = NULL, *key = NULL, *ca = NULL;
	size_t cert_len = 0, key_len = 0, ca_len = 0;
	int rc = -1;

	*out = NULL;
	if (os_read_file(&cert, &cert_len, c->certificate, OS_ANYONE, e) < 0 ||
	    os_read_file(&key, &key_len, c->key, OS_SECRET, e) < 0) {
		if (e->code == ERR_USAGE)
			err_hint(e, "make one with \"sapair id new\", or get one from a CA: "
				    "\"sapair ca issue\"");
		goto free_texts;
	}
	if (c->ca[0] != '\0' && os_read_file(&ca, &ca_len, c->ca, OS_CONFIG, e) < 0)
		goto free_texts;
	rc = creds_fault(identity_load(out, cert, key, ca), c->certificate, c->key, c->ca, e);
free_texts:
	os_free_text(cert, cert_len);
	os_free_text(key, key_len);
	os_free_text(ca, ca_len);
	return rc;
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
	return err_set(e, ERR_USAGE, "ppk: %s must hold %d to %d lower-case hex digits", path,
		       2 * PPK_MIN, 2 * PPK_MAX);
}
