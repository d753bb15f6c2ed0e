/*
 * agent/cli/verbs/ca.c - ca: a small CA in a directory.
 */
#include <stdio.h>
#include <string.h>

#include "agent/cli/conf.h"
#include "agent/cli/ident.h"
#include "agent/cli/out.h"
#include "agent/cli/verb.h"
#include "agent/os/creds.h"
#include "crypto/date.h"

/* A CA that was read. */
struct ca {
	struct ident_files at;
	char *cert_pem, *key_pem;
	size_t cert_len, key_len;
	struct cert_facts facts;
};

static int ca_paths(struct ca *ca, const struct args *a, struct err *e)
{
	memset(ca, 0, sizeof *ca);
	if (ident_dir(ca->at.dir, a, e) < 0 ||
	    os_path_join(ca->at.cert, ca->at.dir, CONF_CA, e) < 0)
		return -1;
	return os_path_join(ca->at.key, ca->at.dir, CONF_CA_KEY, e);
}

static void ca_free(struct ca *ca)
{
	os_free_text(ca->cert_pem, ca->cert_len);
	os_free_text(ca->key_pem, ca->key_len);
	memset(ca, 0, sizeof *ca);
}

/* Returns -1. */
static int hint_at_new(const struct ca *ca, bool needs_key, struct err *e)
{
	if (!os_exists(ca->at.cert) || (needs_key && !os_exists(ca->at.key)))
		err_hint(e, "create a CA with \"sapair ca new\", or give its directory with --dir");
	return -1;
}

static int ca_open(struct ca *ca, const struct args *a, struct err *e)
{
	if (ca_paths(ca, a, e) < 0)
		return -1;
	if (ident_read(&ca->facts, ca->at.cert, OS_CONFIG, &ca->cert_pem, &ca->cert_len, e) == 0 &&
	    os_read_file(&ca->key_pem, &ca->key_len, ca->at.key, OS_SECRET, e) == 0)
		return 0;
	hint_at_new(ca, true, e);
	ca_free(ca);
	return -1;
}

/* changed: NULL if the verb changes nothing; key: NULL if none was made. */
static void print(const struct args *a, const struct cert_facts *f, const bool *changed,
		  const char *cert, const char *key, const char *ca)
{
	char buf[4 * OS_PATH_MAX];
	struct json_out o;

	if (!a->json) {
		ident_show(f);
		out_field("file", "%s", cert);
		if (key != NULL)
			out_field("key", "%s", key);
		if (ca != NULL)
			out_field("CA", "%s", ca);
		if (changed != NULL && !*changed)
			out_note("exists already: nothing was changed");
		return;
	}
	out_begin(&o, buf, sizeof buf, "sapair.ca/1");
	if (changed != NULL)
		json_put_bool(&o, "changed", *changed);
	ident_put(&o, f);
	json_put_text(&o, "certificate", cert);
	if (key != NULL)
		json_put_text(&o, "key", key);
	if (ca != NULL)
		json_put_text(&o, "ca_certificate", ca);
	out_end(&o);
}

/* ---- new, show ------------------------------------------------------------------------- */

static int run_new(const struct args *a, struct err *e)
{
	bool changed = args_has(a, "force");
	const char *name = args_text(a, "name");
	struct cert_facts f;
	struct ca ca;

	if (ca_paths(&ca, a, e) < 0)
		return -1;
	changed = changed || !os_exists(ca.at.cert) || !os_exists(ca.at.key);
	if (changed && ident_make(a, &ca.at, name != NULL ? name : "sapair-ca", true, e) < 0)
		return -1;
	if (ident_read(&f, ca.at.cert, OS_CONFIG, NULL, NULL, e) < 0)
		return -1;
	print(a, &f, &changed, ca.at.cert, ca.at.key, NULL);
	return 0;
}

static int run_show(const struct args *a, struct err *e)
{
	struct cert_facts f;
	struct ca ca;

	if (ca_paths(&ca, a, e) < 0)
		return -1;
	if (ident_read(&f, ca.at.cert, OS_CONFIG, NULL, NULL, e) < 0)
		return hint_at_new(&ca, false, e);
	print(a, &f, NULL, ca.at.cert, os_exists(ca.at.key) ? ca.at.key : NULL, NULL);
	return 0;
}

/* ---- issue, sign ----------------------------------------------------------------------- */

/* No certificate is valid for longer than that of the CA; a lab CA makes lab identities. */
static int limit_to_ca(struct cert_params *w, const struct ca *ca, struct err *e)
{
	char text[DATE_TEXT];

	w->is_lab = w->is_lab || ca->facts.is_lab;
	if (w->not_after <= ca->facts.not_after)
		return 0;
	date_put(text, ca->facts.not_after);
	if (w->not_before >= ca->facts.not_after)
		return err_set(e, ERR_USAGE,
			       "the CA expires at %s, before the certificate would be valid", text);
	w->not_after = ca->facts.not_after;
	out_note("valid only until %s, when the CA expires", text);
	return 0;
}

/* Requires an address: `run --peer ADDRESS` identifies the peer by it. */
static int wish_by(struct ident_wish *w, const struct ca *ca, const struct args *a,
		   const char *name, struct err *e)
{
	if (!args_has(a, "address")) {
		err_set(e, ERR_USAGE, "%s: --address is missing", a->verb->name);
		return err_hint(e, "give the addresses at which peers reach this host");
	}
	if (ident_wish(w, a, name, IDENT_DAYS, e) < 0)
		return -1;
	return limit_to_ca(&w->wish, ca, e);
}

/* Does the same certificate exist already? */
static bool is_there(const char *path, const struct ca *ca, const struct cert_params *w,
		     const uint8_t *pin, struct cert_facts *f)
{
	struct err ignored = {0};

	return ident_read(f, path, OS_ANYONE, NULL, NULL, &ignored) == 0 && ident_same(f, w) &&
	       !f->self_signed && strcmp(f->issuer, ca->facts.subject) == 0 &&
	       f->not_after > os_wall_ms() / 1000 &&
	       (pin == NULL || bytes_equal(f->pin, pin, PIN_LEN));
}

/* Copies the CA certificate. ERR_USAGE if there is one of another CA, without --force. */
static int copy_ca(const struct ca *ca, const char *to, bool force, struct err *e)
{
	char *text;
	size_t len;
	bool same;

	if (strcmp(to, ca->at.cert) == 0)
		return 0;
	if (!force && os_exists(to)) {
		if (os_read_file(&text, &len, to, OS_ANYONE, e) < 0)
			return -1;
		same = len == ca->cert_len && memcmp(text, ca->cert_pem, len) == 0;
		os_free_text(text, len);
		if (same)
			return 0;
		err_set(e, ERR_USAGE, "%s: already exists, from another CA", to);
		return err_hint(e, "--force replaces it, --out writes elsewhere");
	}
	return os_write_file(to, ca->cert_pem, ca->cert_len, false, false, e);
}

/* Output files of `ca issue`. */
struct issue {
	char dir[OS_PATH_MAX], cert[OS_PATH_MAX], key[OS_PATH_MAX], ca[OS_PATH_MAX];
};

static int issue_paths(struct issue *i, const struct args *a, const char *name, struct err *e)
{
	const char *out = args_text(a, "out");
	char file[CERT_NAME_MAX + 8];

	if (os_path_join(i->dir, "", out != NULL ? out : "", e) < 0 ||
	    (i->dir[0] != '\0' && os_make_dir(i->dir, e) < 0))
		return -1;
	snprintf(file, sizeof file, "%s.crt", name);
	if (os_path_join(i->cert, i->dir, file, e) < 0)
		return -1;
	snprintf(file, sizeof file, "%s.key", name);
	if (os_path_join(i->key, i->dir, file, e) < 0)
		return -1;
	return os_path_join(i->ca, i->dir, CONF_CA, e);
}

static int issue(const struct args *a, const struct ca *ca, const char *name, struct err *e)
{
	bool force = args_has(a, "force"), changed;
	enum identity_fault fault;
	struct cert_facts f;
	struct ident_wish w;
	struct pem_pair pair;
	struct issue i;
	int rc;

	if (wish_by(&w, ca, a, name, e) < 0 || issue_paths(&i, a, w.name, e) < 0 ||
	    copy_ca(ca, i.ca, force, e) < 0)
		return -1;
	changed = force || !os_exists(i.key) || !is_there(i.cert, ca, &w.wish, NULL, &f);
	if (changed) {
		fault = cert_issue(&pair, &w.wish, ca->cert_pem, ca->key_pem);
		rc = creds_fault(fault, ca->at.cert, ca->at.key, ca->at.cert, e);
		if (rc == 0)
			rc = ident_write(&pair, i.cert, i.key, force, e);
		wipe(&pair, sizeof pair);
		if (rc < 0 || ident_read(&f, i.cert, OS_ANYONE, NULL, NULL, e) < 0)
			return -1;
	}
	print(a, &f, &changed, i.cert, i.key, i.ca);
	if (changed && !a->json)
		out_note("on %s, put them in the config directory as %s, %s and %s", w.name,
			 CONF_CERT, CONF_KEY, CONF_CA);
	return 0;
}

static int run_issue(const struct args *a, struct err *e)
{
	struct ca ca;
	int rc;

	if (ca_open(&ca, a, e) < 0)
		return -1;
	rc = issue(a, &ca, args_word(a, 0), e);
	ca_free(&ca);
	return rc;
}

static int sign(const struct args *a, const struct ca *ca, const struct cert_facts *subject,
		const char *pem, struct err *e)
{
	const char *name = args_text(a, "name"), *out = args_text(a, "out");
	bool force = args_has(a, "force"), changed;
	char cert[CERT_PEM_MAX], to[OS_PATH_MAX], file[CERT_NAME_MAX + 8];
	struct cert_facts f;
	struct ident_wish w;

	if (name == NULL && subject->name[0] == '\0') {
		err_set(e, ERR_USAGE, "%s has no name", args_word(a, 0));
		return err_hint(e, "give one with --name");
	}
	if (wish_by(&w, ca, a, name != NULL ? name : subject->name, e) < 0)
		return -1;
	snprintf(file, sizeof file, "%s.crt", w.name);
	if (os_path_join(to, "", out != NULL ? out : file, e) < 0)
		return -1;
	changed = force || !is_there(to, ca, &w.wish, subject->pin, &f);
	if (changed) {
		enum identity_fault fault =
			cert_sign(cert, &w.wish, pem, ca->cert_pem, ca->key_pem);

		if (creds_fault(fault, args_word(a, 0), ca->at.key, ca->at.cert, e) < 0)
			return -1;
		if (os_write_file(to, cert, strlen(cert), false, !force, e) < 0) {
			if (os_exists(to))
				err_hint(e, "--out writes elsewhere, --force replaces it");
			return -1;
		}
		if (ident_read(&f, to, OS_ANYONE, NULL, NULL, e) < 0)
			return -1;
	}
	print(a, &f, &changed, to, NULL, ca->at.cert);
	return 0;
}

/* Issues the certificate again with new dates. */
static int renew(const struct args *a, const struct ca *ca, const struct cert_facts *old,
		 const char *pem, struct err *e)
{
	const char *path = args_word(a, 0);
	char cert[CERT_PEM_MAX];
	struct cert_facts f;
	struct ident_wish w;
	bool changed = true;

	if (old->is_ca)
		return err_set(
			e, ERR_USAGE,
			"%s is a CA: create a new one, and have hosts trust both for a while",
			path);
	if (old->addrs_more > 0)
		return err_set(e, ERR_USAGE, "%s: more than %d addresses, which are not kept", path,
			       CERT_ADDRS_MAX);
	if (ident_wish(&w, a, old->name, IDENT_DAYS, e) < 0)
		return err_in(e, "%s", path);
	for (size_t i = 0; i < old->addrs; i++) {
		w.addr[i][0] = old->addr[i].len;
		memcpy(w.addr[i] + 1, old->addr[i].bytes, old->addr[i].len);
	}
	w.wish.addrs = old->addrs;
	w.wish.is_lab = old->is_lab;
	if (limit_to_ca(&w.wish, ca, e) < 0)
		return -1;
	if (creds_fault(cert_sign(cert, &w.wish, pem, ca->cert_pem, ca->key_pem), path, ca->at.key,
			ca->at.cert, e) < 0 ||
	    os_write_file(path, cert, strlen(cert), false, false, e) < 0 ||
	    ident_read(&f, path, OS_ANYONE, NULL, NULL, e) < 0)
		return -1;
	print(a, &f, &changed, path, NULL, ca->at.cert);
	return 0;
}

/* Opens the CA, and reads the certificate that is the argument. */
static int with_certificate(const struct args *a,
			    int (*act)(const struct args *a, const struct ca *ca,
				       const struct cert_facts *f, const char *pem, struct err *e),
			    struct err *e)
{
	struct cert_facts f;
	char *pem = NULL;
	size_t len = 0;
	struct ca ca;
	int rc;

	if (ca_open(&ca, a, e) < 0)
		return -1;
	rc = ident_read(&f, args_word(a, 0), OS_ANYONE, &pem, &len, e);
	if (rc == 0)
		rc = act(a, &ca, &f, pem, e);
	os_free_text(pem, len);
	ca_free(&ca);
	return rc;
}

static int run_sign(const struct args *a, struct err *e)
{
	return with_certificate(a, sign, e);
}

static int run_renew(const struct args *a, struct err *e)
{
	return with_certificate(a, renew, e);
}

static const struct option ca_new_options[] = {
	{"name", "NAME", "name (default: sapair-ca)", false},
	{"days", "N", "validity in days (default 3650)", false},
	{"dir", "DIR", "output directory (default: the config directory)", false},
	OPTION_END,
};

const struct verb verb_ca_new = {
	.name = "ca new",
	.text = "create a CA",
	.example = "sapair ca new --name lab-ca --dir ca",
	.options = {ca_new_options, ident_options},
	.run = run_new,
};

/* Of each verb that certifies a host. */
static const struct option host_options[] = {
	{"address", "ADDRESS", "address of the host; may be repeated", true},
	{"days", "N", "validity in days (default 825)", false},
	{"dir", "DIR", "directory of ca.crt and ca.key (default: config directory)", false},
	OPTION_END,
};

static const struct option issue_options[] = {
	{"out", "DIR", "output directory (default: the current directory)", false},
	OPTION_END,
};

const struct verb verb_ca_issue = {
	.name = "ca issue",
	.words = "NAME",
	.text = "create a key and a certificate for a host",
	.more = "Needs at least one --address. Copy NAME.crt, NAME.key and ca.crt to the\n"
		"host.",
	.example = "sapair ca issue alpha --address 192.0.2.1 --dir ca --out alpha",
	.options = {host_options, issue_options, ident_options},
	.run = run_issue,
};

static const struct option sign_options[] = {
	{"name", "NAME", "name (default: that in CERT)", false},
	{"out", "FILE", "output file (default: NAME.crt in the current directory)", false},
	OPTION_END,
};

const struct verb verb_ca_sign = {
	.name = "ca sign",
	.words = "CERT",
	.text = "certify the key of a host's self-signed certificate",
	.more = "Needs at least one --address. The private key never leaves its host.",
	.example = "sapair ca sign alpha-self.crt --address 192.0.2.1 --out alpha.crt",
	.options = {host_options, sign_options, ident_options},
	.run = run_sign,
};

static const struct option renew_options[] = {
	{"days", "N", "validity in days (default 825)", false},
	{"not-before", "DATE", "start of validity (default: 5 min ago)", false},
	{"not-after", "DATE", "end of validity, instead of --days", false},
	{"dir", "DIR", "directory of ca.crt and ca.key (default: config directory)", false},
	OPTION_END,
};

const struct verb verb_ca_renew = {
	.name = "ca renew",
	.words = "CERT",
	.text = "renew a host's certificate in place",
	.more = "Keeps key, name and addresses; the CA may differ from the one before. A\n"
		"running agent loads the new file by itself, without disturbing any pair.",
	.example = "sapair ca renew alpha/alpha.crt --dir ca",
	.options = {renew_options},
	.run = run_renew,
};

static const struct option ca_show_options[] = {
	{"dir", "DIR", "directory of ca.crt (default: the config directory)", false},
	OPTION_END,
};

const struct verb verb_ca_show = {
	.name = "ca show",
	.text = "show the CA certificate",
	.example = "sapair ca show --dir ca",
	.options = {ca_show_options},
	.run = run_show,
};
