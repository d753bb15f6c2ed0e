/*
 * agent/daemon/state.h - what the parts of one running agent share.
 *
 * agent.c fills it in; a reload replaces config and identity. There is no global state: a process may
 * hold several agents.
 */
#ifndef SAPAIR_AGENT_DAEMON_STATE_H
#define SAPAIR_AGENT_DAEMON_STATE_H

#include "agent/daemon/event.h"
#include "agent/daemon/loop.h"
#include "agent/ipsec/ipsec.h"
#include "agent/os/confine.h"
#include "agent/os/os.h"
#include "proto/config/config.h"

struct identity;
struct identity_ref;

#define AGENT_PATHS_MAX 4

/* What agent_run() needs. Paths in cfg are absolute. */
struct agent_start {
	struct config cfg;
	struct privsep *privsep; /* the helper, where the back end needs a right; else NULL */
	/* Files that a reload reads besides those that the config names; the last one is NULL. */
	const char *paths[AGENT_PATHS_MAX + 1];
	char config_path[OS_PATH_MAX]; /* for messages; empty: started by flags alone */
	int (*reload)(void *arg, struct config *out, struct err *e); /* NULL: no reload */
	void *reload_arg;
	/* The client's end of an ssh session that started us, and our port of it; port 0: none. */
	struct addr session_from;
	uint16_t session_port;
	/* Where the identity comes from, with reload_arg; NULL: the files that the config names. */
	int (*identity)(void *arg, const struct config *c, struct identity **out, struct err *e);
};

#define READ_ROOM 8192 /* bytes of one link that are read in an iteration of the loop */

struct agent {
	struct agent_start *start;
	uv_loop_t loop;
	struct events events;
	struct config cfg;
	struct identity_ref *identity; /* of new links */
	struct ipsec *db;
	struct ipsec_can can;
	uint8_t instance[INSTANCE_LEN];
	uint64_t started_ms;
	bool stopping;
	struct confined confined;
	char read_room[READ_ROOM]; /* all sockets of links read into it */

	/* Lists and counters of one part each. */
	struct link *closing;       /* link/link.c: wait for their peers' end, oldest first */
	size_t link_bytes;          /* that all links hold */
	struct listener *listeners; /* link/listen.c */
	struct probe_socket *probe_sockets; /* verify/transport.c */
	struct xactions scratch;            /* pair/driver.c: of the one event that runs */
	bool is_driving;
	size_t generations, generations_max;    /* pair/generation.c */
	struct dialler *dial_first, *dial_last; /* peer/dial.c: those that wait for a slot */
	unsigned dials;                         /* slots in use */
	struct peer *peers;                     /* peer/peer.c */
	size_t n_peers;
	struct control *control;        /* control/server.c */
	struct os_addresses *addresses; /* agent.c; NULL: not watched */
};

#endif
