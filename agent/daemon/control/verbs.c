/*
 * agent/daemon/control/verbs.c - decodes a request and runs its verb.
 */
#include "agent/daemon/control/verbs.h"

#include "agent/daemon/peer/peer.h"

#define DECLARE(upper, lower, members) extern const struct control_verb control_verb_##lower;
CTL_VERBS(DECLARE)

#define ROW(upper, lower, members) [CTL_##upper] = &control_verb_##lower,
static const struct control_verb *const verbs[CTL_COUNT] = {CTL_VERBS(ROW)};

static int find_peer(struct agent *a, const struct ctl_request *req, bool takes_address,
		     struct peer **p, struct err *e)
{
	*p = req->peer[0] != '\0' ? peer_find(a, req->peer) : NULL;
	if (*p != NULL || req->peer[0] == '\0' || takes_address)
		return 0;
	err_set(e, ERR_USAGE, "no peer is called %s", req->peer);
	return err_hint(e, "sapair status lists the peers");
}

void control_verb_run(struct control_client *c, const char *line, size_t n)
{
	struct agent *a = c->control->agent;
	const struct control_verb *v;
	struct ctl_request req;
	struct err e = {0};
	struct peer *p;

	if (ctl_decode(&req, line, n, &e) < 0) {
		control_refuse(c, NULL, &e);
		return;
	}
	if (a->stopping) {
		err_set(&e, ERR_DOWN, "the agent is stopping");
		control_refuse(c, NULL, &e);
		return;
	}
	v = verbs[req.verb];
	if (find_peer(a, &req, v->takes_address, &p, &e) < 0)
		control_refuse(c, req.peer, &e);
	else if (v->check != NULL && v->check(a, &e) < 0)
		control_refuse(c, NULL, &e);
	else
		v->run(c, &req, p);
}
