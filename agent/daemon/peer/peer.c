/*
 * agent/daemon/peer/peer.c - one configured peer: policy, links, hellos, clocks.
 */
#include "agent/daemon/peer/peer.h"

#include "agent/daemon/verify/transport.h"
#include "agent/daemon/event.h"
#include "agent/daemon/link/link.h"
#include "agent/daemon/pair/rekey.h"
#include "agent/daemon/pair/completion.h"
#include "agent/os/creds.h"
#include "crypto/random.h"
#include "agent/privsep/policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIAL_FIRST_MS 250
#define DIAL_MAX_MS 30000
#define DIAL_COURTESY_MS 20 /* the host with the greater address lets the other one dial first */
#define POLICY_RETRY_MS 1000

/* ---- clocks ---------------------------------------------------------------------------- */

static void on_timer(uv_timer_t *t);

/* A timer that goes off too early is set anew then: most of these times are put off before they come. */
static void arm(struct peer *p)
{
	uint64_t now, at = 0;

	if (uv_is_closing((uv_handle_t *)&p->timer))
		return;
	for (int i = 0; i < DUE_COUNT; i++)
		if (p->due[i] != 0 && (at == 0 || p->due[i] < at))
			at = p->due[i];
	if (at == 0 || (p->armed_ms != 0 && p->armed_ms <= at))
		return;
	p->armed_ms = at;
	now = loop_now_ms();
	uv_timer_start(&p->timer, on_timer, at > now ? at - now : 0, 0);
}

void peer_due(struct peer *p, enum peer_timer which, uint64_t at_ms)
{
	if (p->due[which] == at_ms)
		return;
	p->due[which] = at_ms;
	arm(p);
}

void peer_trouble(struct peer *p, const struct err *e)
{
	if (e == NULL) {
		free(p->trouble);
		p->trouble = NULL;
		return;
	}
	if (p->trouble == NULL)
		p->trouble = malloc(sizeof *p->trouble);
	if (p->trouble != NULL)
		*p->trouble = *e;
}

/* ---- dialling -------------------------------------------------------------------------- */

static void dial(struct peer *p)
{
	struct err e = {0};

	if (p->link != NULL || p->dialling != NULL || p->removed || !p->wanted ||
	    p->agent->stopping || !p->has_policy)
		return;
	p->dial_deferred = false;
	p->dialling = link_dial(p->agent, p, &e);
	if (p->dialling != NULL) {
		p->agent->dials++;
		return;
	}
	peer_trouble(p, &e);
	event_fail(p->agent, EVENT_SYSTEM, p->cfg.name, &e);
	p->dial_failures++;
	peer_due(p, DUE_DIAL, loop_now_ms() + DIAL_MAX_MS / 4);
}

/* The peer is at the door: see what comes of it, but not twice in a row. */
static bool defer_to_knock(struct peer *p)
{
	if (p->knocks == NULL || p->dial_deferred)
		return false;
	p->dial_deferred = true;
	peer_due(p, DUE_DIAL, loop_now_ms() + DIAL_FIRST_MS);
	return true;
}

void peer_dial_place_free(struct agent *a)
{
	a->dials--;
	while (a->dials < DIALS_MAX && a->dial_first != NULL) {
		struct peer *p = a->dial_first;

		a->dial_first = p->dial_next;
		if (a->dial_first == NULL)
			a->dial_last = NULL;
		p->dial_next = NULL;
		p->dial_queued = false;
		if (!defer_to_knock(p))
			dial(p);
	}
}

static void leave_queue(struct peer *p)
{
	struct agent *a = p->agent;
	struct peer *before = NULL;

	if (!p->dial_queued)
		return;
	for (struct peer **at = &a->dial_first; *at != NULL; at = &(*at)->dial_next) {
		if (*at == p) {
			*at = p->dial_next;
			if (a->dial_last == p)
				a->dial_last = before;
			break;
		}
		before = *at;
	}
	p->dial_next = NULL;
	p->dial_queued = false;
}

/* Of the two hosts, the one that lets the other dial first. */
static bool is_courteous(const struct peer *p)
{
	int order = addr_compare(&p->policy.local, &p->cfg.remote.addr);

	if (order == 0)
		order = (int)p->policy.control_port - (int)p->cfg.remote.port;
	return order > 0;
}

static void join_queue(struct peer *p)
{
	struct agent *a = p->agent;
	/* Two hosts that share many pairs go through them from opposite ends, so that they
	 * seldom dial each other at once. Only new ones may overtake: those that failed wait. */
	bool first = is_courteous(p) && p->dial_failures == 0;

	p->dial_queued = true;
	if (first || a->dial_last == NULL) {
		p->dial_next = a->dial_first;
		a->dial_first = p;
		if (a->dial_last == NULL)
			a->dial_last = p;
		return;
	}
	a->dial_last->dial_next = p;
	a->dial_last = p;
}

static void due_dial(struct peer *p)
{
	struct agent *a = p->agent;

	peer_due(p, DUE_DIAL, 0);
	if (p->cfg.opt.role == ROLE_LISTEN || p->link != NULL || p->dialling != NULL ||
	    p->dial_queued || !p->wanted || p->removed || a->stopping)
		return;
	if (defer_to_knock(p))
		return;
	if (a->dials < DIALS_MAX)
		dial(p);
	else
		join_queue(p);
}

static void dial_later(struct peer *p)
{
	uint64_t ms = (uint64_t)DIAL_FIRST_MS << (p->dial_failures > 7 ? 7 : p->dial_failures);

	if (ms > DIAL_MAX_MS)
		ms = DIAL_MAX_MS;
	ms = ms / 2 + random_u32() % ((unsigned)ms / 2); /* half of it to the whole */
	peer_due(p, DUE_DIAL, loop_now_ms() + ms);
}

/* Both sides dial; a little courtesy saves most of the double handshakes. */
static void dial_first(struct peer *p)
{
	peer_due(p, DUE_DIAL, loop_now_ms() + (is_courteous(p) ? DIAL_COURTESY_MS : 0));
}

/* ---- policy ---------------------------------------------------------------------------- */

/* The address that this host sends to the peer from, by asking the routing table. */
static int route_source(uv_loop_t *loop, const struct endpoint *to, struct addr *from,
			struct err *e)
{
	uv_udp_t *udp = malloc(sizeof *udp);
	struct sockaddr_storage ss;
	char text[ADDR_TEXT] = "", dst[ADDR_TEXT];
	int len = sizeof ss, rc;

	if (udp == NULL)
		return err_set(e, ERR_OS, "no memory");
	uv_udp_init(loop, udp);
	addr_put(dst, &to->addr);
	rc = to->addr.len == 4 ? uv_ip4_addr(dst, to->port, (struct sockaddr_in *)&ss)
			       : uv_ip6_addr(dst, to->port, (struct sockaddr_in6 *)&ss);
	if (rc == 0)
		rc = uv_udp_connect(udp, (const struct sockaddr *)&ss);
	if (rc == 0)
		rc = uv_udp_getsockname(udp, (struct sockaddr *)&ss, &len);
	if (rc == 0)
		rc = to->addr.len == 4 ? uv_ip4_name((struct sockaddr_in *)&ss, text, sizeof text)
				       : uv_ip6_name((struct sockaddr_in6 *)&ss, text, sizeof text);
	uv_close((uv_handle_t *)udp, (uv_close_cb)(void (*)(void))free);
	if (rc != 0) {
		err_set(e, ERR_OS, "no route to %s: %s", dst, uv_strerror(rc));
		return err_hint(e, "is the network up? the agent tries again by itself");
	}
	return addr_parse(from, text, e);
}

int peer_fill_policy(struct sa_policy *s, const struct config *c, const struct peer_config *pc,
		     uv_loop_t *loop, struct err *e)
{
	struct privsep_peer p;

	privsep_peer_of(&p, c, pc);
	ipsec_policy_of(s, &p.policy);
	s->peer = pc->name;
	return s->local.len != 0 ? 0 : route_source(loop, &pc->remote, &s->local, e);
}

/* A pair that cannot be proven protects all the same. */
static void open_carrier(struct peer *p)
{
	struct err e = {0};

	if (carrier_open(p, &e) < 0)
		event_fail(p->agent, EVENT_SYSTEM, p->cfg.name, &e);
}

static int adopt(void *count, const struct ipsec_leftover *l, struct err *e)
{
	++*(unsigned *)count;
	return pair_adopt(l->owner, l, e);
}

/* What an earlier run left for this policy carries traffic until the new pair does (I5). */
static void adopt_leftovers(struct peer *p)
{
	struct err e = {0};
	unsigned n = 0;
	char text[96];

	if (ipsec_recover(p->agent->db, adopt, &n, &e) < 0)
		event_fail(p->agent, EVENT_SYSTEM, p->cfg.name, &e);
	if (n == 0)
		return;
	snprintf(text, sizeof text, "%u SAs of an earlier run stay in force until a new pair is",
		 n);
	event_plain(p->agent, EVENT_ADOPTED, p->cfg.name, text);
}

static int make_policy(struct peer *p, struct err *e)
{
	struct agent *a = p->agent;
	struct sa_policy *s = &p->policy;

	if (peer_fill_policy(s, &a->cfg, &p->cfg, &a->loop.uv, e) < 0)
		return -1;
	s->owner = p;
	if (ipsec_policy_add(a->db, s, e) < 0)
		return err_in(e, "policy for %s", p->cfg.name);
	p->has_policy = true;
	open_carrier(p);
	adopt_leftovers(p);
	return 0;
}

static void due_policy(struct peer *p)
{
	struct err e = {0};

	peer_due(p, DUE_POLICY, 0);
	if (p->has_policy || !p->wanted || p->removed || p->agent->stopping)
		return;
	if (make_policy(p, &e) < 0) {
		peer_trouble(p, &e);
		event_fail(p->agent, EVENT_SYSTEM, p->cfg.name, &e);
		peer_due(p, DUE_POLICY, loop_now_ms() + POLICY_RETRY_MS);
		return;
	}
	if (p->cfg.opt.role != ROLE_LISTEN)
		dial_first(p);
}

static void drop_policy(struct peer *p)
{
	struct err e = {0};

	if (!p->has_policy)
		return;
	p->has_policy = false;
	carrier_close(p);
	if (ipsec_policy_remove(p->agent->db, &p->policy, &e) < 0) {
		err_in(&e, "remove the policy");
		event_fail(p->agent, EVENT_SYSTEM, p->cfg.name, &e);
	}
}

static void on_timer(uv_timer_t *t)
{
	static void (*const handlers[DUE_COUNT])(
		struct peer *) = {[DUE_DIAL] = due_dial,        [DUE_EXCHANGE] = pair_due_exchange,
				  [DUE_START] = pair_due_start, [DUE_REKEY] = pair_due_rekey,
				  [DUE_GENS] = pair_due_gens,   [DUE_POLICY] = due_policy};
	struct peer *p = t->data;
	uint64_t now = loop_now_ms();

	p->armed_ms = 0;
	for (int i = 0; i < DUE_COUNT && !p->removed; i++)
		if (p->due[i] != 0 && p->due[i] <= now)
			handlers[i](p);
	arm(p);
}

/* ---- coming and going ------------------------------------------------------------------ */

static void on_timer_closed(uv_handle_t *h)
{
	struct peer *p = h->data;

	peer_trouble(p, NULL);
	wipe(p, sizeof *p);
	free(p);
}

int peer_add(struct agent *a, const struct peer_config *cfg, struct peer **out, struct err *e)
{
	struct peer *p = calloc(1, sizeof *p), **at = &a->peers;
	struct exchange_config none = {.lifetime_s = 0};

	if (p == NULL)
		return err_set(e, ERR_OS, "no memory for a peer");
	p->agent = a;
	p->cfg = *cfg;
	if (creds_ppk(&p->ppk, cfg->ppk, e) < 0) {
		err_in(e, "peer %s", cfg->name);
		wipe(p, sizeof *p);
		free(p);
		return -1;
	}
	p->wanted = true;
	uv_timer_init(&a->loop.uv, &p->timer);
	p->timer.data = p;
	exchange_init(&p->x, &none);
	pair_configure(p);
	while (*at != NULL)
		at = &(*at)->next;
	*at = p;
	a->n_peers++;
	peer_due(p, DUE_POLICY, loop_now_ms());
	if (out != NULL)
		*out = p;
	return 0;
}

static void close_links(struct peer *p, enum fault fault)
{
	struct link *l;

	if (p->link != NULL) {
		pair_link_lost(p);
		link_close(p->link, fault);
	}
	if (p->dialling != NULL)
		link_close(p->dialling, FAULT_NONE);
	while ((l = p->knocks) != NULL)
		link_close(l, FAULT_NONE);
}

static void quiet_all(struct peer *p)
{
	leave_queue(p);
	for (int i = 0; i < DUE_COUNT; i++)
		p->due[i] = 0;
	uv_timer_stop(&p->timer);
	p->armed_ms = 0;
	while (p->verifies != NULL)
		verify_cancel(p->verifies);
	p->auto_run = NULL;
}

static void unlist(struct peer *p)
{
	for (struct peer **at = &p->agent->peers; *at != NULL; at = &(*at)->next) {
		if (*at == p) {
			*at = p->next;
			p->agent->n_peers--;
			break;
		}
	}
}

/* Nothing comes to it any more. What is secret goes at once, the rest when the loop lets go of it. */
static void leave(struct peer *p)
{
	p->removed = true;
	quiet_all(p);
	unlist(p);
	exchange_wipe(&p->x);
	secret_wipe(&p->ppk);
	uv_close((uv_handle_t *)&p->timer, on_timer_closed);
}

void peer_remove(struct peer *p)
{
	struct err gone = {0};

	if (p->removed)
		return;
	p->wanted = false;
	err_set(&gone, ERR_DOWN, "%s was removed", p->cfg.name);
	waiters_fail(p, &gone);
	close_links(p, FAULT_REMOVED);
	pair_clear(p);
	drop_policy(p);
	leave(p);
	event_plain(p->agent, EVENT_DOWN, p->cfg.name, "removed: no SA and no policy is left");
}

void peer_drop_denied(struct peer *p)
{
	struct err e = {0};

	if (p->link == NULL && p->current == NULL && p->held == NULL)
		return;
	err_set(&e, ERR_AUTH, "%s", cert_fault_text(CERT_DENIED));
	waiters_fail(p, &e);
	close_links(p, FAULT_REMOVED);
	pair_clear(p);
	peer_trouble(p, &e);
	event_fail(p->agent, EVENT_AUTH_REFUSED, p->cfg.name, &e);
	p->dial_failures = 3;
	dial_later(p);
}

void peer_stop(struct peer *p)
{
	struct err gone = {0};

	if (p->removed)
		return;
	err_set(&gone, ERR_DOWN, "the agent is stopping");
	waiters_fail(p, &gone);
	close_links(p, FAULT_SHUTDOWN);
	pair_leave(p);
	carrier_close(p);
	leave(p);
}

void peer_options_set(struct peer *p, const struct peer_config *cfg)
{
	p->cfg.opt = cfg->opt;
	pair_configure(p);
}

bool peer_down(struct peer *p)
{
	struct err gone = {0};

	if (!p->wanted)
		return false;
	p->wanted = false;
	err_set(&gone, ERR_DOWN, "%s was taken down", p->cfg.name);
	waiters_fail(p, &gone);
	close_links(p, FAULT_REMOVED);
	pair_clear(p);
	drop_policy(p);
	quiet_all(p);
	p->want_exchange = false;
	p->dial_failures = p->failures = 0;
	peer_trouble(p, NULL);
	event_plain(p->agent, EVENT_DOWN, p->cfg.name, "down: no SA and no policy is left");
	return true;
}

bool peer_up(struct peer *p)
{
	if (p->wanted) {
		/* Somebody waits: a long back-off is cut short. */
		if (p->link == NULL && p->dialling == NULL && p->has_policy &&
		    p->due[DUE_DIAL] > loop_now_ms() + DIAL_FIRST_MS)
			peer_due(p, DUE_DIAL, loop_now_ms());
		return false;
	}
	p->wanted = true;
	peer_due(p, DUE_POLICY, loop_now_ms());
	return true;
}

bool peer_is_up(const struct peer *p)
{
	return p->current != NULL;
}

const char *peer_state_word(const struct peer *p)
{
	if (!p->wanted)
		return "down";
	if (p->current != NULL)
		return "up";
	return p->link != NULL ? "pairing" : "waiting";
}

struct peer *peer_find(struct agent *a, const char *name)
{
	struct addr addr;

	for (struct peer *p = a->peers; p != NULL; p = p->next)
		if (strcmp(p->cfg.name, name) == 0)
			return p;
	if (addr_parse(&addr, name, NULL) < 0)
		return NULL;
	for (struct peer *p = a->peers; p != NULL; p = p->next)
		if (addr_equal(&p->cfg.remote.addr, &addr))
			return p;
	return NULL;
}

struct peer *peer_of_addresses(struct agent *a, const struct addr *local, const struct addr *remote)
{
	for (struct peer *p = a->peers; p != NULL; p = p->next)
		if (addr_equal(&p->cfg.remote.addr, remote) && p->has_policy &&
		    addr_equal(&p->policy.local, local))
			return p;
	return NULL;
}

/* ---- links ----------------------------------------------------------------------------- */

enum cert_fault peer_judge(const struct peer *p, const struct cert_facts *leaf,
			   enum cert_fault chain)
{
	const struct peer_config *c = &p->cfg;

	if (deny_has(&p->agent->identity->deny, leaf->pin))
		return CERT_DENIED;
	if (c->has_pin)
		return bytes_equal(leaf->pin, c->pin, PIN_LEN) ? CERT_OK : CERT_WRONG_PIN;
	if (chain != CERT_OK)
		return chain;
	if (leaf->is_lab && !p->agent->cfg.allow_lab)
		return CERT_UNTRUSTED;
	if (c->identity[0] != '\0')
		return strcmp(leaf->name, c->identity) == 0 ? CERT_OK : CERT_WRONG_PEER;
	if (leaf->name[0] != '\0' && strcmp(leaf->name, c->name) == 0)
		return CERT_OK;
	for (size_t i = 0; i < leaf->addrs; i++)
		if (leaf->addr[i].len == c->remote.addr.len &&
		    memcmp(leaf->addr[i].bytes, c->remote.addr.bytes, c->remote.addr.len) == 0)
			return CERT_OK;
	return CERT_WRONG_PEER;
}

static void ppk_checks(const struct peer *p, const struct link *l, struct hello_own *own)
{
	own->has_ppk = secret_len(&p->ppk) > 0;
	own->sent.has_ppk = own->has_ppk;
	if (!own->has_ppk)
		return;
	keysched_ppk_check(&l->exporter, &p->ppk, l->dialled, own->sent.ppk_check);
	keysched_ppk_check(&l->exporter, &p->ppk, !l->dialled, own->peer_check);
}

static void own_hello(struct peer *p, const struct link *l, struct hello_own *own)
{
	struct msg_hello *h = &own->sent;

	memset(own, 0, sizeof *own);
	h->version = PROTO_VERSION;
	memcpy(h->instance, p->agent->instance, INSTANCE_LEN);
	strcpy(h->agent, "sapair/" SAPAIR_VERSION);
	memcpy(h->name, p->agent->cfg.name, sizeof h->name);
	h->local = p->policy.local;
	h->remote = p->policy.remote;
	h->mode = (int)p->policy.mode;
	h->encap = (int)p->policy.encap;
	h->udp = p->policy.udp;
	h->protects = p->policy.protects;
	memcpy(h->protect, p->policy.protect, sizeof h->protect);
	h->epoch = p->x.current.epoch;
	h->last = p->x.last > h->epoch ? p->x.last : h->epoch;
	h->in = p->x.current.in;
	h->out = p->x.current.out;
	ppk_checks(p, l, own);
}

void peer_fill_hello(struct peer *p, const struct link *l, struct msg_hello *h)
{
	struct hello_own own;

	own_hello(p, l, &own);
	*h = own.sent;
}

static void to_knocks_end(struct peer *p, struct link *l)
{
	for (struct link **at = &p->knocks; *at != NULL; at = &(*at)->next) {
		if (*at == l) {
			*at = l->next;
			l->next = NULL;
			return;
		}
	}
	if (p->dialling == l)
		p->dialling = NULL;
}

static void refuse_hello(struct peer *p, struct link *l, enum fault fault)
{
	peer_on_link_lost(p, l);
	link_close(l, fault);
}

static void take_facts(struct peer *p, struct link *l)
{
	const struct cert_facts *facts = tls_peer(l->tls);

	memcpy(p->peer_pin, facts->pin, PIN_LEN);
	memcpy(p->peer_name, facts->name, sizeof p->peer_name);
	p->peer_not_after = facts->not_after;
	p->cert_good_ms = 0;
	p->has_facts = true;
}

/* True when l is the link that stays. */
static bool elect(struct peer *p, struct link *l, bool same_instance)
{
	const struct cert_facts *own = identity_facts(l->identity->id);
	struct link *old = p->link;

	if (old == NULL)
		return true;
	if (election_of(own->pin, tls_peer(l->tls)->pin, old->dialled, l->dialled, same_instance) ==
	    ELECT_OLD) {
		link_close(l, FAULT_DUPLICATE);
		return false;
	}
	pair_link_lost(p);
	link_close(old, same_instance ? FAULT_DUPLICATE : FAULT_REPLACED);
	return true;
}

void peer_on_hello(struct peer *p, struct link *l, const struct msg_hello *h)
{
	bool same = p->has_instance && bytes_equal(p->instance, h->instance, INSTANCE_LEN);
	struct hello_own own;
	enum hello_verdict verdict;
	enum fault fault = FAULT_NONE;

	own_hello(p, l, &own);
	if (hello_compare(&own, &p->x.current, h, &fault, &l->why) == HELLO_REFUSED) {
		wipe(&own, sizeof own);
		refuse_hello(p, l, fault);
		return;
	}
	if (!elect(p, l, same))
		return;
	own_hello(p, l, &own); /* the election may have ended an exchange */
	verdict = hello_compare(&own, &p->x.current, h, &fault, &l->why);
	wipe(&own, sizeof own);
	to_knocks_end(p, l);
	memcpy(p->instance, h->instance, INSTANCE_LEN);
	p->has_instance = true;
	p->peer_last = h->last;
	take_facts(p, l);
	p->link = l;
	link_is_up(l);
	p->dial_failures = 0;
	peer_due(p, DUE_DIAL, 0);
	leave_queue(p);
	/* A dial whose hello is out may be up at the peer: that is for the election, on both ends
	 * alike. Before that it is not needed any more. */
	if (p->dialling != NULL && p->dialling->state < LINK_GREETING)
		link_close(p->dialling, FAULT_NONE);
	pair_link_up(p);
	event_plain(p->agent, EVENT_LINK_UP, p->cfg.name,
		    l->dialled ? "link is up, we lead" : "link is up, the peer leads");
	if (verdict == HELLO_EQUAL) {
		gens_retire(p);
		/* Wanted only because the last link went before both were known to agree. */
		if (p->want_reason == REASON_START || p->want_reason == REASON_MISMATCH)
			p->want_exchange = false;
		waiters_on_agreed(p);
	}
	peer_due(p, DUE_GENS, loop_now_ms());
	if (verdict == HELLO_DIFFERS && l->dialled)
		peer_want_exchange(p, p->x.current.epoch == 0 ? REASON_START : REASON_MISMATCH);
	else if (verdict == HELLO_DIFFERS &&
		 (p->x.current.epoch != l->told_epoch || p->x.last != l->told_last))
		peer_want_exchange(p, REASON_MISMATCH); /* our hello was old news: say so */
	else if (p->want_exchange)
		peer_want_exchange(p, p->want_reason);
}

void peer_on_message(struct peer *p, struct link *l, const struct msg *m, const char *body,
		     size_t len)
{
	if (p->link != l)
		return;
	switch (m->type) {
	case MSG_OFFER:
	case MSG_ANSWER:
	case MSG_CONFIRMATION:
	case MSG_DONE:
	case MSG_REJECT:
		pair_on_message(p, m, body, len);
		break;
	case MSG_REKEY:
		if (l->dialled)
			peer_want_exchange(p, (enum rekey_reason)m->u.rekey.reason);
		break;
	case MSG_PROBE:
		verify_on_probe(p, &m->u.probe);
		break;
	case MSG_REPORT:
		verify_on_report(p, &m->u.report);
		break;
	default:
		break;
	}
}

bool peer_has_other_link(const struct peer *p)
{
	return p != NULL &&
	       (p->link != NULL || (p->dialling != NULL && p->dialling->state == LINK_GREETING));
}

static void told_lost(struct peer *p, const struct link *l)
{
	if (l->why.code == ERR_AUTH) {
		event_fail(p->agent, EVENT_AUTH_REFUSED, p->cfg.name, &l->why);
		return;
	}
	if (l->state == LINK_UP) {
		event_fail(p->agent, EVENT_LINK_DOWN, p->cfg.name, &l->why);
		return;
	}
	if (l->dialled && p->dial_failures == 1)
		event_fail(p->agent, EVENT_UNREACHABLE, p->cfg.name, &l->why);
}

void peer_on_link_lost(struct peer *p, struct link *l)
{
	bool was_link = p->link == l;
	bool judged = l->why.code == ERR_AUTH || l->why.code == ERR_REFUSED;

	if (l->bye == FAULT_DUPLICATE) {
		if (was_link) {
			pair_link_lost(p);
			dial_later(p);
		}
		return; /* another link takes its place */
	}
	if (was_link)
		pair_link_lost(p);
	if (l == p->dialling)
		p->dial_failures++;
	told_lost(p, l);
	if (was_link || (p->link == NULL && (l->dialled || judged)))
		peer_trouble(p, &l->why);
	if (was_link && l->bye == FAULT_REMOVED) {
		/* The peer says that its SAs are gone: ours lead nowhere. The policy stays. */
		pair_clear(p);
		p->dial_failures = 3;
	}
	if (judged && p->link == NULL && (l->dialled || p->cfg.opt.role == ROLE_LISTEN))
		waiters_on_exchange(p, &l->why);
	/* What knocks and fails does not put our own dialling off. */
	if (was_link || (p->link == NULL && (l->dialled || p->due[DUE_DIAL] == 0)))
		dial_later(p);
}

void peer_on_ipsec(void *agent, const struct ipsec_event *ev)
{
	struct agent *a = agent;
	struct peer *p = ev->owner;
	struct gen *g;

	if (ev->kind == IPSEC_EV_LOST) {
		struct err why = {0};

		err_set(&why, ERR_OS, "%s", ev->text);
		err_hint(&why, "start the agent again: it takes over what is in force");
		agent_give_up(a, &why);
		return;
	}
	if (p == NULL || p->removed) {
		if (ev->kind == IPSEC_EV_DROPPED)
			event_plain(a, EVENT_DROPS, NULL,
				    ev->text != NULL ? ev->text : "packets that no SA took");
		return;
	}
	switch (ev->kind) {
	case IPSEC_EV_DATAGRAM:
		verify_on_datagram(p, ev->data, ev->n);
		break;
	case IPSEC_EV_SOFT:
		g = gen_find(p, ev->ctx);
		if (g != NULL && g == p->current)
			peer_want_exchange(p, ev->reason);
		break;
	case IPSEC_EV_HARD:
		g = gen_find(p, ev->ctx);
		if (g != NULL)
			pair_lost_gen(p, g);
		break;
	case IPSEC_EV_ACQUIRE:
		peer_want_exchange(p, REASON_REPAIR);
		break;
	case IPSEC_EV_REMOVED:
		event_plain(a, EVENT_FOREIGN, p->cfg.name,
			    ev->text != NULL ? ev->text
					     : "somebody removed an SA or policy of ours");
		g = gen_find(p, ev->ctx);
		if (g != NULL)
			pair_lost_gen(p, g);
		break;
	case IPSEC_EV_DROPPED:
		event_plain(a, EVENT_DROPS, p->cfg.name,
			    ev->text != NULL ? ev->text : "packets dropped");
		break;
	case IPSEC_EV_LOST:
		break;
	}
}
