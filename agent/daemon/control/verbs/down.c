/*
 * agent/daemon/control/verbs/down.c - down: removes pairs.
 */
#include "agent/daemon/control/doc.h"
#include "agent/daemon/control/verbs.h"

static void reply_down(struct control_client *c, const struct peer *p, bool changed)
{
	struct json_out *o = control_reply_begin(c, DOC_MAX, "sapair.down/1");

	json_put_text(o, "peer", peer_name(p));
	json_put_bool(o, "changed", changed);
	doc_put_removing(o, p);
	control_reply_send(c);
}

static void run_down(struct control_client *c, const struct ctl_request *req, struct peer *p)
{
	int exit_status = 0;

	(void)req;
	for (struct peer *each = c->control->agent->peers, *next; each != NULL; each = next) {
		struct err e = {0};
		bool changed;

		next = peer_next(each);
		if (p != NULL && p != each)
			continue;
		if (peer_down(each, &changed, &e) < 0)
			exit_status = err_exit_status(ERR_OS);
		reply_down(c, each, changed);
	}
	control_reply_end(c, exit_status);
}

const struct control_verb control_verb_down = {
	.run = run_down,
};
