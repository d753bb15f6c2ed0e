/*
 * agent/os/confine.h - gives up what a running agent has no use for.
 */
#ifndef SAPAIR_AGENT_CONFINE_H
#define SAPAIR_AGENT_CONFINE_H

#include <stdbool.h>
#include <stddef.h>

enum confine_role {
	CONFINE_AGENT, /* talks to the network: no right at all */
	CONFINE_HELPER /* configures the system's IPsec: that right alone, and nothing new opened but
			* the config */
};

struct confinement {
	enum confine_role role;
	bool low_ports;          /* sockets below 1024 may be opened later */
	const char *control_dir; /* where the control socket is taken away at the end; NULL: none */
	const char *const *paths; /* files that are read again later, NULL behind the last one. They
				   * may be replaced: what counts are the folders that they, and what
				   * they link to, are in, with all below. NULL: none */
};

/*
 * Before the event loop is made: no rings of requests (io_uring), whose system calls a filter does
 * not see. The loop does without. No new privileges from here on. False where the system has no filter.
 */
bool os_confine_rings(void);

/*
 * For good, and for all that this process will be: capabilities but the named ones, new privileges,
 * system calls but those that such a process makes, files but those that it reads. Each as far as
 * the system has it; what was given up is written to text, for the log. All other files, sockets and
 * the control socket are open.
 */
void os_confine(const struct confinement *c, char *text, size_t size);

#endif
