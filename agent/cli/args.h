/*
 * agent/cli/args.h - the words of a command line: long options, their values, what else is there.
 */
#ifndef SAPAIR_AGENT_ARGS_H
#define SAPAIR_AGENT_ARGS_H

#include "proto/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct verb;

/* Lists of options end with one that has no name. */
struct option {
	const char *name;  /* without the dashes */
	const char *value; /* what its value is called in the usage; NULL: it takes none */
	const char *text;  /* one line of help */
	bool many;         /* may be given several times */
};

#define OPTION_END                      \
	{                               \
		NULL, NULL, NULL, false \
	}

struct given {
	const struct option *option;
	const char *value; /* NULL for one that takes none */
};

/* A command line that fits its verb. Texts are those of argv. */
struct args {
	const struct verb *verb;
	const struct verb *const *verbs; /* all of them, ended by NULL */
	struct given *given;             /* in order */
	size_t n_given;
	const char **words; /* what is no option */
	size_t n_words;
	bool help; /* --help or -h is there: nothing else was checked */
	bool json;
};

#define OPTION_LISTS_MAX 3

/*
 * Reads argv[0..n). lists: up to OPTION_LISTS_MAX lists of options, NULL behind the last one.
 * "--opt VALUE", "--opt=VALUE", "--" ends the options. -1 with ERR_USAGE; args_free() either way.
 */
int args_read(struct args *a, const struct option *const *lists, char **argv, size_t n,
	      struct err *e);
void args_free(struct args *a);

bool args_has(const struct args *a, const char *name);
/* The (last) value, or NULL when it was not given. */
const char *args_text(const struct args *a, const char *name);
const char *args_word(const struct args *a, size_t i); /* NULL when there are not so many */
/* Both leave *n as it is when the option was not given. */
int args_u32(const struct args *a, const char *name, uint32_t min, uint32_t max, uint32_t *n,
	     struct err *e);
/* Seconds, with a fraction if wanted: "2.5" is 2500. */
int args_ms(const struct args *a, const char *name, uint32_t *ms, struct err *e);

/* A span of time: "90s", "5m", "4h", "2d", or seconds alone; min_ms to max_ms. */
int args_span(const struct args *a, const char *name, uint64_t min_ms, uint64_t max_ms,
	      uint64_t *ms, struct err *e);

/* How many letters have to be changed, added, left out or swapped to get from a to b. */
unsigned args_distance(const char *a, const char *b);
/* Is b near enough to a to be meant? Then best is the distance to beat. */
bool args_nearer(const char *a, const char *b, unsigned *best);

#endif
