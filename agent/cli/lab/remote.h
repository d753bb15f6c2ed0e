/*
 * agent/cli/lab/remote.h - runs a command on the hosts of a lab, in parallel.
 */
#ifndef SAPAIR_AGENT_CLI_LAB_REMOTE_H
#define SAPAIR_AGENT_CLI_LAB_REMOTE_H

#include "agent/cli/lab/session.h"

#define LAB_STEP_MS 60000u /* limit of a step that usually takes a second */

/*
 * A command: exactly one of script, args and batch.
 *
 *   script  a shell script, where "$d" is the host's directory, "$c" its control socket, "$p" the
 *           program, $alone 1 if it has a network namespace, $soft 1 for the back end soft. Windows
 *           hosts are left out.
 *   args    arguments for sapair; --control is added. Every host can run it.
 *   batch   commands for sftp, which come from input(). Windows hosts only.
 *
 * Hosts that have failed, or are started by hand, are never asked.
 */
struct lab_command {
	const char *script, *args;
	bool batch;
	bool windows; /* only Windows hosts */
	/* Selects the hosts; NULL: all. */
	bool (*selects)(const struct lab_session *r, size_t host);
	/* Returns the host's stdin, allocated; it is wiped and freed. NULL: no stdin. */
	char *(*input)(struct lab_session *r, size_t host, size_t *len);
	/* Called for each line of stdout; NULL: it is discarded. */
	void (*on_line)(struct parallel_command *c, char *line, size_t len);
	/* Hosts that could not be reached have failed. must_succeed: so have hosts where the exit status
	 * is not 0; the cause is the last line of stderr. */
	bool must_be_reached, must_succeed;
	/* Only hosts with a partner; its name is the last argument. */
	bool with_partner;
	unsigned parallel;   /* hosts at a time; 0: 8 through ssh, 32 on this machine */
	uint64_t timeout_ms; /* 0: LAB_STEP_MS */
};

/* Runs the command. -1 only if none could be run. */
int lab_remote_run(struct lab_session *r, const struct lab_command *command, struct err *e);

/* The session and the host that a command belongs to, for on_line(). */
struct lab_session *lab_remote_session(const struct parallel_command *c, size_t *host);

#endif
