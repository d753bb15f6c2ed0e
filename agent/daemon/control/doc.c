/*
 * agent/daemon/control/doc.c - documents of the control socket.
 */
#include "agent/daemon/control/doc.h"

#include "agent/daemon/link/identity_ref.h"
#include "agent/daemon/peer/view.h"

#include <stdlib.h>
#include <string.h>

static void begin(struct json_out *o, char *buf, size_t size, const char *schema)
{
	json_begin(o, buf, size);
	json_put_open(o, NULL);
	json_put_text(o, "schema", schema);
}

static size_t end(struct json_out *o)
{
	json_put_close(o);
	return json_end(o);
}

static void put_err(struct json_out *o, const struct err *e)
{
	json_put_text(o, "class", err_word(e->code));
	json_put_u64(o, "exit", (uint64_t)err_exit_status(e->code));
	json_put_text(o, "cause", e->cause);
	if (e->hint != NULL)
		json_put_text(o, "hint", e->hint);
	if (e->os != 0)
		json_put_u64(o, "os", e->os);
}

size_t doc_error(char *buf, size_t size, const char *peer, const struct err *e)
{
	struct json_out o;

	begin(&o, buf, size, "sapair.error/1");
	if (peer != NULL)
		json_put_text(&o, "peer", peer);
	put_err(&o, e);
	return end(&o);
}

size_t doc_end(char *buf, size_t size, int exit_status)
{
	struct json_out o;

	begin(&o, buf, size, "sapair.end/1");
	json_put_u64(&o, "exit", (uint64_t)exit_status);
	return end(&o);
}

size_t doc_progress(char *buf, size_t size, const char *text)
{
	struct json_out o;

	begin(&o, buf, size, "sapair.progress/1");
	json_put_text(&o, "text", text);
	return end(&o);
}

static void put_two(struct json_out *o, const char *name, struct spi old, struct spi new_one)
{
	json_put_open(o, name);
	if (old.n != 0)
		json_put_spi(o, "old", old);
	json_put_spi(o, "new", new_one);
	json_put_close(o);
}

static void put_sa(struct json_out *o, const char *name, struct ipsec *db,
		   const struct pair_view *g, enum ipsec_part part)
{
	struct sa_counts c = {0};

	json_put_open(o, name);
	json_put_spi(o, "spi", part == IPSEC_INBOUND ? g->in : g->out);
	if (db != NULL && ipsec_query(db, g->ctx, part, &c, NULL) == 0) {
		if (c.known & IPSEC_KNOWS_PACKETS)
			json_put_dec64(o, "packets", c.packets);
		if (c.known & IPSEC_KNOWS_BYTES)
			json_put_dec64(o, "bytes", c.bytes);
		if (part == IPSEC_INBOUND && (c.known & IPSEC_KNOWS_REPLAY))
			json_put_dec64(o, "replay_dropped", c.replay_dropped);
		if (part == IPSEC_INBOUND && (c.known & IPSEC_KNOWS_INTEGRITY))
			json_put_dec64(o, "integrity_failed", c.integrity_failed);
	}
	json_put_close(o);
}

size_t doc_up(char *buf, size_t size, const struct peer *p, const struct completion *w)
{
	struct pair_view pair;
	struct peer_view view;
	struct json_out o;

	begin(&o, buf, size, "sapair.up/1");
	json_put_text(&o, "peer", peer_name(p));
	json_put_bool(&o, "changed", w->changed);
	json_put_text(&o, "state", peer_state_word(p));
	if (pair_in_force(peer_pair(p), &pair)) {
		json_put_dec64(&o, "epoch", pair.epoch);
		json_put_text(&o, "suite", suite_info(pair.suite)->name);
		put_sa(&o, "in", NULL, &pair, IPSEC_INBOUND);
		put_sa(&o, "out", NULL, &pair, IPSEC_OUTBOUND);
	}
	peer_view(p, &view);
	if (w->want_verify) {
		json_put_bool(&o, "verified", view.verified);
		json_put_ms(&o, "rtt_ms", view.rtt_us);
	}
	json_put_ms(&o, "ms", loop_now_us() - w->since_us);
	return end(&o);
}

size_t doc_down(char *buf, size_t size, const char *peer, bool changed)
{
	struct json_out o;

	begin(&o, buf, size, "sapair.down/1");
	json_put_text(&o, "peer", peer);
	json_put_bool(&o, "changed", changed);
	return end(&o);
}

size_t doc_rekey(char *buf, size_t size, const struct peer *p, const struct completion *w)
{
	const struct receipt *r = &w->receipt;
	struct json_out o;

	begin(&o, buf, size, "sapair.rekey/1");
	json_put_text(&o, "peer", peer_name(p));
	json_put_bool(&o, "changed", true);
	json_put_bool(&o, "joined", w->joined);
	json_put_bool(&o, "limited", r->limited);
	json_put_text(&o, "reason", reason_word(r->reason));
	json_put_text(&o, "role", r->leader ? "leader" : "follower");
	json_put_open(&o, "epoch");
	if (r->old_epoch != 0)
		json_put_dec64(&o, "old", r->old_epoch);
	json_put_dec64(&o, "new", r->epoch);
	json_put_close(&o);
	json_put_text(&o, "suite", suite_info(r->suite)->name);
	put_two(&o, "in", r->old_in, r->in);
	put_two(&o, "out", r->old_out, r->out);
	/* The tags that both sides checked bind the SPIs: the peer's are ours, crossed. */
	put_two(&o, "peer_in", r->old_out, r->out);
	put_two(&o, "peer_out", r->old_in, r->in);
	json_put_open(&o, "ms");
	json_put_ms(&o, "waited", r->started_us > w->since_us ? r->started_us - w->since_us : 0);
	json_put_ms(&o, "inbound", r->inbound_us);
	json_put_ms(&o, "switch", r->switch_us);
	json_put_ms(&o, "exchange", r->total_us);
	json_put_ms(&o, "total", loop_now_us() - w->since_us);
	json_put_close(&o);
	json_put_open(&o, "overlap_ms");
	json_put_u64(&o, "out", peer_config_of(p)->opt.switch_ms);
	json_put_u64(&o, "in", peer_config_of(p)->opt.drain_ms);
	json_put_close(&o);
	json_put_bool(&o, "drained", pair_is_drained(peer_pair(p)));
	if (w->has_result) {
		json_put_bool(&o, "verified", w->result.verified);
		json_put_open(&o, "probes");
		json_put_u64(&o, "sent", w->result.sent);
		json_put_u64(&o, "lost", w->result.sent - w->result.echoed);
		json_put_close(&o);
		json_put_ms(&o, "rtt_ms", w->result.rtt_median_us);
	}
	return end(&o);
}

size_t doc_verify(char *buf, size_t size, const struct peer *p, const struct verify_result *r)
{
	struct json_out o;

	begin(&o, buf, size, "sapair.verify/1");
	json_put_text(&o, "peer", peer_name(p));
	json_put_bool(&o, "verified", r->verified);
	json_put_dec64(&o, "epoch", r->epoch);
	json_put_open(&o, "probes");
	json_put_u64(&o, "sent", r->sent);
	if (r->arrived_known)
		json_put_u64(&o, "arrived", r->arrived);
	json_put_u64(&o, "echoed", r->echoed);
	json_put_u64(&o, "lost", r->sent - r->echoed);
	json_put_close(&o);
	if (r->echoed > 0) {
		json_put_open(&o, "rtt_ms");
		json_put_ms(&o, "min", r->rtt_min_us);
		json_put_ms(&o, "median", r->rtt_median_us);
		json_put_ms(&o, "max", r->rtt_max_us);
		json_put_close(&o);
	}
	if (r->counts_known) {
		json_put_open(&o, "counts");
		json_put_dec64(&o, "out", r->out_packets);
		json_put_dec64(&o, "peer_in", r->peer_in_packets);
		json_put_dec64(&o, "in", r->in_packets);
		json_put_dec64(&o, "peer_out", r->peer_out_packets);
		json_put_close(&o);
	}
	if (!r->verified)
		json_put_text(&o, "cause", r->why.cause);
	return end(&o);
}

static void put_names(struct json_out *o, const char *name, char *const *list, size_t n)
{
	json_put_array(o, name);
	for (size_t i = 0; i < n; i++)
		json_put_text(o, NULL, list[i]);
	json_put_array_end(o);
}

size_t doc_reload(char *buf, size_t size, const struct reload_result *r)
{
	struct json_out o;

	begin(&o, buf, size, "sapair.reload/1");
	json_put_bool(&o, "changed",
		      r->n_added + r->n_removed + r->n_updated > 0 || r->identity_changed);
	put_names(&o, "added", r->added, r->n_added);
	put_names(&o, "removed", r->removed, r->n_removed);
	put_names(&o, "updated", r->updated, r->n_updated);
	json_put_u64(&o, "same", r->same);
	json_put_bool(&o, "identity_changed", r->identity_changed);
	return end(&o);
}

size_t doc_started(char *buf, size_t size, const char *verb, const char *peer)
{
	struct json_out o;

	begin(&o, buf, size, "sapair.started/1");
	json_put_text(&o, "verb", verb);
	json_put_text(&o, "peer", peer);
	return end(&o);
}

size_t doc_key(char *buf, size_t size, const struct agent *a, const struct peer *p,
	       const struct pair_view *v, bool is_in)
{
	const struct secret *secret = is_in ? v->key_in : v->key_out;
	const struct suite_info *s = suite_info(v->suite);
	const struct sa_policy *sp = peer_policy_of(p);
	struct json_out o;
	const uint8_t *key;
	size_t n, first = (size_t)s->enc_key_len + s->salt_len;

	if (secret == NULL || !(is_in ? v->has_in : v->has_out))
		return 0;
	key = secret_bytes(secret, &n);
	if (n < first)
		return 0;
	begin(&o, buf, size, "sapair.key/1");
	json_put_text(&o, "peer", peer_name(p));
	json_put_dec64(&o, "epoch", v->epoch);
	json_put_text(&o, "direction", is_in ? "in" : "out");
	json_put_addr(&o, "source", is_in ? &sp->remote : &sp->local);
	json_put_addr(&o, "destination", is_in ? &sp->local : &sp->remote);
	json_put_spi(&o, "spi", is_in ? v->in : v->out);
	json_put_text(&o, "suite", s->name);
	json_put_bool(&o, "esn", v->esn);
	json_put_hexbytes(&o, "key", key, first);
	if (n > first)
		json_put_hexbytes(&o, "mac_key", key + first, n - first);
	if (a->can.datagrams)
		json_put_u64(&o, "udp_port", is_in ? sp->local_esp_port : sp->remote_esp_port);
	else if (sp->udp)
		json_put_u64(&o, "udp_port", ipsec_udp_port(sp, is_in));
	return end(&o);
}

static void put_texts(struct json_out *o, const char *name, size_t n, const char (*v)[PROTECT_TEXT])
{
	json_put_array(o, name);
	for (size_t i = 0; i < n; i++)
		json_put_text(o, NULL, v[i]);
	json_put_array_end(o);
}

size_t doc_half(char *buf, size_t size, const struct peer *p, const struct pair_view *v)
{
	static const char *const modes[] = {"required", "permissive"};
	static const char *const encaps[] = {"transport", "tunnel"};
	const struct sa_policy *sp = peer_policy_of(p);
	uint64_t left_s = (v->hard_ms - loop_now_ms()) / 1000;
	struct json_out o;
	char when[40];

	begin(&o, buf, size, "sapair.half/1");
	json_put_text(&o, "peer", peer_name(p));
	json_put_addr(&o, "address", &sp->remote);
	json_put_addr(&o, "agent", &sp->local);
	json_put_text(&o, "suite", suite_info(v->suite)->name);
	json_put_text(&o, "mode", modes[sp->mode]);
	json_put_text(&o, "encap", encaps[sp->encap]);
	put_texts(&o, "protect", sp->protects, sp->protect);
	put_texts(&o, "exempt", sp->exempts, sp->exempt);
	json_put_u64(&o, "lifetime_s", left_s);
	event_time(when, sizeof when, os_wall_ms() + (int64_t)left_s * 1000);
	json_put_text(&o, "not_after", when);
	return end(&o);
}

size_t doc_stop(char *buf, size_t size)
{
	struct json_out o;

	begin(&o, buf, size, "sapair.stop/1");
	json_put_bool(&o, "changed", true);
	return end(&o);
}

/* ---- status ---------------------------------------------------------------------------- */

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

static void put_pair(struct json_out *o, struct agent *a, const struct pair *p,
		     const struct pair_view *g)
{
	uint64_t s;

	json_put_dec64(o, "epoch", g->epoch);
	json_put_text(o, "suite", suite_info(g->suite)->name);
	json_put_bool(o, "esn", g->esn);
	put_sa(o, "in", a->db, g, IPSEC_INBOUND);
	put_sa(o, "out", a->db, g, IPSEC_OUTBOUND);
	json_put_u64(o, "age_s", (loop_now_ms() - g->since_ms) / 1000);
	if (pair_rekey_in(p, &s))
		json_put_u64(o, "rekey_in_s", s);
	if (pair_hard_in(p, &s))
		json_put_u64(o, "hard_in_s", s);
}

static void put_peer(struct json_out *o, struct agent *a, const struct peer *p)
{
	static const char *const modes[] = {"required", "permissive"};
	const struct peer_config *cfg = peer_config_of(p);
	const struct pair *pair = peer_pair(p);
	const struct sa_policy *sp = peer_policy_of(p);
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
	json_put_text(o, "mode", modes[cfg->opt.mode]);
	if (v.pin != NULL) {
		put_identity(o, v.pin, v.cert_name, v.not_after);
		json_put_close(o);
	}
	if (pair_in_force(pair, &current))
		put_pair(o, a, pair, &current);
	json_put_u64(o, "held", pair_n_superseded(pair));
	json_put_dec64(o, "rekeys", pair_rekeys(pair));
	json_put_bool(o, "verified", v.verified);
	if (v.verified) {
		json_put_open(o, "verify");
		json_put_u64(o, "age_s", (loop_now_ms() - v.verified_ms) / 1000);
		json_put_ms(o, "rtt_ms", v.rtt_us);
		json_put_close(o);
	}
	if (peer_trouble(p) != NULL) {
		json_put_open(o, "error");
		put_err(o, peer_trouble(p));
		json_put_close(o);
	}
	json_put_close(o);
}

static void put_agent(struct json_out *o, struct agent *a)
{
	const struct cert_facts *f = identity_facts(a->identity->id);
	char text[ENDPOINT_TEXT];

	json_put_text(o, "name", a->cfg.name);
	json_put_text(o, "version", SAPAIR_VERSION);
	json_put_u64(o, "pid", (uint64_t)uv_os_getpid());
	json_put_u64(o, "uptime_s", (loop_now_ms() - a->started_ms) / 1000);
	json_put_text(o, "backend", a->db->ops->name);
	put_identity(o, f->pin, f->name, f->not_after);
	json_put_bool(o, "lab", f->is_lab);
	json_put_close(o);
	json_put_array(o, "listen");
	for (size_t i = 0; i < a->cfg.listens; i++) {
		endpoint_put(text, &a->cfg.listen[i]);
		json_put_text(o, NULL, text);
	}
	json_put_array_end(o);
}

char *doc_status(struct agent *a, const struct peer *only, size_t *len)
{
	size_t size = 4096 + (only != NULL ? 1 : a->n_peers) * 2304;
	char *buf = malloc(size);
	struct json_out o;

	if (buf == NULL)
		return NULL;
	begin(&o, buf, size, "sapair.status/1");
	put_agent(&o, a);
	json_put_array(&o, "peers");
	if (only != NULL)
		put_peer(&o, a, only);
	else
		for (const struct peer *p = a->peers; p != NULL; p = peer_next(p))
			put_peer(&o, a, p);
	json_put_array_end(&o);
	*len = end(&o);
	if (*len == 0) {
		free(buf);
		return NULL;
	}
	return buf;
}
