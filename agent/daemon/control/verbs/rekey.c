/*
 * agent/daemon/control/verbs/rekey.c - rekey: new SPIs and keys, and the receipt.
 */
#include "agent/daemon/control/verbs.h"

static void put_two(struct json_out *o, const char *name, struct spi old, struct spi new_one)
{
	json_put_open(o, name);
	if (old.n != 0)
		json_put_spi(o, "old", old);
	json_put_spi(o, "new", new_one);
	json_put_close(o);
}

static void reply_receipt(struct control_client *c, const struct peer *p,
			  const struct completion *w)
{
	const struct receipt *r = &w->receipt;
	struct json_out *o = control_reply_begin(c, DOC_MAX, "sapair.rekey/1");

	json_put_text(o, "peer", peer_name(p));
	json_put_bool(o, "changed", true);
	json_put_bool(o, "joined", w->joined);
	json_put_bool(o, "limited", r->limited);
	json_put_text(o, "reason", reason_word(r->reason));
	json_put_text(o, "role", r->leader ? "leader" : "follower");
	json_put_open(o, "epoch");
	if (r->old_epoch != 0)
		json_put_dec64(o, "old", r->old_epoch);
	json_put_dec64(o, "new", r->epoch);
	json_put_close(o);
	json_put_text(o, "suite", suite_info(r->suite)->name);
	put_two(o, "in", r->old_in, r->in);
	put_two(o, "out", r->old_out, r->out);
	/* The peer's SPIs are ours, crossed: both hosts have checked tags that cover them. */
	put_two(o, "peer_in", r->old_out, r->out);
	put_two(o, "peer_out", r->old_in, r->in);
	json_put_open(o, "ms");
	json_put_ms(o, "waited", r->started_us > w->since_us ? r->started_us - w->since_us : 0);
	json_put_ms(o, "inbound", r->inbound_us);
	json_put_ms(o, "switch", r->switch_us);
	json_put_ms(o, "exchange", r->total_us);
	json_put_ms(o, "total", loop_now_us() - w->since_us);
	json_put_close(o);
	json_put_open(o, "overlap_ms");
	json_put_u64(o, "out", peer_config_of(p)->opt.switch_ms);
	json_put_u64(o, "in", peer_config_of(p)->opt.drain_ms);
	json_put_close(o);
	doc_put_protection(o, p);
	json_put_bool(o, "drained", pair_is_drained(peer_pair(p)));
	if (w->has_result) {
		json_put_bool(o, "verified", w->result.verified);
		doc_put_shown(o, w->result.shown);
		json_put_open(o, "probes");
		json_put_u64(o, "sent", w->result.sent);
		json_put_u64(o, "lost", w->result.sent - w->result.echoed);
		json_put_close(o);
		json_put_ms(o, "rtt_ms", w->result.rtt_median_us);
	}
	control_reply_send(c);
}

/* Rekeys without waiting. */
static void start_rekeys(struct control_client *c, struct peer *p)
{
	struct json_out *o;

	if (p != NULL && !peer_is_up(p)) {
		struct err e = {0};

		err_set(&e, ERR_DOWN, "the pair with %s is %s", peer_name(p), peer_state_word(p));
		control_refuse(c, peer_name(p), &e);
		return;
	}
	for (struct peer *each = c->control->agent->peers; each != NULL; each = peer_next(each)) {
		if ((p != NULL && p != each) || !peer_is_up(each))
			continue;
		peer_rekey(each);
		o = control_reply_begin(c, DOC_MAX, "sapair.started/1");
		json_put_text(o, "verb", "rekey");
		json_put_text(o, "peer", peer_name(each));
		control_reply_send(c);
	}
	control_reply_end(c, 0);
}

static void run_rekey(struct control_client *c, const struct ctl_request *req, struct peer *p)
{
	if (req->reason[0] != '\0')
		event_plain(&c->control->agent->events, EVENT_REKEY_ASKED,
			    p != NULL ? peer_name(p) : NULL, req->reason);
	if (req->wait == CTL_WAIT_NONE)
		start_rekeys(c, p);
	else
		control_request_start(c, req, COMPLETE_REKEY, reply_receipt, p, false);
}

const struct control_verb control_verb_rekey = {
	.run = run_rekey,
};
