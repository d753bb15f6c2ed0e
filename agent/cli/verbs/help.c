/*
 * agent/cli/verbs/help.c - help: all verbs, or one.
 */
#include "agent/cli/help.h"

static int run_help(const struct args *a, struct err *e)
{
	char *words[2] = {NULL, NULL};
	const struct verb *only = NULL;
	size_t took = 0;

	for (size_t i = 0; i < a->n_words && i < 2; i++)
		words[i] = (char *)(uintptr_t)a->words[i]; /* of argv */
	if (a->n_words > 0) {
		only = verb_find(a->verbs, words, a->n_words < 2 ? a->n_words : 2, &took);
		if (only == NULL || took < a->n_words) {
			err_set(e, ERR_USAGE, "help: no verb \"%s\"", args_word(a, took));
			return err_hint(e, "sapair help lists the verbs");
		}
	}
	help_print(a->verbs, only, a->json);
	return 0;
}

const struct verb verb_help = {
	.name = "help",
	.words = "[VERB...]",
	.text = "list all verbs, or describe one",
	.example = "sapair help rekey",
	.run = run_help,
};
