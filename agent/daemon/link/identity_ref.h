/*
 * agent/daemon/link/identity_ref.h - the agent's identity, shared by links.
 *
 * A reload replaces it; links keep the one that they began with. Freed with the last reference.
 */
#ifndef SAPAIR_AGENT_DAEMON_LINK_IDENTITY_REF_H
#define SAPAIR_AGENT_DAEMON_LINK_IDENTITY_REF_H

#include "agent/os/creds.h"

struct agent_start;

struct identity_ref {
	struct identity *id;
	struct deny deny; /* read with it */
	unsigned refs;
};

/* Reads certificate, key, CA and denied keys of this config. The caller has the one reference. */
int identity_ref_load(struct identity_ref **out, const struct agent_start *start,
		      const struct config *c, struct err *e);
struct identity_ref *identity_ref_take(struct identity_ref *r);
void identity_ref_drop(struct identity_ref *r); /* NULL allowed */

#endif
