/*
 * agent/daemon/control/verbs/stop.c - stop: stops the agent.
 */
#include "agent/daemon/control/doc.h"
#include "agent/daemon/control/verbs.h"

static size_t stop_document(char *buf, size_t size)
{
	struct json_out o;

	doc_begin(&o, buf, size, "sapair.stop/1");
	json_put_bool(&o, "changed", true);
	return doc_finish(&o);
}

static void run_stop(struct control_client *c, const struct ctl_request *req, struct peer *p)
{
	char doc[DOC_MAX];

	(void)req;
	(void)p;
	control_reply(c, doc, stop_document(doc, sizeof doc));
	control_reply_end(c, 0);
	c->control->host->stop(c->control->agent);
}

const struct control_verb control_verb_stop = {
	.run = run_stop,
};
