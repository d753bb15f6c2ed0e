/*
 * agent/cli/lab/parallel.h - runs commands in parallel and reads their output.
 */
#ifndef SAPAIR_AGENT_CLI_LAB_PARALLEL_H
#define SAPAIR_AGENT_CLI_LAB_PARALLEL_H

#include "proto/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PARALLEL_ARGS_MAX 24
#define PARALLEL_STDERR_MAX 1024

struct parallel_command {
	const char *argv[PARALLEL_ARGS_MAX]; /* ended by NULL; without argv[0], nothing is run */
	const char *input;                   /* stdin; NULL: empty */
	size_t input_len;
	/* Called for each line of stdout, without its newline. NULL: stdout is discarded. */
	void (*on_line)(struct parallel_command *c, char *line, size_t len);
	void *arg;

	/* Set by parallel_run(). */
	bool started, timed_out;
	int status;                    /* exit status; 128 + N: killed by signal N */
	char err[PARALLEL_STDERR_MAX]; /* the beginning of stderr; or the reason why it did not start */
	size_t err_len;
};

/*
 * Runs n commands, at most parallel at a time, and kills those that run for more than timeout_ms
 * (0: no limit). Returns 0 when all have been run, whatever their status.
 */
int parallel_run(struct parallel_command *commands, size_t n, unsigned parallel,
		 uint64_t timeout_ms, struct err *e);

/* Adds words to argv. */
void parallel_add_words(struct parallel_command *c, const char *const *words);
#define PARALLEL_ADD(c, ...) parallel_add_words(c, (const char *const[]){__VA_ARGS__, NULL})

/* The last line of stderr; "" if there is none. */
const char *parallel_last_line(struct parallel_command *c);

/* Text for a command: its stdin, or a script. Ends with a NUL; the caller frees buf. */
struct parallel_text {
	char *buf;
	size_t size, n;
	bool truncated; /* an addition did not fit, and all after it were ignored */
};

bool parallel_text_init(struct parallel_text *t, size_t size); /* false: no memory */
void parallel_text_add(struct parallel_text *t, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Adds text in single quotes, for a shell. */
void parallel_text_quote(struct parallel_text *t, const char *text);

#endif
