/*
 * agent/daemon/control/verbs.c - the verbs of the control socket.
 */
#include "agent/daemon/control/client.h"
#include "agent/daemon/control/doc.h"
#include "agent/daemon/peer/peer.h"
#include "agent/daemon/peer/view.h"

#include <stdlib.h>
#include <string.h>

static bool find_or_refuse(struct caller *c, const struct ctl_request *req, struct peer **p)
{
	struct err e = {0};

	*p = NULL;
	if (req->peer[0] == '\0')
		return true;
	*p = peer_find(c->control->agent, req->peer);
	if (*p != NULL)
		return true;
	err_set(&e, ERR_USAGE, "no peer is called %s", req->peer);
	err_hint(&e, "sapair status lists the peers");
	caller_refuse(c, req->peer, &e);
	return false;
}

static void do_status(struct caller *c, const struct ctl_request *req)
{
	struct peer *p;
	size_t n = 0;
	char *doc;

	if (!find_or_refuse(c, req, &p))
		return;
	doc = doc_status(c->control->agent, p, &n);
	if (doc == NULL) {
		caller_close(c);
		return;
	}
	caller_reply(c, doc, n);
	free(doc);
	caller_reply_end(c, p != NULL && !peer_is_up(p) ? err_exit_status(ERR_DOWN) : 0);
}

static void do_up(struct caller *c, const struct ctl_request *req)
{
	struct agent *a = c->control->agent;
	struct peer *p = req->peer[0] != '\0' ? peer_find(a, req->peer) : NULL;
	struct err e = {0};
	bool changed = false;

	if (req->peer[0] != '\0' && p == NULL) {
		if (c->control->host->add_address(a, req->peer, req->pin, &p, &e) < 0) {
			err_in(&e, "no peer is called %s", req->peer);
			caller_refuse(c, req->peer, &e);
			return;
		}
		changed = true;
	}
	if (p != NULL)
		changed = peer_up(p) || changed;
	for (struct peer *each = a->peers; p == NULL && each != NULL; each = peer_next(each))
		peer_up(each);
	if (req->wait == CTL_WAIT_NONE) {
		struct completion none = {.kind = COMPLETE_UP,
					  .changed = changed,
					  .since_us = loop_now_us()};
		char doc[DOC_MAX];

		if (p != NULL)
			caller_reply(c, doc, doc_up(doc, sizeof doc, p, &none));
		caller_reply_end(c, 0);
		return;
	}
	job_start(c, req, COMPLETE_UP, p, changed);
}

static void do_down(struct caller *c, const struct ctl_request *req)
{
	struct agent *a = c->control->agent;
	struct peer *p;
	char doc[DOC_MAX];

	if (!find_or_refuse(c, req, &p))
		return;
	for (struct peer *each = a->peers, *next; each != NULL; each = next) {
		next = peer_next(each);
		if (p == NULL || p == each)
			caller_reply(c, doc,
				     doc_down(doc, sizeof doc, peer_name(each), peer_down(each)));
	}
	caller_reply_end(c, 0);
}

static void do_rekey(struct caller *c, const struct ctl_request *req)
{
	char doc[DOC_MAX];
	struct peer *p;

	if (!find_or_refuse(c, req, &p))
		return;
	if (req->reason[0] != '\0')
		event_plain(&c->control->agent->events, EVENT_REKEY_ASKED,
			    p != NULL ? peer_name(p) : NULL, req->reason);
	if (req->wait != CTL_WAIT_NONE) {
		job_start(c, req, COMPLETE_REKEY, p, false);
		return;
	}
	if (p != NULL && !peer_is_up(p)) {
		struct err e = {0};

		err_set(&e, ERR_DOWN, "the pair with %s is %s", peer_name(p), peer_state_word(p));
		caller_refuse(c, peer_name(p), &e);
		return;
	}
	for (struct peer *each = c->control->agent->peers; each != NULL; each = peer_next(each)) {
		if ((p != NULL && p != each) || !peer_is_up(each))
			continue;
		peer_rekey(each);
		caller_reply(c, doc, doc_started(doc, sizeof doc, "rekey", peer_name(each)));
	}
	caller_reply_end(c, 0);
}

static void do_verify(struct caller *c, const struct ctl_request *req)
{
	struct peer *p;

	if (find_or_refuse(c, req, &p))
		job_start(c, req, COMPLETE_VERIFY, p, false);
}

static void do_reload(struct caller *c)
{
	struct reload_result r;
	struct err e = {0};
	size_t size, n;
	char *doc;

	if (c->control->host->reload(c->control->agent, &r, &e) < 0) {
		caller_refuse(c, NULL, &e);
		return;
	}
	size = 1024 + (r.n_added + r.n_removed + r.n_updated) * 2 * (MSG_NAME_MAX + 3);
	doc = malloc(size);
	if (doc != NULL) {
		n = doc_reload(doc, size, &r);
		caller_reply(c, doc, n);
		free(doc);
	}
	reload_result_free(&r);
	caller_reply_end(c, 0);
}

static void reply_keys(struct caller *c, const struct peer *p, const struct pair_view *v)
{
	char doc[DOC_MAX];

	for (int is_in = 0; is_in < 2; is_in++)
		caller_reply(c, doc, doc_key(doc, sizeof doc, c->control->agent, p, v, is_in != 0));
	wipe(doc, sizeof doc);
}

static void do_export(struct caller *c, const struct ctl_request *req)
{
	struct agent *a = c->control->agent;
	struct pair_view v;
	struct err e = {0};
	struct peer *p;

	if (!find_or_refuse(c, req, &p))
		return;
	if (!a->cfg.export_keys) {
		err_set(&e, ERR_PERM, "the config does not allow that keys are exported");
		err_hint(&e, "\"export_keys\": true does, for pairs that come up after a reload");
		caller_refuse(c, NULL, &e);
		return;
	}
	event_plain(&a->events, EVENT_KEYS_EXPORTED, p != NULL ? peer_name(p) : NULL,
		    "keys of SAs were given out: whoever has them can read the traffic");
	for (struct peer *each = a->peers; each != NULL; each = peer_next(each)) {
		if (p != NULL && p != each)
			continue;
		for (size_t i = 0; pair_generation(peer_pair(each), i, &v); i++)
			reply_keys(c, each, &v);
	}
	caller_reply_end(c, 0);
}

static void do_script(struct caller *c, const struct ctl_request *req)
{
	char doc[DOC_MAX];
	struct err e = {0};
	struct peer *p;
	struct pair_view v;

	if (!find_or_refuse(c, req, &p))
		return;
	if (peer_make_manual(p, &v, &e) < 0) {
		caller_refuse(c, peer_name(p), &e);
		return;
	}
	event_plain(
		&c->control->agent->events, EVENT_HALF_EXPORTED, peer_name(p),
		"a pair was made by hand: whoever has the script can read and forge its traffic");
	caller_reply(c, doc, doc_half(doc, sizeof doc, p, &v));
	reply_keys(c, p, &v);
	peer_manual_told(p, &v);
	caller_reply_end(c, 0);
}

static void do_stop(struct caller *c)
{
	char doc[DOC_MAX];

	caller_reply(c, doc, doc_stop(doc, sizeof doc));
	caller_reply_end(c, 0);
	c->control->host->stop(c->control->agent);
}

void serve_request(struct caller *c, const char *line, size_t n)
{
	struct ctl_request req;
	struct err e = {0};

	if (ctl_decode(&req, line, n, &e) < 0) {
		caller_refuse(c, NULL, &e);
		return;
	}
	if (c->control->agent->stopping) {
		err_set(&e, ERR_DOWN, "the agent is stopping");
		caller_refuse(c, NULL, &e);
		return;
	}
	switch ((enum ctl_verb)req.verb) {
	case CTL_STATUS:
		do_status(c, &req);
		break;
	case CTL_UP:
		do_up(c, &req);
		break;
	case CTL_DOWN:
		do_down(c, &req);
		break;
	case CTL_REKEY:
		do_rekey(c, &req);
		break;
	case CTL_VERIFY:
		do_verify(c, &req);
		break;
	case CTL_WATCH:
		c->watching = true;
		c->control->n_watching++;
		break;
	case CTL_RELOAD:
		do_reload(c);
		break;
	case CTL_STOP:
		do_stop(c);
		break;
	case CTL_EXPORT:
		do_export(c, &req);
		break;
	case CTL_SCRIPT:
		do_script(c, &req);
		break;
	case CTL_COUNT:
		break;
	}
}
