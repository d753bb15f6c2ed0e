/*
 * agent/daemon/control/verbs/reload.c - reload: applies changes to the config and certificates.
 */
#include "agent/daemon/control/verbs.h"

#define NAME_ROOM (2 * (MSG_NAME_MAX + 3)) /* of one name, escaped */

static void put_names(struct json_out *o, const char *name, char *const *list, size_t n)
{
	json_put_array(o, name);
	for (size_t i = 0; i < n; i++)
		json_put_text(o, NULL, list[i]);
	json_put_array_end(o);
}

static void run_reload(struct control_client *c, const struct ctl_request *req, struct peer *p)
{
	struct reload_result r;
	struct err e = {0};
	struct json_out *o;

	(void)req;
	(void)p;
	if (c->control->host->reload(c->control->agent, &r, &e) < 0) {
		control_refuse(c, NULL, &e);
		return;
	}
	o = control_reply_begin(
		c, 1024 + (r.n_added + r.n_removed + r.n_updated + r.n_removing) * NAME_ROOM,
		"sapair.reload/1");
	json_put_bool(o, "changed",
		      r.n_added + r.n_removed + r.n_updated > 0 || r.identity_changed);
	put_names(o, "added", r.added, r.n_added);
	put_names(o, "removed", r.removed, r.n_removed);
	put_names(o, "updated", r.updated, r.n_updated);
	put_names(o, "removing", r.removing, r.n_removing);
	json_put_u64(o, "same", r.same);
	json_put_bool(o, "identity_changed", r.identity_changed);
	control_reply_send(c);
	control_reply_end(c, r.n_removing > 0 ? err_exit_status(ERR_OS) : 0);
	reload_result_free(&r);
}

const struct control_verb control_verb_reload = {
	.run = run_reload,
};
