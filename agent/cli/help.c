/*
 * agent/cli/help.c - prints the help of verbs.
 */
#include "agent/cli/help.h"

#include <stdio.h>

#include "agent/cli/out.h"

#define HELP_MAX 65536 /* of all verbs as JSON */
#define VERB_WIDTH 28
#define OPTION_WIDTH 26

/* Options of every verb. */
static const struct option common[] = {
	{"json", NULL, "print results as JSON, one object per line", false},
	{"help", NULL, "print this text", false},
	OPTION_END,
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
	out_text("%s%s [options]: %s\n", v->words != NULL ? " " : "",
		 v->words != NULL ? v->words : "", v->text);
	if (v->more != NULL)
		out_text("%s\n", v->more);
	out_text("\n");
	for (size_t i = 0; i < OPTION_LISTS_MAX && v->options[i] != NULL; i++)
		print_options(v->options[i]);
	print_options(common);
	out_text("\nExample: %s\n", v->example);
}

static void print_all(const struct verb *const *list)
{
	out_text("sapair sets up matching IPsec SAs on two hosts.\n\n");
	for (; *list != NULL; list++) {
		char left[64];

		snprintf(left, sizeof left, "%s %s", (*list)->name,
			 (*list)->words != NULL ? (*list)->words : "");
		out_text("  %-*s %s\n", VERB_WIDTH, left, (*list)->text);
	}
	out_text("\nfirst steps:\n"
		 "  sapair id new                     create a key and a certificate\n"
		 "  sapair run --peer 192.0.2.2       pair with another host\n"
		 "  sapair status                     show the pair\n"
		 "See sapair VERB --help for details. Every verb has --json. Exit status:\n");
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
	json_put_text(o, "words", v->words != NULL ? v->words : "");
	json_put_text(o, "text", v->text);
	if (v->more != NULL)
		json_put_text(o, "more", v->more);
	json_put_array(o, "options");
	for (size_t i = 0; i < OPTION_LISTS_MAX && v->options[i] != NULL; i++)
		put_options(o, v->options[i]);
	put_options(o, common);
	json_put_array_end(o);
	json_put_text(o, "example", v->example);
	json_put_close(o);
}

static void put_help(const struct verb *const *list, const struct verb *only)
{
	static char buf[HELP_MAX];
	struct json_out o;

	out_begin(&o, buf, sizeof buf, "sapair.help/1");
	json_put_array(&o, "verbs");
	for (; *list != NULL; list++)
		if (only == NULL || *list == only)
			put_verb(&o, *list);
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

void help_print(const struct verb *const *list, const struct verb *only, bool json)
{
	if (json)
		put_help(list, only);
	else if (only != NULL)
		print_verb(only);
	else
		print_all(list);
}
