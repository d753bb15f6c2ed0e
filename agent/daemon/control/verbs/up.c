/*
 * agent/daemon/control/verbs/up.c - up: brings pairs up.
 */
#include "agent/daemon/control/verbs.h"

static void reply_up(struct control_client *c, const struct peer *p, const struct completion *w)
{
	struct pair_view pair;
	struct peer_view view;
	struct json_out *o = control_reply_begin(c, DOC_MAX, "sapair.up/1");

	json_put_text(o, "peer", peer_name(p));
	json_put_bool(o, "changed", w->changed);
	json_put_text(o, "state", peer_state_word(p));
	doc_put_protection(o, p);
	if (pair_in_force(peer_pair(p), &pair)) {
		json_put_dec64(o, "epoch", pair.epoch);
		json_put_text(o, "suite", suite_info(pair.suite)->name);
		doc_put_sa(o, "in", NULL, &pair, IPSEC_INBOUND);
		doc_put_sa(o, "out", NULL, &pair, IPSEC_OUTBOUND);
	}
	peer_view(p, &view);
	if (w->want_verify) {
		json_put_bool(o, "verified", view.verified);
		doc_put_shown(o, view.shown);
		json_put_ms(o, "rtt_ms", view.rtt_us);
	}
	json_put_ms(o, "ms", loop_now_us() - w->since_us);
	control_reply_send(c);
}

static void run_up(struct control_client *c, const struct ctl_request *req, struct peer *p)
{
	struct agent *a = c->control->agent;
	struct err e = {0};
	bool changed = false;

	if (req->peer[0] != '\0' && p == NULL) {
		if (c->control->host->add_address(a, req->peer, req->pin, &p, &e) < 0) {
			err_in(&e, "no peer is called %s", req->peer);
			control_refuse(c, req->peer, &e);
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

		if (p != NULL)
			reply_up(c, p, &none);
		control_reply_end(c, 0);
		return;
	}
	control_request_start(c, req, COMPLETE_UP, reply_up, p, changed);
}

const struct control_verb control_verb_up = {
	.takes_address = true,
	.run = run_up,
};
