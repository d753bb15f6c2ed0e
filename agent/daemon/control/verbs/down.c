/*
 * agent/daemon/control/verbs/down.c - down: removes pairs.
 */
#include "agent/daemon/control/doc.h"
#include "agent/daemon/control/verbs.h"
#include "agent/daemon/peer/peer.h"
#include "agent/daemon/peer/view.h"

static size_t down_document(char *buf, size_t size, const char *peer, bool changed)
{
	struct json_out o;

	doc_begin(&o, buf, size, "sapair.down/1");
	json_put_text(&o, "peer", peer);
	json_put_bool(&o, "changed", changed);
	return doc_finish(&o);
}

static void run_down(struct control_client *c, const struct ctl_request *req, struct peer *p)
{
	char doc[DOC_MAX];

	(void)req;
	for (struct peer *each = c->control->agent->peers, *next; each != NULL; each = next) {
		next = peer_next(each);
		if (p == NULL || p == each)
			control_reply(c, doc,
				      down_document(doc, sizeof doc, peer_name(each),
						    peer_down(each)));
	}
	control_reply_end(c, 0);
}

const struct control_verb control_verb_down = {
	.run = run_down,
};
