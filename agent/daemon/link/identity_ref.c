/*
 * agent/daemon/link/identity_ref.c - the agent's identity, shared by links.
 */
#include "agent/daemon/link/identity_ref.h"

#include "agent/daemon/state.h"

#include <stdlib.h>

static int read_identity(struct identity_ref *r, const struct agent_start *start,
			 const struct config *c, struct err *e)
{
	int rc;

	if (start->identity != NULL)
		rc = start->identity(start->reload_arg, c, &r->id, e);
	else
		rc = creds_identity(&r->id, c, e);
	if (rc < 0)
		return -1;
	if (identity_facts(r->id)->is_lab && !c->allow_lab) {
		err_set(e, ERR_USAGE, "%s is a lab identity, and the config does not allow_lab",
			c->certificate);
		return err_hint(
			e,
			"lab identities are for labs only: use another one, or start with --allow-lab");
	}
	return creds_deny(&r->deny, c->deny, e);
}

int identity_ref_load(struct identity_ref **out, const struct agent_start *start,
		      const struct config *c, struct err *e)
{
	struct identity_ref *r = calloc(1, sizeof *r);

	if (r == NULL)
		return err_set(e, ERR_BUG, "no memory for the identity");
	r->refs = 1;
	if (read_identity(r, start, c, e) < 0) {
		identity_ref_drop(r);
		return -1;
	}
	*out = r;
	return 0;
}

struct identity_ref *identity_ref_take(struct identity_ref *r)
{
	r->refs++;
	return r;
}

void identity_ref_drop(struct identity_ref *r)
{
	if (r == NULL || --r->refs > 0)
		return;
	identity_free(r->id);
	deny_free(&r->deny);
	free(r);
}
