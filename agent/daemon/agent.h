/*
 * agent/daemon/agent.h - one running agent: owns the loop, the peers, the back end.
 *
 * No global state: an agent is a struct, and a test may hold several in one process.
 */
#ifndef SAPAIR_AGENT_AGENT_H
#define SAPAIR_AGENT_AGENT_H

#include "agent/daemon/loop.h"
#include "agent/os/creds.h"
#include "agent/ipsec/ipsec.h"
#include "proto/config/config.h"

#include <uv.h>

struct carrier;
struct control;
struct listener;
struct peer;
struct renew;

/* A certificate that links share; replaced by reload, freed with its last link. */
struct identity_ref {
	struct identity *id;
	struct deny deny; /* read with it */
	unsigned refs;
};
struct identity_ref *identity_ref_take(struct identity_ref *r);
void identity_ref_drop(struct identity_ref *r); /* NULL allowed */

#define AGENT_PATHS_MAX 4

/* What agent_run() needs. Paths in cfg are absolute. */
struct agent_start {
	struct config cfg;
	struct privsep *privsep; /* the helper, where the back end needs a right; else NULL */
	const char *paths[AGENT_PATHS_MAX +
			  1];          /* files that reload reads, beside those of the config */
	char config_path[OS_PATH_MAX]; /* for messages; empty: started by flags alone */
	int (*reload)(void *arg, struct config *out, struct err *e); /* NULL: no reload */
	void *reload_arg;
	/* The far end of an ssh session that started us, and our port of it; 0: none is known. */
	struct addr session_from;
	uint16_t session_port;
	/* Where the identity comes from, with reload_arg; NULL: the files that the config names. */
	int (*identity)(void *arg, const struct config *c, struct identity **out, struct err *e);
};

/* Runs until SIGTERM, SIGINT or `sapair stop`. Takes over s->cfg. 0 after a clean end. */
int agent_run(struct agent_start *s, struct err *e);

#define DIALS_MAX 16    /* handshakes that we start at once */
#define READ_ROOM 65536 /* the one buffer that all sockets read into */

struct agent {
	struct loop loop;
	struct agent_start *start;
	struct config cfg;
	struct identity_ref *identity;
	struct ipsec *db;
	struct ipsec_can can;
	uint8_t instance[INSTANCE_LEN];
	uint64_t started_ms;
	bool stopping;
	struct err fate; /* what ended it, if it was not asked to end */

	struct peer *peers; /* list, in order of the config */
	size_t n_peers;
	struct peer *dial_first, *dial_last; /* peers that wait for a place to dial */
	unsigned dials;                      /* places in use */

	struct listener *listeners;
	struct carrier *carriers;
	struct control *control;
	struct renew *renew;
	uv_signal_t signals[OS_SIGNALS];
	uv_timer_t stop_timer, watchdog;
	struct xactions scratch; /* of the one exchange step that runs */
	bool stepping;
	size_t gens, gens_most; /* now, and at most since memory was given back */
	uint64_t lines_ms;      /* of events in the log: when lines_left was last filled */
	uint32_t lines_left;
	uint64_t lines_dropped;
	char read_room[READ_ROOM];
};

/* Reads the config and the identity anew and applies the differences. On -1 nothing changed. */
struct reload_result {
	char **added, **removed, **updated; /* names, freed by reload_result_free() */
	size_t n_added, n_removed, n_updated, same;
	bool identity_changed;
};
int agent_reload(struct agent *a, struct reload_result *r, struct err *e);
void reload_result_free(struct reload_result *r);

/* Reads certificate, key and CA anew. On -1 the old ones stay. */
int agent_renew(struct agent *a, struct err *e);

/* Adds a peer by its address at run time (`up ADDRESS`); pin may be NULL. */
int agent_add_address(struct agent *a, const char *address, const char *pin, struct peer **p,
		      struct err *e);

/* Starts an orderly end; the loop runs out. */
void agent_stop(struct agent *a);
/* The same, and agent_run() fails for that reason. */
void agent_give_up(struct agent *a, const struct err *why);

#endif
