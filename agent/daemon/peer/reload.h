/*
 * agent/daemon/peer/reload.h - applies a new config to the peers.
 */
#ifndef SAPAIR_AGENT_DAEMON_PEER_RELOAD_H
#define SAPAIR_AGENT_DAEMON_PEER_RELOAD_H

#include "agent/daemon/state.h"

/* What a reload did; the names are freed by reload_result_free(). */
struct reload_result {
	char **added, **removed, **updated;
	char **removing; /* those of removed and updated whose policy could not be removed yet */
	size_t n_added, n_removed, n_updated, n_removing, same;
	bool identity_changed;
};
void reload_result_free(struct reload_result *r);

/* Is everything there that the peers of a new config need? None is removed for one that cannot begin. */
int peers_check(const struct agent *a, const struct config *c, struct err *e);
/* Removes, changes and adds peers. One that cannot be added is an event. */
void peers_reload(struct agent *a, const struct config *c, struct reload_result *r);

#endif
