/*
 * agent/daemon/peer/hello.c - what a peer's certificate and hello say about it.
 */
#include "agent/daemon/peer/inner.h"

#include "agent/daemon/link/identity_ref.h"
#include "agent/daemon/peer/peer.h"
#include "crypto/judge.h"

#include <string.h>

#define CERT_CHECK_MS 1000

static enum cert_fault wrong_pin(const uint8_t found[PIN_LEN], const uint8_t wanted[PIN_LEN],
				 struct cert_reasons *why)
{
	char key[PIN_TEXT + 1], pin[PIN_TEXT + 1];

	pin_put(key, found);
	pin_put(pin, wanted);
	cert_reason_add(why, CERT_WRONG_PIN, false, "the key is %s; the pin here is %s", key, pin);
	return CERT_WRONG_PIN;
}

enum cert_fault hello_judge(const struct peer *p, const struct cert_facts *leaf,
			    enum cert_fault chain, struct cert_reasons *why)
{
	const struct peer_config *c = &p->cfg;
	const struct cert_wanted wanted = {
		.identity = c->identity,
		.name = c->name,
		.addr = c->remote.addr.bytes,
		.addr_len = c->remote.addr.len,
	};
	bool is_lab = leaf->is_lab && !p->agent->cfg.allow_lab, is_named;

	if (deny_has(&p->agent->identity->deny, leaf->pin)) {
		cert_reason_add(why, CERT_DENIED, false, "%s", cert_fault_text(CERT_DENIED));
		return CERT_DENIED;
	}
	if (c->has_pin)
		return bytes_equal(leaf->pin, c->pin, PIN_LEN) ? CERT_OK
							       : wrong_pin(leaf->pin, c->pin, why);
	if (is_lab)
		cert_lab_refused(why);
	is_named = cert_names_match(leaf, &wanted, why);
	if (is_lab)
		return CERT_LAB;
	if (chain != CERT_OK)
		return chain;
	return is_named ? CERT_OK : CERT_WRONG_PEER;
}

static void ppk_checks(const struct peer *p, const struct link *l, struct hello_own *own)
{
	const struct secret *exporter = &link_facts(l)->exporter;
	bool leads = link_facts(l)->is_dialled;

	own->has_ppk = secret_len(&p->ppk) > 0;
	own->sent.has_ppk = own->has_ppk;
	if (!own->has_ppk)
		return;
	keysched_ppk_check(exporter, &p->ppk, leads, own->sent.ppk_check);
	keysched_ppk_check(exporter, &p->ppk, !leads, own->peer_check);
}

static void fill_own(const struct peer *p, const struct link *l, struct hello_own *own)
{
	const struct pair_state *state = pair_state(p->pair);
	const struct policy *sa = &p->policy.sa;
	struct msg_hello *h = &own->sent;

	memset(own, 0, sizeof *own);
	h->version = PROTO_VERSION;
	memcpy(h->instance, p->agent->instance, INSTANCE_LEN);
	strcpy(h->agent, "sapair/" SAPAIR_VERSION);
	memcpy(h->name, p->agent->cfg.name, sizeof h->name);
	h->local = sa->local;
	h->remote = sa->remote;
	h->mode = sa->opt.mode;
	h->encap = sa->opt.encap;
	h->udp = sa->opt.udp;
	h->protects = sa->opt.protects;
	memcpy(h->protect, sa->opt.protect, sizeof h->protect);
	h->epoch = state->epoch;
	h->last = pair_last_epoch(p->pair) > h->epoch ? pair_last_epoch(p->pair) : h->epoch;
	h->in = state->in;
	h->out = state->out;
	ppk_checks(p, l, own);
}

void hello_fill(const struct peer *p, const struct link *l, struct msg_hello *h)
{
	struct hello_own own;

	fill_own(p, l, &own);
	*h = own.sent;
}

static void take_facts(struct peer_facts *f, const struct link *l, const struct msg_hello *h)
{
	const struct cert_facts *cert = link_peer_cert(l);

	memcpy(f->pin, cert->pin, PIN_LEN);
	memcpy(f->name, cert->name, sizeof f->name);
	f->not_after = cert->not_after;
	f->checked_ms = 0;
	f->is_known = true;
	memcpy(f->instance, h->instance, INSTANCE_LEN);
	f->has_instance = true;
}

/* True when l is the link that stays. */
static bool elect(struct peer *p, struct link *l, bool same_instance)
{
	struct link *old = dialler_link(&p->dialler);

	if (old == NULL)
		return true;
	if (election_of(link_facts(l)->own_cert->pin, link_peer_cert(l)->pin,
			link_facts(old)->is_dialled, link_facts(l)->is_dialled,
			same_instance) == ELECT_OLD) {
		link_close(l, FAULT_DUPLICATE);
		return false;
	}
	pair_link_lost(p->pair);
	link_close(old, same_instance ? FAULT_DUPLICATE : FAULT_REPLACED);
	return true;
}

static enum hello_verdict compare(const struct peer *p, const struct link *l,
				  const struct msg_hello *h, enum fault *fault, struct err *e)
{
	enum hello_verdict verdict;
	struct hello_own own;

	fill_own(p, l, &own);
	verdict = hello_compare(&own, pair_state(p->pair), h, fault, e);
	wipe(&own, sizeof own);
	return verdict;
}

static void set_up(struct peer *p, struct link *l, const struct msg_hello *h)
{
	struct pair_link pl = {.leads = link_facts(l)->is_dialled,
			       .exporter = &link_facts(l)->exporter,
			       .own_pin = link_facts(l)->own_cert->pin,
			       .peer_pin = p->facts.pin,
			       .peer_last = h->last,
			       .peer_out = h->out};

	take_facts(&p->facts, l, h);
	link_set_up(l);
	dialler_set_link(&p->dialler, l);
	pair_link_up(p->pair, &pl);
	event_plain(&p->agent->events, EVENT_LINK_UP, p->cfg.name,
		    pl.leads ? "link is up, we lead" : "link is up, the peer leads");
}

bool hello_take(struct peer *p, struct link *l, const struct msg_hello *h,
		enum hello_verdict *verdict)
{
	const struct peer_facts *f = &p->facts;
	bool same = f->has_instance && bytes_equal(f->instance, h->instance, INSTANCE_LEN);
	enum fault fault = FAULT_NONE;
	struct err e = {0};

	enum cert_fault cert = link_judge_again(l); /* a reload may have come since the handshake */

	dialler_on_hello(&p->dialler, l);
	if (cert != CERT_OK) {
		err_set(&e, ERR_AUTH, "%s", cert_fault_text(cert));
		link_abort(l, FAULT_NONE, &e);
		return false;
	}
	if (compare(p, l, h, &fault, &e) == HELLO_REFUSED) {
		link_abort(l, fault, &e);
		return false;
	}
	if (!elect(p, l, same))
		return false;
	*verdict = compare(p, l, h, &fault, &e); /* the election may have ended an exchange */
	set_up(p, l, h);
	return true;
}

bool hello_is_stale(const struct peer *p, const struct link *l)
{
	return pair_state(p->pair)->epoch != link_facts(l)->sent_epoch ||
	       pair_last_epoch(p->pair) != link_facts(l)->sent_last;
}

bool hello_cert_expired(struct peer *p)
{
	struct peer_facts *f = &p->facts;
	const uint64_t now = loop_now_ms();

	if (f->checked_ms != 0 && now - f->checked_ms < CERT_CHECK_MS)
		return false;
	if (f->not_after <= os_wall_ms() / 1000)
		return true;
	f->checked_ms = now;
	return false;
}

bool hello_is_denied(const struct peer *p, const struct deny *deny)
{
	return p->facts.is_known && deny_has(deny, p->facts.pin);
}

void hello_view(const struct peer_facts *f, struct peer_view *v)
{
	v->pin = f->is_known ? f->pin : NULL;
	v->cert_name = f->name;
	v->not_after = f->not_after;
}
