/*
 * agent/cli/verbs/lab_init.c - lab init: bundles from a lab file.
 */
#include <stdlib.h>
#include <string.h>

#include "agent/cli/conf.h"
#include "agent/cli/lab/labfile.h"
#include "agent/cli/out.h"
#include "agent/cli/verb.h"
#include "crypto/date.h"

#define TTL_MAX_MS (30u * 24u * 3600000ull)

static void print_init(const struct args *a, const struct lab *lab, const char *dir, int64_t until,
		       bool changed)
{
	size_t size = 1024 + lab->n_hosts * (OS_PATH_MAX + LAB_NAME_MAX + 64);
	char *buf = a->json ? malloc(size) : NULL, when[DATE_TEXT], path[OS_PATH_MAX];
	struct json_out o;

	date_put(when, until);
	if (buf != NULL) {
		out_begin(&o, buf, size, "sapair.bundles/1");
		json_put_text(&o, "lab", lab->name);
		json_put_bool(&o, "changed", changed);
		json_put_text(&o, "not_after", when);
		json_put_u64(&o, "pairs", lab->n_pairs);
		json_put_array(&o, "hosts");
		for (size_t i = 0; i < lab->n_hosts; i++) {
			if (labfile_bundle_path(path, dir, lab->hosts[i].name, NULL) < 0)
				continue;
			json_put_open(&o, NULL);
			json_put_text(&o, "name", lab->hosts[i].name);
			json_put_text(&o, "bundle", path);
			json_put_close(&o);
		}
		json_put_array_end(&o);
		out_end(&o);
		free(buf);
		return;
	}
	for (size_t i = 0; i < lab->n_hosts; i++)
		if (labfile_bundle_path(path, dir, lab->hosts[i].name, NULL) == 0)
			out_text("%s\n", path);
	if (changed && args_has(a, "check"))
		out_note("bundles valid until %s would be written; nothing was changed", when);
	else if (!changed)
		out_note("exists already: nothing was changed (valid until %s)", when);
	else
		out_note("%zu hosts, %zu pair%s, valid until %s; on each: sapair run --bundle "
			 "HOST.bundle",
			 lab->n_hosts, lab->n_pairs, lab->n_pairs == 1 ? "" : "s", when);
}

static int run_lab_init(const struct args *a, struct err *e)
{
	const char *out = args_text(a, "out");
	bool force = args_has(a, "force"), renew = force || args_has(a, "renew"), changed;
	uint8_t source[SHA256_LEN];
	uint64_t ttl_ms = LAB_TTL_MS;
	char dir[OS_PATH_MAX];
	int64_t until = 0;
	struct lab lab;
	int rc = 0;

	if (args_span(a, "ttl", LAB_TTL_MIN_MS, TTL_MAX_MS, &ttl_ms, e) < 0 ||
	    conf_absolute(dir, NULL, out != NULL ? out : ".", e) < 0 ||
	    labfile_read(&lab, source, args_word(a, 0), e) < 0)
		return -1;
	changed = force || !labfile_fresh(&lab, source, dir, &until);
	if (changed && args_has(a, "check"))
		until = os_wall_ms() / 1000 + (int64_t)(ttl_ms / 1000);
	else if (changed)
		rc = labfile_make(&lab, source, dir, ttl_ms, renew, &until, e);
	if (rc == 0)
		print_init(a, &lab, dir, until, changed);
	lab_free(&lab);
	return rc;
}

static const struct option lab_init_options[] = {
	{"ttl", "TIME", "lifetime of the lab: 90m, 4h, 2d (default 4h)", false},
	{"out", "DIR", "output directory (default: the current directory)", false},
	{"renew", NULL, "replace bundles of another lab file, or about to expire", false},
	{"force", NULL, "overwrite existing files", false},
	{"check", NULL, "only report whether anything would change", false},
	OPTION_END,
};

const struct verb verb_lab_init = {
	.name = "lab init",
	.words = "FILE",
	.text = "create a throw-away CA and a bundle for each host of a lab",
	.more = "Each HOST.bundle is all that its host needs: sapair run --bundle\n"
		"HOST.bundle. The CA key is not stored. Does nothing if valid bundles of the\n"
		"same file exist.",
	.example = "sapair lab init lab.json --ttl 4h --out bundles",
	.options = {lab_init_options},
	.run = run_lab_init,
};
