/*
 * agent/cli/verb.c - finds the verb of a command line, checks its arguments, runs it.
 */
#include "agent/cli/verb.h"

#include <stdio.h>
#include <string.h>

#include "agent/cli/help.h"
#include "agent/cli/out.h"

static const struct option json_option[] = {
	{"json", NULL, "print results as JSON, one object per line", false},
	OPTION_END,
};
const struct option verb_control[] = {
	{"control", "PATH", "control socket of the agent", false},
	OPTION_END,
};
const struct option verb_timeout[] = {
	{"control", "PATH", "control socket of the agent", false},
	{"timeout", "SECONDS", "time limit; 0 is none (default 30)", false},
	OPTION_END,
};

/* ---- finding --------------------------------------------------------------------------- */

const struct verb *verb_find(const struct verb *const *list, char **argv, size_t n, size_t *took)
{
	char two[64];

	*took = 0;
	if (n == 0)
		return NULL;
	if (n > 1)
		snprintf(two, sizeof two, "%s %s", argv[0], argv[1]);
	for (const struct verb *const *at = list; *at != NULL; at++) {
		const struct verb *v = *at;
		bool is_two = strchr(v->name, ' ') != NULL;

		if (is_two && n > 1 && strcmp(v->name, two) == 0)
			*took = 2;
		else if (!is_two && strcmp(v->name, argv[0]) == 0)
			*took = 1;
		else
			continue;
		return v;
	}
	/* "sapair id", also with options or a file. */
	if (strcmp(argv[0], "id") == 0) {
		static char show[] = "show";
		char *both[] = {argv[0], show};
		const struct verb *v = verb_find(list, both, 2, took);

		*took = 1;
		return v;
	}
	return NULL;
}

const char *verb_near(const struct verb *const *list, const char *name)
{
	const char *near = NULL;
	unsigned best = 100;

	for (; *list != NULL; list++)
		if (args_nearer(name, (*list)->name, &best))
			near = (*list)->name;
	return near;
}

/* The second words of the verbs whose first word is name: "new, issue, sign, renew or show". */
static bool list_second_words(const struct verb *const *list, const char *name, char *out,
			      size_t size)
{
	const size_t n = strlen(name);
	size_t len = 0, last = 0;

	out[0] = '\0';
	for (; *list != NULL; list++) {
		if (strncmp((*list)->name, name, n) != 0 || (*list)->name[n] != ' ')
			continue;
		last = len;
		len += (size_t)snprintf(out + len, size - len, "%s%s", len > 0 ? ", " : "",
					(*list)->name + n + 1);
		if (len >= size)
			return false;
	}
	if (last > 0) {
		char word[32];

		snprintf(word, sizeof word, "%s", out + last + 2);
		snprintf(out + last, size - last, " or %s", word);
	}
	return len > 0;
}

static int unknown(const struct verb *const *list, char **argv, size_t n, struct err *e)
{
	char name[64], second[128];
	const char *near;
	const bool has_second = list_second_words(list, argv[0], second, sizeof second);

	if (has_second && n > 1 && argv[1][0] != '-')
		snprintf(name, sizeof name, "%s %s", argv[0], argv[1]);
	else
		snprintf(name, sizeof name, "%s", argv[0]);
	near = verb_near(list, name);
	if (has_second && strcmp(name, argv[0]) == 0)
		err_set(e, ERR_USAGE, "%s: %s?", name, second);
	else if (near != NULL)
		err_set(e, ERR_USAGE, "unknown verb \"%s\"; did you mean \"%s\"?", name, near);
	else
		err_set(e, ERR_USAGE, "unknown verb \"%s\"", name);
	return err_hint(e, "sapair help lists the verbs");
}

/* ---- running --------------------------------------------------------------------------- */

static int check_words(const struct args *a, struct err *e)
{
	const struct verb *v = a->verb;

	const char *words = v->words != NULL ? v->words : "";
	const bool many = strstr(words, "...") != NULL;
	const size_t most = words[0] != '\0' ? 1 : 0;
	const size_t least = words[0] != '[' && strstr(words, "--") == NULL ? most : 0;

	if (a->n_words > most && !many)
		err_set(e, ERR_USAGE, "%s: unexpected argument \"%s\"", v->name, a->words[most]);
	else if (a->n_words < least)
		err_set(e, ERR_USAGE, "%s: %s is missing", v->name, v->words);
	else
		return 0;
	return -1;
}

static int read_args(struct args *a, const struct verb *v, char **argv, size_t n, struct err *e)
{
	const struct option *lists[OPTION_LISTS_MAX + 2] = {json_option};
	size_t k = 1;

	for (size_t i = 0; i < OPTION_LISTS_MAX && v->options[i] != NULL; i++)
		lists[k++] = v->options[i];
	if (args_read(a, lists, argv, n, e) < 0)
		return err_in(e, "%s", v->name);
	a->verb = v;
	return a->help ? 0 : check_words(a, e);
}

static int run_verb(const struct verb *v, const struct verb *const *list, char **argv, size_t n)
{
	struct args a;
	struct err e = {0};
	int status = read_args(&a, v, argv, n, &e);

	if (status < 0) {
		char hint[80];

		snprintf(hint, sizeof hint, "see sapair %s --help", v->name);
		e.hint = e.hint != NULL ? e.hint : hint;
		out_error(a.json, NULL, &e);
		status = err_exit_status(e.code);
	} else if (a.help) {
		help_print(list, v, a.json);
		status = 0;
	} else {
		a.verbs = list;
		status = v->run(&a, &e);
		if (status < 0) {
			out_error(a.json, NULL, &e);
			status = err_exit_status(e.code);
		}
	}
	args_free(&a);
	if (!out_flush() && status == 0) {
		err_set(&e, ERR_OS, "cannot write the output");
		out_error_text(NULL, e.cause, err_exit_status(e.code), NULL);
		status = err_exit_status(e.code);
	}
	return status;
}

static bool is_one_of(const char *word, const char *a, const char *b)
{
	return strcmp(word, a) == 0 || strcmp(word, b) == 0;
}

int verb_dispatch(int argc, char **argv, const struct verb *const *list)
{
	static char help[] = "help", version[] = "version";
	size_t n = argc > 1 ? (size_t)argc - 1 : 0, took;
	const struct verb *v;
	bool json = false;
	struct err e = {0};

	out_setup();
	if (n == 0) {
		help_print(list, NULL, false);
		out_flush();
		return err_exit_status(ERR_USAGE);
	}
	argv++;
	if (is_one_of(argv[0], "--help", "-h"))
		argv[0] = help;
	else if (is_one_of(argv[0], "--version", "-V"))
		argv[0] = version;
	v = verb_find(list, argv, n, &took);
	if (v != NULL)
		return run_verb(v, list, argv + took, n - took);
	for (size_t i = 1; i < n; i++)
		json = json || strcmp(argv[i], "--json") == 0;
	unknown(list, argv, n, &e);
	out_error(json, NULL, &e);
	return err_exit_status(e.code);
}
