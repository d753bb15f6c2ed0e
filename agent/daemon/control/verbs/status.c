/*
 * agent/daemon/control/verbs/status.c - status: the agent and its peers.
 */
#include "agent/daemon/control/verbs.h"
#include "agent/daemon/link/identity_ref.h"
#include "agent/daemon/link/listen.h"

static void put_identity(struct json_out *o, const uint8_t *pin, const char *name,
			 int64_t not_after)
{
	char text[PIN_TEXT + 1], when[40];

	json_put_open(o, "identity");
	if (name[0] != '\0')
		json_put_text(o, "name", name);
	pin_put(text, pin);
	json_put_text(o, "pin", text);
	event_time(when, sizeof when, not_after * 1000);
	json_put_text(o, "not_after", when);
}

static uint64_t seconds_until(uint64_t at_ms)
{
	const uint64_t now = loop_now_ms();

	return at_ms > now ? (at_ms - now) / 1000 : 0;
}

static void put_pair(struct json_out *o, struct agent *a, const struct pair_view *g)
{
	json_put_dec64(o, "epoch", g->epoch);
	json_put_text(o, "suite", suite_info(g->suite)->name);
	json_put_bool(o, "esn", g->esn);
	doc_put_sa(o, "in", a->db, g, IPSEC_INBOUND);
	doc_put_sa(o, "out", a->db, g, IPSEC_OUTBOUND);
	json_put_u64(o, "age_s", (loop_now_ms() - g->since_ms) / 1000);
	if (g->rekey_ms != 0)
		json_put_u64(o, "rekey_in_s", seconds_until(g->rekey_ms));
	json_put_u64(o, "hard_in_s", seconds_until(g->hard_ms));
}

static void put_peer(struct json_out *o, struct agent *a, const struct peer *p)
{
	static const char *const modes[] = {"required", "permissive"};
	const struct peer_config *cfg = peer_config_of(p);
	const struct pair *pair = peer_pair(p);
	const struct policy *sp = peer_policy_of(p);
	struct pair_view current;
	struct peer_view v;
	char text[ENDPOINT_TEXT];

	peer_view(p, &v);
	json_put_open(o, NULL);
	json_put_text(o, "name", cfg->name);
	endpoint_put(text, &cfg->remote);
	json_put_text(o, "address", text);
	if (sp->local.len != 0)
		json_put_addr(o, "local", &sp->local);
	json_put_text(o, "state", peer_state_word(p));
	json_put_text(o, "link", v.link);
	if (v.role != NULL)
		json_put_text(o, "role", v.role);
	json_put_text(o, "mode", modes[cfg->opt.policy.mode]);
	if (v.pin != NULL) {
		put_identity(o, v.pin, v.cert_name, v.not_after);
		json_put_close(o);
	}
	if (pair_in_force(pair, &current))
		put_pair(o, a, &current);
	json_put_u64(o, "held", pair_n_superseded(pair));
	json_put_dec64(o, "rekeys", pair_rekeys(pair));
	json_put_bool(o, "verified", v.verified);
	if (v.verified) {
		json_put_open(o, "verify");
		json_put_u64(o, "age_s", (loop_now_ms() - v.verified_ms) / 1000);
		json_put_ms(o, "rtt_ms", v.rtt_us);
		json_put_close(o);
	}
	doc_put_removing(o, p);
	if (peer_trouble(p) != NULL) {
		json_put_open(o, "error");
		control_put_err(o, peer_trouble(p));
		json_put_close(o);
	}
	json_put_close(o);
}

static void put_agent(struct json_out *o, struct agent *a)
{
	const struct cert_facts *f = identity_facts(a->identity->id);
	char text[ENDPOINT_TEXT];
	struct endpoint at;

	json_put_text(o, "name", a->cfg.name);
	json_put_text(o, "version", SAPAIR_VERSION);
	json_put_u64(o, "pid", (uint64_t)uv_os_getpid());
	json_put_u64(o, "uptime_s", (loop_now_ms() - a->started_ms) / 1000);
	json_put_text(o, "backend", a->db->ops->name);
	put_identity(o, f->pin, f->name, f->not_after);
	json_put_bool(o, "lab", f->is_lab);
	json_put_close(o);
	if (a->confined.failed[0] != '\0')
		json_put_text(o, "unconfined", a->confined.failed);
	json_put_array(o, "listen");
	for (size_t i = 0; listen_address(a, i, &at); i++) {
		endpoint_put(text, &at);
		json_put_text(o, NULL, text);
	}
	json_put_array_end(o);
}

static void run_status(struct control_client *c, const struct ctl_request *req, struct peer *p)
{
	struct agent *a = c->control->agent;
	size_t size = 4096 + (p != NULL ? 1 : a->n_peers) * 4096;
	struct json_out *o = control_reply_begin(c, size, "sapair.status/1");

	(void)req;
	put_agent(o, a);
	json_put_array(o, "peers");
	for (const struct peer *each = a->peers; each != NULL; each = peer_next(each))
		if (p == NULL || p == each)
			put_peer(o, a, each);
	json_put_array_end(o);
	control_reply_send(c);
	control_reply_end(c, p != NULL && !peer_is_up(p) ? err_exit_status(ERR_DOWN) : 0);
}

const struct control_verb control_verb_status = {
	.run = run_status,
};
