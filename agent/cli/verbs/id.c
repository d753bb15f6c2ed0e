/*
 * agent/cli/verbs/id.c - id: shows or creates the identity of this host.
 */
#include <stdio.h>
#include <string.h>

#include "agent/cli/conf.h"
#include "agent/cli/ident.h"
#include "agent/cli/out.h"
#include "agent/cli/verb.h"
#include "agent/os/creds.h"

static int find_files(struct ident_files *p, const struct args *a, struct err *e)
{
	if (ident_dir(p->dir, a, e) < 0 || os_path_join(p->cert, p->dir, CONF_CERT, e) < 0)
		return -1;
	return os_path_join(p->key, p->dir, CONF_KEY, e);
}

/* Does the key exist, readable only by its owner, and does it match the certificate? */
static int judge_key(const struct ident_files *p, const char *pem, struct err *e)
{
	struct identity *id = NULL;
	char *key;
	size_t len;
	int rc;

	if (os_read_file(&key, &len, p->key, OS_SECRET, e) < 0)
		return -1;
	rc = creds_fault(identity_load(&id, pem, key, NULL), p->cert, p->key, "", e);
	identity_free(id);
	os_free_text(key, len);
	return rc;
}

/* Which roles the certificate can play, as peers judge it; its dates are shown apart. */
struct roles {
	bool connects, accepts;
	struct cert_reasons reasons;
};

static void find_roles(struct roles *to, const char *pem, const struct cert_facts *f)
{
	struct cert_reasons r;

	memset(to, 0, sizeof *to);
	for (int accepts = 0; accepts < 2; accepts++) {
		bool good = cert_judge(pem, NULL, accepts ? TLS_SERVER : TLS_CLIENT, NULL, &r) ==
			    IDENTITY_OK;

		creds_add_reasons(&to->reasons, &r, f, false);
		for (size_t i = 0; i < r.n; i++)
			good = good && (r.v[i].pin_helps || r.v[i].fault == CERT_LAB);
		*(accepts ? &to->accepts : &to->connects) = good;
	}
}

static void put_roles(struct json_out *o, const struct roles *r)
{
	json_put_bool(o, "connects", r->connects);
	json_put_bool(o, "accepts", r->accepts);
	json_put_array(o, "reasons");
	for (size_t i = 0; i < r->reasons.n; i++)
		json_put_text(o, NULL, r->reasons.v[i].text);
	json_put_array_end(o);
}

static void show_roles(const struct roles *r)
{
	out_field("roles", "%s",
		  r->connects  ? r->accepts ? "connects and accepts" : "only connects"
		  : r->accepts ? "only accepts"
			       : "NONE: no peer accepts it");
	for (size_t i = 0; i < r->reasons.n; i++)
		out_field("", "%s%s", r->reasons.v[i].text,
			  r->reasons.v[i].pin_helps ? " (or a peer that has its pin)" : "");
}

/* changed: NULL if the verb changes nothing; key: NULL for a certificate alone; why: the problem
 * with the key, or NULL. */
static void print(const struct args *a, const struct cert_facts *f, const struct roles *roles,
		  const bool *changed, const char *cert, const char *key, const struct err *why)
{
	char buf[3 * OS_PATH_MAX + 2 * sizeof *roles];
	struct json_out o;

	if (!a->json) {
		ident_show(f);
		if (!f->is_ca)
			show_roles(roles);
		out_field("file", "%s", cert);
		if (key != NULL)
			out_field("key", "%s",
				  why == NULL ? "exists, readable only by its owner" : why->cause);
		return;
	}
	out_begin(&o, buf, sizeof buf, "sapair.id/1");
	if (changed != NULL)
		json_put_bool(&o, "changed", *changed);
	ident_put(&o, f);
	if (!f->is_ca)
		put_roles(&o, roles);
	json_put_text(&o, "certificate", cert);
	if (key != NULL) {
		json_put_text(&o, "key", key);
		json_put_text(&o, "key_state", why == NULL ? "ok" : err_word(why->code));
		if (why != NULL)
			json_put_text(&o, "key_cause", why->cause);
	}
	out_end(&o);
}

static void print_pin(const struct args *a, const struct cert_facts *f)
{
	char pin[PIN_TEXT + 1], buf[256];
	struct json_out o;

	pin_put(pin, f->pin);
	if (!a->json) {
		out_text("%s\n", pin);
		return;
	}
	out_begin(&o, buf, sizeof buf, "sapair.id/1");
	json_put_text(&o, "pin", pin);
	out_end(&o);
}

static int show_file(const struct args *a, const char *file, struct err *e)
{
	struct cert_facts f;
	struct roles roles;
	char *pem;
	size_t len;

	if (ident_read(&f, file, OS_ANYONE, &pem, &len, e) < 0)
		return -1;
	find_roles(&roles, pem, &f);
	os_free_text(pem, len);
	if (args_has(a, "pin"))
		print_pin(a, &f);
	else
		print(a, &f, &roles, NULL, file, NULL, NULL);
	return 0;
}

/* Shows a key that cannot be used, too; the exit status is that of the error. */
static int show_own(const struct args *a, const struct ident_files *p, const bool *changed,
		    struct err *e)
{
	struct cert_facts f;
	struct err why = {0};
	struct roles roles;
	char *pem;
	size_t len;
	int rc;

	if (ident_read(&f, p->cert, OS_ANYONE, &pem, &len, e) < 0) {
		if (!os_exists(p->cert))
			err_hint(e, "create one with \"sapair id new\"");
		return -1;
	}
	find_roles(&roles, pem, &f);
	rc = judge_key(p, pem, &why);
	os_free_text(pem, len);
	if (args_has(a, "pin"))
		print_pin(a, &f);
	else
		print(a, &f, &roles, changed, p->cert, p->key, rc < 0 ? &why : NULL);
	if (rc < 0)
		*e = why;
	return rc;
}

static int run_show(const struct args *a, struct err *e)
{
	const char *file = args_word(a, 0);
	struct ident_files p;

	if (file != NULL && args_has(a, "dir"))
		return err_set(e, ERR_USAGE, "FILE and --dir are mutually exclusive");
	if (file != NULL)
		return show_file(a, file, e);
	return find_files(&p, a, e) < 0 ? -1 : show_own(a, &p, NULL, e);
}

static int run_new(const struct args *a, struct err *e)
{
	bool changed = args_has(a, "force");
	const char *name = args_text(a, "name");
	char host[CERT_NAME_MAX + 1];
	struct ident_files p;

	os_host_name(host, sizeof host);
	if (find_files(&p, a, e) < 0)
		return -1;
	changed = changed || !os_exists(p.cert) || !os_exists(p.key);
	if (changed && ident_make(a, &p, name != NULL ? name : host, false, e) < 0)
		return -1;
	if (!changed && !a->json)
		out_note("exists already: nothing was changed (--force replaces it)");
	return show_own(a, &p, &changed, e);
}

static const struct option show_options[] = {
	{"pin", NULL, "print only the pin", false},
	{"dir", "DIR", "directory with sapair.crt and sapair.key", false},
	OPTION_END,
};

const struct verb verb_id_show = {
	.name = "id show",
	.words = "[FILE]",
	.text = "show the identity of this host or of a certificate file",
	.more = "`sapair id` is short for this.",
	.example = "sapair id show --pin",
	.options = {show_options},
	.run = run_show,
};

static const struct option new_options[] = {
	{"name", "NAME", "name (default: the host name)", false},
	{"address", "ADDRESS", "address of this host; may be repeated", true},
	{"days", "N", "validity in days (default 825)", false},
	{"dir", "DIR", "output directory (default: the config directory)", false},
	OPTION_END,
};

const struct verb verb_id_new = {
	.name = "id new",
	.text = "create a key and a self-signed certificate",
	.more = "Does nothing if they exist.",
	.example = "sapair id new --name alpha --address 192.0.2.1",
	.options = {new_options, ident_options},
	.run = run_new,
};
