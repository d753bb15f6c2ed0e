/*
 * agent/cli/verbs/misc.c - help and version.
 */
#include <stdio.h>
#include <string.h>

#include <uv.h>

#include "agent/cli/out.h"
#include "agent/cli/verb.h"
#include "agent/ipsec/ipsec.h"
#include "crypto/tls.h"

#define HELP_MAX 65536 /* of all verbs as JSON */
#define VERB_WIDTH 28
#define OPTION_WIDTH 26

static const struct option json_only[] = {
	{"json", NULL, "results as JSON, one object a line", false},
	{"help", NULL, "this text", false},
	{NULL, NULL, NULL, false},
};

/* ---- text ------------------------------------------------------------------------------ */

static void print_options(const struct option *o)
{
	char left[64];

	for (; o->name != NULL; o++) {
		snprintf(left, sizeof left, "--%s%s%s", o->name, o->value != NULL ? " " : "",
			 o->value != NULL ? o->value : "");
		out_text("  %-*s %s\n", OPTION_WIDTH, left, o->text);
	}
}

static void print_verb(const struct verb *v)
{
	out_painted(PAINT_HEAD, "sapair %s", v->name);
	out_text("%s%s [options]: %s\n", v->words[0] != '\0' ? " " : "", v->words, v->text);
	if (v->more != NULL)
		out_text("%s\n", v->more);
	out_text("\n");
	for (size_t i = 0; i < OPTION_LISTS_MAX && v->lists[i] != NULL; i++)
		print_options(v->lists[i]);
	print_options(json_only);
	out_text("\nexample: %s\n", v->example);
}

static void print_all(void)
{
	out_text("sapair gives two hosts a matching pair of IPsec SAs.\n\n");
	for (const struct verb *v = verbs; v->name != NULL; v++) {
		char left[64];

		snprintf(left, sizeof left, "%s %s", v->name, v->words);
		out_text("  %-*s %s\n", VERB_WIDTH, left, v->text);
	}
	out_text("\nfirst steps:\n"
		 "  sapair id new                     a key and certificate for this host\n"
		 "  sapair run --peer 192.0.2.2       pair with that host\n"
		 "  sapair status                     what is in force\n"
		 "sapair VERB --help tells more; every verb has --json. Exit status:\n");
	for (int c = 0; c < ERR_COUNT; c++)
		out_text("  %2d  %s\n", err_exit_status((enum err_code)c),
			 err_meaning((enum err_code)c));
}

/* ---- JSON ------------------------------------------------------------------------------ */

static void put_options(struct json_out *o, const struct option *list)
{
	for (; list->name != NULL; list++) {
		json_put_open(o, NULL);
		json_put_text(o, "name", list->name);
		if (list->value != NULL)
			json_put_text(o, "value", list->value);
		json_put_text(o, "text", list->text);
		if (list->many)
			json_put_bool(o, "repeatable", true);
		json_put_close(o);
	}
}

static void put_verb(struct json_out *o, const struct verb *v)
{
	json_put_open(o, NULL);
	json_put_text(o, "name", v->name);
	json_put_text(o, "words", v->words);
	json_put_text(o, "text", v->text);
	if (v->more != NULL)
		json_put_text(o, "more", v->more);
	json_put_array(o, "options");
	for (size_t i = 0; i < OPTION_LISTS_MAX && v->lists[i] != NULL; i++)
		put_options(o, v->lists[i]);
	put_options(o, json_only);
	json_put_array_end(o);
	json_put_text(o, "example", v->example);
	json_put_close(o);
}

static void put_help(const struct verb *only)
{
	static char buf[HELP_MAX];
	struct json_out o;

	out_begin(&o, buf, sizeof buf, "sapair.help/1");
	json_put_array(&o, "verbs");
	for (const struct verb *v = verbs; v->name != NULL; v++)
		if (only == NULL || v == only)
			put_verb(&o, v);
	json_put_array_end(&o);
	json_put_array(&o, "exits");
	for (int c = 0; c < ERR_COUNT; c++) {
		json_put_open(&o, NULL);
		json_put_u64(&o, "exit", (uint64_t)err_exit_status((enum err_code)c));
		json_put_text(&o, "class", err_word((enum err_code)c));
		json_put_text(&o, "text", err_meaning((enum err_code)c));
		json_put_close(&o);
	}
	json_put_array_end(&o);
	out_end(&o);
}

/* ---- verbs ----------------------------------------------------------------------------- */

/* The verb that is asked about: "help rekey", "rekey --help". NULL and 0: all of them. */
static int topic(const struct args *a, const struct verb **v, struct err *e)
{
	char *words[2] = {NULL, NULL};
	size_t took;

	*v = a->help ? a->verb : NULL;
	if (a->help || a->n_words == 0)
		return 0;
	for (size_t i = 0; i < a->n_words && i < 2; i++)
		words[i] = (char *)a->words[i]; /* of argv */
	*v = verb_find(words, a->n_words, &took);
	if (*v != NULL)
		return 0;
	err_set(e, ERR_USAGE, "help: no verb \"%s\"", words[0]);
	return err_hint(e, "sapair help lists the verbs");
}

int v_help(const struct args *a, struct err *e)
{
	const struct verb *v;

	if (topic(a, &v, e) < 0)
		return -1;
	if (a->json)
		put_help(v);
	else if (v != NULL)
		print_verb(v);
	else
		print_all();
	return 0;
}

/* "soft, xfrm" as an array. */
static void put_backends(struct json_out *o)
{
	char name[32];

	json_put_array(o, "backends");
	for (const char *p = ipsec_names(); *p != '\0'; p += strspn(p, ", ")) {
		size_t n = strcspn(p, ",");

		snprintf(name, sizeof name, "%.*s", (int)n, p);
		json_put_text(o, NULL, name);
		p += n;
	}
	json_put_array_end(o);
}

int v_version(const struct args *a, struct err *e)
{
	char buf[1024];
	struct json_out o;

	(void)e;
	if (!a->json) {
		out_text("sapair %s\n", SAPAIR_VERSION);
		out_text("back ends: %s\n", ipsec_names());
		out_text("libraries: mbedTLS %s, libuv %s, cJSON %s\n", tls_library_version(),
			 uv_version_string(), json_library_version());
		return 0;
	}
	out_begin(&o, buf, sizeof buf, "sapair.version/1");
	json_put_text(&o, "version", SAPAIR_VERSION);
	json_put_text(&o, "protocol", TLS_ALPN);
	put_backends(&o);
	json_put_open(&o, "libraries");
	json_put_text(&o, "mbedtls", tls_library_version());
	json_put_text(&o, "libuv", uv_version_string());
	json_put_text(&o, "cjson", json_library_version());
	json_put_close(&o);
	out_end(&o);
	return 0;
}
