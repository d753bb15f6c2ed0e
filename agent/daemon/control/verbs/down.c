/*
 * agent/daemon/control/verbs/down.c - down: removes pairs.
 */
#include "agent/daemon/control/verbs.h"

static void reply_down(struct control_client *c, const char *peer, bool changed)
{
	struct json_out *o = control_reply_begin(c, DOC_MAX, "sapair.down/1");

	json_put_text(o, "peer", peer);
	json_put_bool(o, "changed", changed);
	control_reply_send(c);
}

static void run_down(struct control_client *c, const struct ctl_request *req, struct peer *p)
{
	(void)req;
	for (struct peer *each = c->control->agent->peers, *next; each != NULL; each = next) {
		next = peer_next(each);
		if (p == NULL || p == each)
			reply_down(c, peer_name(each), peer_down(each));
	}
	control_reply_end(c, 0);
}

const struct control_verb control_verb_down = {
	.run = run_down,
};
