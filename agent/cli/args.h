/*
 * agent/cli/args.h - the parsed command line: options, their values, arguments.
 */
#ifndef SAPAIR_AGENT_ARGS_H
#define SAPAIR_AGENT_ARGS_H

#include "proto/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct verb;

/* A list of options ends with OPTION_END. */
struct option {
	const char *name;  /* without the dashes */
	const char *value; /* placeholder of its value in the usage; NULL: it takes no value */
	const char *text;  /* one line of help */
	bool many;         /* may be repeated */
};

#define OPTION_END                      \
	{                               \
		NULL, NULL, NULL, false \
	}

struct given {
	const struct option *option;
	const char *value; /* NULL if the option takes none */
};

/* The command line of a verb. Strings point into argv. */
struct args {
	const struct verb *verb;
	const struct verb *const *verbs; /* all of them, ended by NULL */
	struct given *given;             /* in order */
	size_t n_given;
	const char **words; /* what is no option */
	size_t n_words;
	bool help; /* --help or -h was given: nothing else was checked */
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
/* The value, or NULL if the option was not given; the last one if it was repeated. */
const char *args_text(const struct args *a, const char *name);
const char *args_word(const struct args *a, size_t i); /* the i-th argument, or NULL */
/* These leave the output as it is if the option was not given. */
int args_u32(const struct args *a, const char *name, uint32_t min, uint32_t max, uint32_t *n,
	     struct err *e);
/* Seconds, with an optional fraction: "2.5" is 2500. */
int args_ms(const struct args *a, const char *name, uint32_t *ms, struct err *e);

/* A duration from min_ms to max_ms: "90s", "5m", "4h", "2d", or seconds without a unit. */
int args_span(const struct args *a, const char *name, uint64_t min_ms, uint64_t max_ms,
	      uint64_t *ms, struct err *e);

/* Edit distance of a and b: letters that are replaced, inserted, deleted or transposed. */
unsigned args_distance(const char *a, const char *b);
/* Is b closer to a than *best, and close enough to be a suggestion? Then sets *best. */
bool args_nearer(const char *a, const char *b, unsigned *best);

#endif
