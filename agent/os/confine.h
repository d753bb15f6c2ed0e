/*
 * agent/os/confine.h - drops privileges that a running agent does not need.
 */
#ifndef SAPAIR_AGENT_CONFINE_H
#define SAPAIR_AGENT_CONFINE_H

#include <stdbool.h>
#include <stddef.h>

enum confine_role {
	CONFINE_AGENT, /* handles the network: no capability */
	CONFINE_HELPER /* configures IPsec: CAP_NET_ADMIN only; opens no files but the config */
};

struct confinement {
	enum confine_role role;
	bool low_ports;           /* sockets below 1024 may be opened later */
	const char *control_dir;  /* directory of the control socket, which is removed at the end;
				  * NULL: none */
	const char *const *paths; /* files that are read later, NULL-terminated; NULL: none. Because
				   * files may be replaced, access is allowed to the whole directories
				   * that contain them and the targets of symbolic links */
};

/*
 * Disables io_uring, whose requests bypass the filter of system calls, and sets no_new_privs. Call it
 * before the event loop is created; libuv then works without io_uring. False if the system has no filter.
 */
bool os_confine_rings(void);

/* Both are lists for people, "" when empty. */
struct confined {
	char done[200];
	char failed[200]; /* what the system does not support, or refused */
};

/*
 * Irrevocably drops capabilities, forbids new privileges, filters system calls and restricts access to
 * files, each as far as the system supports it. Call it when all other files, the sockets and the control
 * socket are open.
 */
void os_confine(const struct confinement *c, struct confined *result);

#endif
