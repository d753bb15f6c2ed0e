/*
 * agent/daemon/control/verbs/watch.c - watch: events as they happen.
 */
#include "agent/daemon/control/verbs.h"

static void run_watch(struct control_client *c, const struct ctl_request *req, struct peer *p)
{
	(void)req;
	(void)p;
	control_client_watch(c);
}

const struct control_verb control_verb_watch = {
	.run = run_watch,
};
