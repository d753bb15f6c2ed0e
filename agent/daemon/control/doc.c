/*
 * agent/daemon/control/doc.c - documents, and parts of them, that several verbs share.
 */
#include "agent/daemon/control/doc.h"

#include "agent/daemon/peer/peer.h"

#define UNREMOVED_MAX 32 /* SAs that a document names */

void doc_put_removing(struct json_out *o, const struct peer *p)
{
	struct pair_view v;

	if (!peer_is_removing(p))
		return;
	json_put_open(o, "removing");
	json_put_bool(o, "policy", peer_has_policy_left(p));
	json_put_array(o, "sas");
	for (size_t i = 0; i < UNREMOVED_MAX && pair_unremoved(peer_pair(p), i, &v); i++) {
		if (v.has_in)
			json_put_spi(o, NULL, v.in);
		if (v.has_out)
			json_put_spi(o, NULL, v.out);
	}
	json_put_array_end(o);
	json_put_open(o, "error");
	control_put_err(o, peer_removal_error(p));
	json_put_close(o);
	json_put_close(o);
}

void doc_put_sa(struct json_out *o, const char *name, struct ipsec *db, const struct pair_view *g,
		enum ipsec_part part)
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

static void reply_key(struct control_client *c, const struct peer *p, const struct pair_view *v,
		      bool is_in)
{
	const struct secret *secret = is_in ? v->key_in : v->key_out;
	const struct suite_info *s = suite_info(v->suite);
	const struct policy *sp = peer_policy_of(p);
	struct json_out *o;
	const uint8_t *key;
	size_t n, first = (size_t)s->enc_key_len + s->salt_len;

	if (secret == NULL || !(is_in ? v->has_in : v->has_out))
		return;
	key = secret_bytes(secret, &n);
	if (n < first)
		return;
	o = control_reply_begin(c, DOC_MAX, "sapair.key/1");
	json_put_text(o, "peer", peer_name(p));
	json_put_dec64(o, "epoch", v->epoch);
	json_put_text(o, "direction", is_in ? "in" : "out");
	json_put_addr(o, "source", is_in ? &sp->remote : &sp->local);
	json_put_addr(o, "destination", is_in ? &sp->local : &sp->remote);
	json_put_spi(o, "spi", is_in ? v->in : v->out);
	json_put_text(o, "suite", s->name);
	json_put_bool(o, "esn", v->esn);
	json_put_hexbytes(o, "key", key, first);
	if (n > first)
		json_put_hexbytes(o, "mac_key", key + first, n - first);
	if (c->control->agent->can.datagrams)
		json_put_u64(o, "udp_port", is_in ? sp->local_esp_port : sp->remote_esp_port);
	else if (sp->opt.udp)
		json_put_u64(o, "udp_port", ipsec_udp_port(sp, is_in));
	control_reply_send(c);
}

void doc_reply_keys(struct control_client *c, const struct peer *p, const struct pair_view *v)
{
	reply_key(c, p, v, false);
	reply_key(c, p, v, true);
}
