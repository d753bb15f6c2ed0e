/*
 * agent/daemon/control/verbs/stop.c - stop: stops the agent.
 */
#include "agent/daemon/control/verbs.h"

static void run_stop(struct control_client *c, const struct ctl_request *req, struct peer *p)
{
	(void)req;
	(void)p;
	json_put_bool(control_reply_begin(c, DOC_MAX, "sapair.stop/1"), "changed", true);
	control_reply_send(c);
	control_reply_end(c, 0);
	c->control->host->stop(c->control->agent);
}

const struct control_verb control_verb_stop = {
	.run = run_stop,
};
