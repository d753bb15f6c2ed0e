/*
 * agent/cli/ident.c - certificates of the verbs id and ca.
 */
#include "agent/cli/ident.h"

#include <stdio.h>
#include <string.h>

#include "agent/cli/conf.h"
#include "agent/cli/out.h"
#include "crypto/date.h"
#include "proto/base/addr.h"
#include "agent/os/creds.h"

#define SKEW_S 300 /* allowance for clocks that differ */
#define DAYS_MAX 36500

const struct option ident_options[] = {
	{"not-before", "DATE", "start: 2026-11-23[T10:00:00Z] (default: 5 min ago)", false},
	{"not-after", "DATE", "end of validity, instead of --days", false},
	{"lab", NULL, "mark it as a lab identity", false},
	{"force", NULL, "overwrite existing files", false},
	OPTION_END,
};

/* ---- wishes ---------------------------------------------------------------------------- */

static int wish_addresses(struct ident_wish *w, const struct args *a, struct err *e)
{
	w->wish.addr = (const uint8_t(*)[17])w->addr;
	for (size_t i = 0; i < a->n_given; i++) {
		struct addr addr;

		if (strcmp(a->given[i].option->name, "address") != 0)
			continue;
		if (w->wish.addrs == CERT_ADDRS_MAX)
			return err_set(e, ERR_USAGE, "--address: more than %d addresses",
				       CERT_ADDRS_MAX);
		if (addr_parse(&addr, a->given[i].value, e) < 0 || addr_check_host(&addr, e) < 0)
			return err_in(e, "--address");
		w->addr[w->wish.addrs][0] = addr.len;
		memcpy(w->addr[w->wish.addrs++] + 1, addr.bytes, addr.len);
	}
	return 0;
}

static int wish_date(const struct args *a, const char *flag, int64_t *s, struct err *e)
{
	const char *text = args_text(a, flag);

	if (text == NULL || date_get(s, text))
		return 0;
	return err_set(e, ERR_USAGE, "--%s: \"%s\" is not a date like 2026-11-23T10:00:00Z", flag,
		       text);
}

static int wish_dates(struct cert_params *w, const struct args *a, uint32_t days, struct err *e)
{
	int64_t now = os_wall_ms() / 1000;

	if (args_has(a, "days") && args_has(a, "not-after"))
		return err_set(e, ERR_USAGE, "--days and --not-after are mutually exclusive");
	if (args_u32(a, "days", 1, DAYS_MAX, &days, e) < 0)
		return -1;
	w->not_before = now - SKEW_S;
	if (wish_date(a, "not-before", &w->not_before, e) < 0)
		return -1;
	w->not_after =
		(int64_t)days * DATE_DAY_S + (args_has(a, "not-before") ? w->not_before : now);
	if (wish_date(a, "not-after", &w->not_after, e) < 0)
		return -1;
	if (w->not_after <= w->not_before)
		return err_set(e, ERR_USAGE, "the certificate would expire before it is valid");
	return 0;
}

bool ident_name_fits(const char *s)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789._-";
	size_t n = strlen(s);

	return n >= 1 && n <= CERT_NAME_MAX && strspn(s, letters) == n;
}

int ident_wish(struct ident_wish *w, const struct args *a, const char *name, uint32_t days,
	       struct err *e)
{
	memset(w, 0, sizeof *w);
	if (!ident_name_fits(name))
		return err_set(e, ERR_USAGE,
			       "name \"%s\": a name consists of 1 to %d letters, digits and . _ -",
			       name, CERT_NAME_MAX);
	memcpy(w->name, name, strlen(name) + 1);
	w->wish.name = w->name;
	w->wish.is_lab = args_has(a, "lab");
	if (wish_addresses(w, a, e) < 0)
		return -1;
	return wish_dates(&w->wish, a, days, e);
}

bool ident_same(const struct cert_facts *f, const struct cert_params *w)
{
	if (strcmp(f->name, w->name) != 0 || f->addrs != w->addrs || f->is_lab != w->is_lab ||
	    f->is_ca != w->is_ca)
		return false;
	for (size_t i = 0; i < f->addrs; i++)
		if (f->addr[i].len != w->addr[i][0] ||
		    memcmp(f->addr[i].bytes, w->addr[i] + 1, f->addr[i].len) != 0)
			return false;
	return true;
}

/* ---- files ----------------------------------------------------------------------------- */

int ident_dir(char out[OS_PATH_MAX], const struct args *a, struct err *e)
{
	const char *dir = args_text(a, "dir");

	if (dir != NULL && *dir == '\0')
		return err_set(e, ERR_USAGE, "--dir: empty name");
	if (dir != NULL)
		return os_path_join(out, "", dir, e); /* as it was typed */
	os_config_dir(out);
	return 0;
}

int ident_read(struct cert_facts *f, const char *path, enum os_trust trust, char **pem, size_t *len,
	       struct err *e)
{
	enum identity_fault fault;
	char *text;
	size_t n;

	if (os_read_file(&text, &n, path, trust, e) < 0)
		return -1;
	fault = cert_read(text, f);
	if (fault != IDENTITY_OK || pem == NULL) {
		os_free_text(text, n);
		return creds_fault(fault, path, path, path, e);
	}
	*pem = text;
	*len = n;
	return 0;
}

int ident_write(const struct pem_pair *pair, const char *cert, const char *key, bool force,
		struct err *e)
{
	static const char hint[] =
		"--force replaces it; hosts that trust the old one will not trust the new one";

	if (!force && (os_exists(key) || os_exists(cert))) {
		err_set(e, ERR_USAGE, "%s: already exists", os_exists(key) ? key : cert);
		return err_hint(e, hint);
	}
	if (os_write_file(key, pair->key, strlen(pair->key), true, !force, e) < 0)
		return -1;
	if (os_write_file(cert, pair->cert, strlen(pair->cert), false, !force, e) == 0)
		return 0;
	os_remove_file(key, NULL);
	return -1;
}

int ident_make(const struct args *a, const struct ident_files *files, const char *name, bool is_ca,
	       struct err *e)
{
	struct ident_wish w;
	struct pem_pair pair;
	int rc;

	if (ident_wish(&w, a, name, is_ca ? IDENT_CA_DAYS : IDENT_DAYS, e) < 0 ||
	    os_make_dir(files->dir, e) < 0)
		return -1;
	w.wish.is_ca = is_ca;
	if (!cert_self(&pair, &w.wish))
		return err_set(e, ERR_USAGE,
			       "no certificate can have these dates (see --days, --not-after)");
	rc = ident_write(&pair, files->cert, files->key, args_has(a, "force"), e);
	wipe(&pair, sizeof pair);
	return rc;
}

/* ---- showing --------------------------------------------------------------------------- */

static void address(char text[ADDR_TEXT], const struct cert_facts *f, size_t i)
{
	struct addr a = {.len = f->addr[i].len};

	memcpy(a.bytes, f->addr[i].bytes, a.len);
	addr_put(text, &a);
}

void ident_put(struct json_out *o, const struct cert_facts *f)
{
	char pin[PIN_TEXT + 1], date[DATE_TEXT], addr[ADDR_TEXT];
	int64_t now = os_wall_ms() / 1000;

	json_put_text(o, "name", f->name);
	pin_put(pin, f->pin);
	json_put_text(o, "pin", pin);
	json_put_array(o, "addresses");
	for (size_t i = 0; i < f->addrs; i++) {
		address(addr, f, i);
		json_put_text(o, NULL, addr);
	}
	json_put_array_end(o);
	date_put(date, f->not_before);
	json_put_text(o, "not_before", date);
	date_put(date, f->not_after);
	json_put_text(o, "not_after", date);
	json_put_bool(o, "valid", now >= f->not_before && now <= f->not_after);
	json_put_bool(o, "ca", f->is_ca);
	json_put_bool(o, "lab", f->is_lab);
	json_put_bool(o, "self_signed", f->self_signed);
	json_put_text(o, "issuer", f->issuer);
}

void ident_show(const struct cert_facts *f)
{
	char pin[PIN_TEXT + 1], from[DATE_TEXT], to[DATE_TEXT], addr[ADDR_TEXT];
	char list[CERT_ADDRS_MAX * (ADDR_TEXT + 1) + 1] = "";
	int64_t now = os_wall_ms() / 1000;
	size_t n = 0;

	out_painted(PAINT_HEAD, "%s", f->name[0] != '\0' ? f->name : f->subject);
	out_text("%s%s\n", f->is_ca ? " (CA)" : "", f->is_lab ? " (lab)" : "");
	pin_put(pin, f->pin);
	out_field("pin", "%s", pin);
	for (size_t i = 0; i < f->addrs; i++) {
		address(addr, f, i);
		n += (size_t)snprintf(list + n, sizeof list - n, "%s%s", i > 0 ? " " : "", addr);
	}
	if (f->addrs > 0)
		out_field("addresses", "%s", list);
	date_put(from, f->not_before);
	date_put(to, f->not_after);
	if (now > f->not_after)
		out_field("valid", "NO: expired at %s", to);
	else if (now < f->not_before)
		out_field("valid", "NOT YET: from %s", from);
	else
		out_field("valid", "until %.10s, %d days", to,
			  (int)((f->not_after - now) / DATE_DAY_S));
	out_field("signed by", "%s", f->self_signed ? "itself" : f->issuer);
}
