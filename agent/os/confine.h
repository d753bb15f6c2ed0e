/*
 * agent/os/confine.h - gives up what a running agent has no use for.
 */
#ifndef SAPAIR_AGENT_CONFINE_H
#define SAPAIR_AGENT_CONFINE_H

#include <stdbool.h>
#include <stddef.h>

struct confinement {
	bool net_admin;          /* the back end configures the system's IPsec */
	bool low_ports;          /* sockets below 1024 may be opened later */
	const char *control_dir; /* where the control socket is taken away at the end; NULL: none */
};

/*
 * Before the event loop is made: no rings of requests (io_uring), whose system calls a filter does
 * not see. The loop does without. No new privileges from here on. False where the system has no filter.
 */
bool os_confine_rings(void);

/*
 * For good, and for all that this process will be: capabilities but the named ones, new privileges,
 * system calls that no agent makes, writing to the file system. Each as far as the system has it; what
 * was given up is written to text, for the log. All files, sockets and the control socket are open.
 */
void os_confine(const struct confinement *c, char *text, size_t size);

#endif
