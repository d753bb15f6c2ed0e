/*
 * agent/cli/verb.h - what a verb is, and how a command line is matched with one.
 *
 * Each verb is one struct in a file of agent/cli/verbs/; agent/cli/verbs/list.h has them in order.
 * Parser, help, completion and manual page are derived from that list.
 */
#ifndef SAPAIR_AGENT_CLI_VERB_H
#define SAPAIR_AGENT_CLI_VERB_H

#include "agent/cli/args.h"

struct verb {
	const char *name; /* "rekey", "id new" */
	/* Arguments in the usage, NULL if there are none. The number that is allowed follows from it:
	 * "[FILE]" and "PEER|--all" may be missing, "VERB..." may be repeated. */
	const char *words;
	const char *text; /* one line of help: lower case, no full stop */
	const char *more; /* further lines of help, or NULL */
	const char *example;
	const struct option *options[OPTION_LISTS_MAX]; /* besides --json, which every verb has */
	/* Returns the exit status, or -1 with e filled. */
	int (*run)(const struct args *a, struct err *e);
};

/* Runs the command line. list ends with NULL. Returns the exit status. */
int verb_dispatch(int argc, char **argv, const struct verb *const *list);

/*
 * Finds the verb that argv[0..n) begins with; *took is the number of words in its name (1 for "id",
 * which is short for "id show"). NULL if there is none.
 */
const struct verb *verb_find(const struct verb *const *list, char **argv, size_t n, size_t *took);
/* The name closest to a mistyped one, or NULL. */
const char *verb_near(const struct verb *const *list, const char *name);

/* Options of the verbs that talk to a running agent. */
extern const struct option verb_control[], verb_timeout[];

#endif
