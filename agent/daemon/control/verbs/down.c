/*
 * agent/daemon/control/verbs/down.c - down: removes pairs.
 */
#include "agent/daemon/control/doc.h"
#include "agent/daemon/control/verbs.h"
#include "agent/daemon/peer/peer.h"
#include "agent/daemon/peer/view.h"

static size_t down_document(char *buf, size_t size, const struct peer *p, bool changed)
{
	struct json_out o;

	doc_begin(&o, buf, size, "sapair.down/1");
	json_put_text(&o, "peer", peer_name(p));
	json_put_bool(&o, "changed", changed);
	doc_put_removing(&o, p);
	return doc_finish(&o);
}

static void run_down(struct control_client *c, const struct ctl_request *req, struct peer *p)
{
	char doc[DOC_MAX];
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
		control_reply(c, doc, down_document(doc, sizeof doc, each, changed));
	}
	control_reply_end(c, exit_status);
}

const struct control_verb control_verb_down = {
	.run = run_down,
};
