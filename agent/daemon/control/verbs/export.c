/*
 * agent/daemon/control/verbs/export.c - export: the keys of SAs.
 */
#include "agent/daemon/control/verbs.h"

static int check_allowed(const struct agent *a, struct err *e)
{
	if (a->cfg.export_keys)
		return 0;
	err_set(e, ERR_PERM, "the config does not allow key export");
	return err_hint(
		e, "set \"export_keys\": true and reload; it applies to pairs that come up later");
}

static void run_export(struct control_client *c, const struct ctl_request *req, struct peer *p)
{
	struct agent *a = c->control->agent;
	struct pair_view v;

	(void)req;
	event_plain(&a->events, EVENT_KEYS_EXPORTED, p != NULL ? peer_name(p) : NULL,
		    "SA keys were exported: whoever has them can read the traffic");
	for (struct peer *each = a->peers; each != NULL; each = peer_next(each)) {
		if (p != NULL && p != each)
			continue;
		for (size_t i = 0; pair_generation(peer_pair(each), i, &v); i++)
			doc_reply_keys(c, each, &v);
	}
	control_reply_end(c, 0);
}

const struct control_verb control_verb_export = {
	.check = check_allowed,
	.run = run_export,
};
