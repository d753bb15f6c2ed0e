/*
 * agent/cli/verbs/check.c - check: reads all that an agent would read, and reports errors.
 */
#include <stdio.h>

#include "agent/cli/conf.h"
#include "agent/cli/out.h"
#include "agent/cli/verb.h"
#include "crypto/date.h"
#include "crypto/hex.h"
#include "proto/exchange/keysched.h"
#include "agent/os/creds.h"

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

static void judge_ca(struct findings *f, const char *path)
{
	struct cert_facts facts;
	char *text = NULL;
	size_t len = 0;

	if (path[0] == '\0' || os_read_file(&text, &len, path, OS_CONFIG, NULL) < 0)
		return; /* errors are reported when it is loaded */
	if (cert_read(text, &facts) == IDENTITY_OK)
		judge_dates(f, path, &facts);
	os_free_text(text, len);
}

static int check_identity(const struct config *c, struct findings *f, struct err *e)
{
	struct identity *id;
	struct deny deny;
	int rc = 0;

	if (creds_deny(&deny, c->deny, e) < 0)
		return -1;
	deny_free(&deny);
	if (creds_identity(&id, c, e) < 0)
		return -1;
	judge_dates(f, c->certificate, identity_facts(id));
	judge_ca(f, c->ca);
	if (identity_facts(id)->is_lab && !c->allow_lab) {
		err_set(e, ERR_USAGE, "%s is a lab identity, and the config has no allow_lab",
			c->certificate);
		err_hint(e, "use another identity, or set allow_lab");
		rc = -1;
	}
	identity_free(id);
	return rc;
}

static int check_ppk(const char *path, struct err *e)
{
	SECRET(ppk);

	return creds_ppk(&ppk, path, e);
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
		if (p->opt.policy.mode == MODE_PERMISSIVE)
			warn(f, "peer %s: mode permissive allows clear text", p->name);
	}
	if (c->n_peers == 0)
		warn(f, "no peers: the agent would do nothing until \"sapair up ADDRESS\"");
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

static int run_check(const struct args *a, struct err *e)
{
	struct findings f = {.n = 0};
	char path[OS_PATH_MAX];
	struct config c;

	if (conf_find_given(path, a, e) < 0)
		return -1;
	if (conf_read(&c, path, e) < 0) {
		if (!os_exists(path))
			err_hint(e, "give the file: sapair check FILE");
		return -1;
	}
	char dir[OS_PATH_MAX];

	os_dir_of(dir, path);
	if (conf_peers(&c, dir, e) < 0)
		return -1;
	if (config_check(&c, e) < 0 || check_files(&c, path, &f, e) < 0) {
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

static const struct option check_options[] = {
	{"config", "FILE", "same as FILE", false},
	OPTION_END,
};

const struct verb verb_check = {
	.name = "check",
	.words = "[FILE]",
	.text = "check the config without changing anything",
	.example = "sapair check /etc/sapair/sapair.json",
	.options = {check_options},
	.run = run_check,
};
