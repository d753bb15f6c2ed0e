/*
 * agent/cli/lab/fleet.h - runs many commands side by side and reads what they say.
 */
#ifndef SAPAIR_AGENT_CLI_LAB_FLEET_H
#define SAPAIR_AGENT_CLI_LAB_FLEET_H

#include "proto/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FLEET_WORDS 24
#define FLEET_STDERR 1024

struct fleet_job {
	const char *argv[FLEET_WORDS]; /* NULL-ended; argv[0] is looked for in PATH */
	const char *input;             /* for its stdin, or NULL: none */
	size_t input_len;
	/* Each line of its stdout, without the line end; NULL: not wanted. */
	void (*line)(struct fleet_job *j, char *line, size_t len);
	void *arg;

	/* Filled by fleet_run(). */
	bool started, over, late;
	int status;             /* exit status; 128 + N: ended by signal N */
	char err[FLEET_STDERR]; /* what it said on stderr, the first of it */
	size_t err_len;
};

/*
 * Runs all of them, at most parallel at once, each for at most timeout_ms (0: as long as it likes;
 * then it is ended). 0 when all were run, however they ended; a program that cannot be started has
 * started false and err saying why.
 */
int fleet_run(struct fleet_job *jobs, size_t n, unsigned parallel, uint64_t timeout_ms,
	      struct err *e);

/* The last line of what it said on stderr; never NULL. */
const char *fleet_last_line(struct fleet_job *j);

/* text in single quotes, for a shell, into out. False: it did not fit. */
bool fleet_quote(char *out, size_t size, const char *text);

#endif
