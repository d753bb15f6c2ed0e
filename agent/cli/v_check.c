/*
 * agent/cli/v_check.c - reads all that an agent would read, and tells whether it would start.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/cli/conf.h"
#include "agent/cli/date.h"
#include "agent/cli/out.h"
#include "agent/cli/verb.h"
#include "crypto/hex.h"
#include "proto/keysched.h"

#define SOON_DAYS 30
#define WARNINGS_MAX 8
#define WARNING_LEN 192

struct findings {
	char warning[WARNINGS_MAX][WARNING_LEN];
	size_t n;
};

static void warn(struct findings *f, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void warn(struct findings *f, const char *fmt, ...)
{
	va_list ap;

	if (f->n == WARNINGS_MAX)
		return;
	va_start(ap, fmt);
	vsnprintf(f->warning[f->n++], WARNING_LEN, fmt, ap);
	va_end(ap);
}

static void judge_dates(struct findings *f, const char *path, const struct cert_facts *facts)
{
	int64_t now = os_wall_ms() / 1000, days = (facts->not_after - now) / DATE_DAY_S;
	char text[DATE_TEXT];

	if (now > facts->not_after) {
		date_put(text, facts->not_after);
		warn(f, "%s expired at %s", path, text);
	} else if (now < facts->not_before) {
		date_put(text, facts->not_before);
		warn(f, "%s is not valid before %s", path, text);
	} else if (days < SOON_DAYS) {
		warn(f, "%s expires in %d days", path, (int)days);
	}
}

static int read_ca(struct findings *f, const char *path, char **text, size_t *len, struct err *e)
{
	struct cert_facts facts;

	if (path[0] == '\0')
		return 0;
	if (os_read_file(text, len, path, OS_CONFIG, e) < 0)
		return -1;
	if (cert_read(*text, &facts) == IDENTITY_OK)
		judge_dates(f, path, &facts);
	return 0;
}

static int check_identity(const struct config *c, struct findings *f, struct err *e)
{
	char *cert = NULL, *key = NULL, *ca = NULL;
	size_t cert_len = 0, key_len = 0, ca_len = 0;
	struct identity *id = NULL;
	int rc = -1;

	if (os_read_file(&cert, &cert_len, c->certificate, OS_ANYONE, e) < 0 ||
	    os_read_file(&key, &key_len, c->key, OS_SECRET, e) < 0 ||
	    read_ca(f, c->ca, &ca, &ca_len, e) < 0)
		goto free_texts;
	rc = conf_fault(identity_load(&id, cert, key, ca), c->certificate, c->key, c->ca, e);
	if (rc == 0) {
		judge_dates(f, c->certificate, identity_facts(id));
		if (identity_facts(id)->is_lab)
			warn(f, "%s is a lab identity: peers refuse it unless they allow_lab",
			     c->certificate);
		identity_free(id);
	}
free_texts:
	os_free_text(cert, cert_len);
	os_free_text(key, key_len);
	os_free_text(ca, ca_len);
	return rc;
}

static int check_ppk(const char *path, struct err *e)
{
	SECRET(ppk);
	char *text;
	size_t len, n;
	bool ok;

	if (path[0] == '\0')
		return 0;
	if (os_read_file(&text, &len, path, OS_SECRET, e) < 0)
		return -1;
	for (n = len; n > 0 && strchr(" \r\n", text[n - 1]) != NULL; n--)
		;
	ok = n >= (size_t)2 * PPK_MIN && n <= (size_t)2 * PPK_MAX && hex_get_secret(&ppk, text, n);
	os_free_text(text, len);
	if (ok)
		return 0;
	return err_set(e, ERR_USAGE, "%s: must hold %d to %d lower-case hex digits", path,
		       2 * PPK_MIN, 2 * PPK_MAX);
}

static int check_files(struct config *c, const char *path, struct findings *f, struct err *e)
{
	char dir[OS_PATH_MAX];

	os_dir_of(dir, path);
	if (conf_identity(c, dir, e) < 0 || check_identity(c, f, e) < 0)
		return -1;
	for (size_t i = 0; i < c->n_peers; i++) {
		const struct peer_config *p = &c->peers[i];

		if (check_ppk(p->ppk, e) < 0)
			return err_in(e, "peer %s", p->name);
		if (p->opt.mode == MODE_PERMISSIVE)
			warn(f, "peer %s: mode permissive lets clear text through", p->name);
	}
	if (c->n_peers == 0)
		warn(f, "no peers: the agent would wait for \"sapair up ADDRESS\"");
	if (c->fault[0] != '\0')
		warn(f, "test_fault is for tests: the agent will fail on purpose");
	return 0;
}

static void print_json(const char *path, const struct config *c, const struct findings *f)
{
	char buf[2 * OS_PATH_MAX + 2 * WARNINGS_MAX * WARNING_LEN + 256];
	struct json_out o;

	out_begin(&o, buf, sizeof buf, "sapair.check/1");
	json_put_bool(&o, "ok", true);
	json_put_u64(&o, "peers", c->n_peers);
	json_put_text(&o, "file", path);
	json_put_array(&o, "warnings");
	for (size_t i = 0; i < f->n; i++)
		json_put_text(&o, NULL, f->warning[i]);
	json_put_array_end(&o);
	out_end(&o);
}

static int find_file(char path[OS_PATH_MAX], const struct args *a, struct err *e)
{
	const char *file = args_word(a, 0), *config = args_text(a, "config");

	if (file != NULL && config != NULL)
		return err_set(e, ERR_USAGE, "FILE and --config exclude each other");
	if (file == NULL)
		file = config;
	if (file != NULL)
		return conf_absolute(path, NULL, file, e);
	return conf_usual(path, e);
}

int v_check(const struct args *a, struct err *e)
{
	struct findings f = {.n = 0};
	char path[OS_PATH_MAX];
	struct config c;

	if (find_file(path, a, e) < 0)
		return -1;
	if (conf_read(&c, path, e) < 0) {
		if (!os_exists(path))
			err_hint(e, "say which file: sapair check FILE");
		return -1;
	}
	if (check_files(&c, path, &f, e) < 0) {
		config_free(&c);
		return -1;
	}
	if (a->json) {
		print_json(path, &c, &f);
	} else {
		for (size_t i = 0; i < f.n; i++)
			out_note("warning: %s", f.warning[i]);
		out_text("ok: %zu peer%s\n", c.n_peers, c.n_peers == 1 ? "" : "s");
	}
	config_free(&c);
	return 0;
}
