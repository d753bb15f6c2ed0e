/*
 * agent/daemon/control/verbs/script.c - script: a pair with a host that has no agent, and the half
 * of that host.
 */
#include "agent/daemon/control/verbs.h"

static void put_texts(struct json_out *o, const char *name, size_t n, const char (*v)[PROTECT_TEXT])
{
	json_put_array(o, name);
	for (size_t i = 0; i < n; i++)
		json_put_text(o, NULL, v[i]);
	json_put_array_end(o);
}

static void reply_half(struct control_client *c, const struct peer *p, const struct pair_view *v)
{
	static const char *const modes[] = {"required", "permissive"};
	static const char *const encaps[] = {"transport", "tunnel"};
	const struct policy *sp = peer_policy_of(p);
	uint64_t left_s = (v->hard_ms - loop_now_ms() + 500) / 1000;
	struct json_out *o = control_reply_begin(c, DOC_MAX, "sapair.half/1");
	char when[40];

	json_put_text(o, "peer", peer_name(p));
	json_put_addr(o, "address", &sp->remote);
	json_put_addr(o, "agent", &sp->local);
	json_put_text(o, "suite", suite_info(v->suite)->name);
	json_put_text(o, "mode", modes[sp->opt.mode]);
	json_put_text(o, "encap", encaps[sp->opt.encap]);
	put_texts(o, "protect", sp->opt.protects, sp->opt.protect);
	put_texts(o, "exempt", sp->opt.exempts, sp->opt.exempt);
	json_put_u64(o, "lifetime_s", left_s);
	event_time(when, sizeof when, os_wall_ms() + (int64_t)left_s * 1000);
	json_put_text(o, "not_after", when);
	control_reply_send(c);
}

static void run_script(struct control_client *c, const struct ctl_request *req, struct peer *p)
{
	struct pair_view v;
	struct err e = {0};

	(void)req;
	if (peer_make_manual(p, &v, &e) < 0) {
		control_refuse(c, peer_name(p), &e);
		return;
	}
	event_plain(
		&c->control->agent->events, EVENT_HALF_EXPORTED, peer_name(p),
		"a manual pair was exported: whoever has the script can read and forge its traffic");
	reply_half(c, p, &v);
	doc_reply_keys(c, p, &v);
	peer_forget_manual_keys(p, &v);
	control_reply_end(c, 0);
}

const struct control_verb control_verb_script = {
	.run = run_script,
};
