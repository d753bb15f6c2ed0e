/*
 * agent/daemon/control/verbs/verify.c - verify: probes through the SAs.
 */
#include "agent/daemon/control/verbs.h"

static void reply_verify(struct control_client *c, const struct peer *p, const struct completion *w)
{
	const struct verify_result *r = &w->result;
	struct json_out *o = control_reply_begin(c, DOC_MAX, "sapair.verify/1");

	json_put_text(o, "peer", peer_name(p));
	json_put_bool(o, "verified", r->verified);
	doc_put_shown(o, r->shown);
	doc_put_protection(o, p);
	json_put_dec64(o, "epoch", r->epoch);
	json_put_open(o, "probes");
	json_put_u64(o, "sent", r->sent);
	if (r->arrived_known)
		json_put_u64(o, "arrived", r->arrived);
	json_put_u64(o, "echoed", r->echoed);
	json_put_u64(o, "lost", r->sent - r->echoed);
	json_put_close(o);
	if (r->echoed > 0) {
		json_put_open(o, "rtt_ms");
		json_put_ms(o, "min", r->rtt_min_us);
		json_put_ms(o, "median", r->rtt_median_us);
		json_put_ms(o, "max", r->rtt_max_us);
		json_put_close(o);
	}
	if (r->counts_known) {
		json_put_open(o, "counts");
		json_put_dec64(o, "out", r->out_packets);
		json_put_dec64(o, "peer_in", r->peer_in_packets);
		json_put_dec64(o, "in", r->in_packets);
		json_put_dec64(o, "peer_out", r->peer_out_packets);
		json_put_close(o);
	}
	if (!r->verified)
		json_put_text(o, "cause", r->why.cause);
	control_reply_send(c);
}

static void run_verify(struct control_client *c, const struct ctl_request *req, struct peer *p)
{
	control_request_start(c, req, COMPLETE_VERIFY, reply_verify, p, false);
}

const struct control_verb control_verb_verify = {
	.run = run_verify,
};
